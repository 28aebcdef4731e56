"""What the scripted model answers: one step a turn. It knows no protocol, and the same conversation gets the same answer.

A script is for the prompts in which all of its words occur. The newest prompt counts for which there is a script, and the turn is
the number of answers since that prompt. So an agent that is asked once more continues its script, and mail that a script of its own
answers begins that script.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from infra.devstack.model_server.conversation import Conversation


@dataclass(frozen=True, slots=True)
class Shell:
    """Run a command in the program's shell. A command that fails is a tool call that fails."""

    command: str


@dataclass(frozen=True, slots=True)
class Call:
    """Call a tool of an MCP server. `tool` is the server's name for it; programs put a prefix before it."""

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Say:
    """Say something and call no tool, which ends the turn of the agent."""

    text: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse to answer, as the safety rules of a model do."""

    text: str = "I can't help with that."


Reply: TypeAlias = Shell | Call | Say | Refuse
Written: TypeAlias = Reply | Callable[[str], Reply]
"""A reply, or a function that makes it of the prompt, for example of a command that stands there."""


class Failure(StrEnum):
    """What a model's provider answers instead. `failures` says it in each protocol."""

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    CONTEXT_TOO_LONG = "context_too_long"
    NO_CREDIT = "no_credit"
    WRONG_KEY = "wrong_key"
    UNKNOWN_MODEL = "unknown_model"
    BROKEN_STREAM = "broken_stream"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure of the first `times` requests of a step, or of all until somebody releases `until`."""

    failure: Failure
    times: int = 1
    until: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `cached_tokens` are a part of `input_tokens`."""

    input_tokens: int = 1000
    output_tokens: int = 50
    cached_tokens: int = 400


@dataclass(frozen=True, slots=True)
class Step:
    """One turn. The answer waits until somebody releases `waits_for`, and a stream pauses before each of its parts."""

    reply: Written
    trouble: Trouble | None = None
    waits_for: str = ""
    pause_seconds: float = 0.0
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Script:
    """The answers to prompts in which all `words` occur."""

    name: str
    words: tuple[str, ...]
    steps: tuple[Step, ...]

    def suits(self, prompt: str) -> bool:
        """Whether the script is for this prompt."""
        return all(word in prompt for word in self.words)


@dataclass(frozen=True, slots=True)
class Turn:
    """What is answered now: which step of which script, and the reply."""

    script: str
    number: int
    step: Step
    reply: Reply


TITLE: Final = Turn("", 0, Step(Say("A piece of work")), Say("A piece of work"))
"""The answer to a request that offers no tools: programs ask like this for the title of a session."""


def next_turn(scripts: Sequence[Script], conversation: Conversation) -> Turn | None:
    """The next turn of a conversation; None if no script suits it."""
    if not conversation.tools:
        return TITLE
    for prompt, turn in _prompts(conversation):
        for script in scripts:
            if script.suits(prompt):
                step = script.steps[turn] if turn < len(script.steps) else Step(Say("There is nothing left to do."))
                reply = step.reply(prompt) if callable(step.reply) else step.reply
                return Turn(script.name, turn, step, reply)
    return None


def _prompts(conversation: Conversation) -> Iterator[tuple[str, int]]:
    """The prompts of a conversation, newest first, each with the number of answers since. The system's belongs to the first."""
    system = "\n".join(each.text for each in conversation.said if each.by == "system")
    found: list[tuple[str, int]] = []
    answered = 0
    is_open = False
    for each in conversation.said:
        if each.by == "user" and is_open:
            found[-1] = (f"{found[-1][0]}\n{each.text}", answered)
        elif each.by == "user":
            found.append((each.text if found else f"{system}\n{each.text}", answered))
        answered += each.by == "assistant"
        is_open = each.by == "user" or (is_open and each.by == "system")
    yield from ((prompt, conversation.turns - before) for prompt, before in reversed(found))
