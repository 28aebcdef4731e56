"""What a driver is: the start of a turn of its program, and the meaning of what the program prints.

A session consists of turns. A turn is one run of the program: it gets a prompt, works until it has nothing more to say, and
ends. The next turn resumes the same session of the program with another prompt. A driver keeps no state; the reader of a turn
may.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from shared.domain.orders import StartOrder


class Trouble(StrEnum):
    """Why a turn failed, as far as the program tells it."""

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    UNREACHABLE = "unreachable"
    CONTEXT_FULL = "context_full"
    REFUSED = "refused"
    NO_KEY = "no_key"
    WRONG_KEY = "wrong_key"
    NO_CREDIT = "no_credit"
    UNKNOWN_MODEL = "unknown_model"
    BROKEN_STREAM = "broken_stream"
    """An answer of the model began and did not end."""

    CUT_SHORT = "cut_short"
    """The program ended in the middle of a turn, and did not say why."""

    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure in the program's own words. `retry_after` is how long the model asks to be left alone, if it does."""

    trouble: Trouble
    said: str
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class SessionBegan:
    """The program has a session, which a later turn can resume by this id."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Said:
    """The model said something."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolBegan:
    """A tool runs. `about` is what it was called with, for people."""

    call_id: str
    tool: str
    about: str


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool has ended. A program that tells only of ended tools sends this without `ToolBegan`."""

    call_id: str
    tool: str
    about: str
    output: str
    failed: bool = False


class Span(StrEnum):
    """What a count of tokens covers."""

    STEP = "step"
    TURN = "turn"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Used:
    """Tokens that were used: in one step, in the turn so far, or in the session so far. The last two replace what was counted.

    `input_tokens` excludes those read from a cache and includes those written to one; `output_tokens` includes reasoning.
    `model` is None if the program does not name it: then it is the model of the turn. `cost_micros` is in millionths of a US
    dollar; None if the program does not know it.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_micros: int | None = None
    model: str | None = None
    of: Span = Span.STEP


@dataclass(frozen=True, slots=True)
class Retrying:
    """The model did not answer, and the program itself tries again."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Failed:
    """The turn has failed; the program ends."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Compacted:
    """The program has shortened the session because the model's context was full."""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The program says that the turn is over."""


@dataclass(frozen=True, slots=True)
class SomethingElse:
    """A sign of life without further meaning. `kind` is the program's name for it."""

    kind: str


Happening = (
    SessionBegan | Said | ToolBegan | ToolEnded | Used | Retrying | Failed | Compacted | TurnEnded | SomethingElse
)


@dataclass(frozen=True, slots=True)
class Models:
    """The model of a turn, and a small one for side tasks. None leaves the choice to the program."""

    model: str | None = None
    small_model: str | None = None


class Access(Protocol):
    """What decides whether a program may use a model: keys in the environment, a login below `place`, or a model server."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment of the agent."""
        ...

    @property
    def place(self) -> Path:
        """The directory of the session, where a login may lie."""
        ...

    @property
    def model_url(self) -> str | None:
        """The base URL of a model server, if one is set."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """What a driver may know about the session.

    `place` is a directory of this session, for the program's configuration and data. `environment` is that of the agent.
    `model_url` is the base URL of the model server if one is set (TOWN_AGENT_MODEL_URL). `tools` is the command of the town's
    tool server, empty if the agent is to use the command line.
    """

    order: StartOrder
    place: Path
    environment: Mapping[str, str]
    models: Models = field(default_factory=Models)
    model_url: str | None = None
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """How a turn is started.

    `command` begins with the path of the program and holds no secret and no long text: the program reads the prompt from its
    standard input. `environment` is added to the agent's.
    """

    command: tuple[str, ...]
    stdin: str
    environment: Mapping[str, str] = field(default_factory=dict)


class Reader(Protocol):
    """Understands what one turn of the program prints."""

    def event(self, line: Mapping[str, object]) -> Iterable[Happening]:
        """The meaning of one JSON object of the standard output; nothing if it has none. Fields may be missing or of any type."""
        ...

    def complaint(self, line: str) -> Iterable[Happening]:
        """The meaning of one line of the error output or of output that is not JSON; nothing if it has none."""
        ...


class Driver(Protocol):
    """One coding agent."""

    @property
    def name(self) -> str:
        """The name by which people choose it."""
        ...

    @property
    def program(self) -> str:
        """The program, as it is found on PATH."""
        ...

    @property
    def install(self) -> str:
        """How the program is installed, for people."""
        ...

    @property
    def logins(self) -> Mapping[str, str]:
        """The files that hold a person's login: path below that person's HOME -> path below `Setting.place`."""
        ...

    def missing_key(self, setting: Access) -> str | None:
        """What must be set so that the program may use a model, for people; None if there is a key, a login or no need for one."""
        ...

    def start(self, program: str, prompt: str, setting: Setting, *, session_id: str | None) -> Start:
        """Write the program's configuration below `setting.place` and return how the turn is started. `program` is the path of the
        program. With a session id, the turn resumes that session.
        """
        ...

    def reader(self) -> Reader:
        """A reader for one turn."""
        ...
