"""What the declaration of a verb of `town-agent` consists of. The command line and the tools for models are made from it."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from infra.agents.town_agent.order import Caller
from shared.domain.states import Role

Kind = Literal["text", "words", "texts", "number", "flag"]
"""`words`: a text that a command line may write as several words. `texts`: an option that may be repeated; a list for tools."""


class Who(StrEnum):
    """Who may use a verb. The value completes the sentence "only ... may use it"."""

    EVERYBODY = "agents of a town"
    WORKER = "a polecat or a refinery"
    REVIEWER = "a refinery"
    PLANNER = "the mayor, or a polecat that proposes,"
    COORDINATOR = "the mayor, or a polecat that answers triage requests,"
    MAYOR = "the mayor"


class Argument(NamedTuple):
    """One argument. A name that begins with `--` is an option; any other stands at its place, and is required unless told."""

    name: str
    about: str
    kind: Kind = "text"
    choices: Sequence[str] = ()
    default: str | None = None
    required: bool = False
    optional: bool = False
    stands_for: str | None = None
    """What the value of the option is, in capitals, as the help shows it."""
    or_stdin: bool = False
    """Whether `-` on a command line stands for what comes from standard input."""
    schema: Mapping[str, object] | None = None
    """The JSON schema of the parameter of a tool, where it is more than a text; a command line gives JSON instead."""

    @property
    def is_option(self) -> bool:
        """Whether it is given by its name."""
        return self.name.startswith("--")

    @property
    def is_required(self) -> bool:
        """Whether a call without it is refused."""
        return self.required or not (self.is_option or self.optional)

    @property
    def key(self) -> str:
        """The name of the attribute, and of the parameter of a tool."""
        return self.name.lstrip("-").replace("-", "_")


class Verb(NamedTuple):
    """One command. `path` is `module:function` below this package, so that a call imports no module of another verb.

    `event` is the type of the event that it posts, if it posts one: tests compare who may use the verb with who may send the event.
    """

    name: str
    path: str
    about: str
    arguments: Sequence[Argument] = ()
    who: Who = Who.EVERYBODY
    event: str | None = None
    reads: bool = False
    """Whether it answers with what the town knows; then the command line has `--json` too."""
    is_tool: bool = True
    """Whether a model may call it as a tool."""
    instead: str = ""
    """The right way for those who may not use it: a sentence."""

    @property
    def tool(self) -> str:
        """The name of the tool."""
        return self.name.replace(" ", "_").replace("-", "_")


PRIORITIES: Final = ("low", "medium", "high", "critical")
ESCALATE: Final = (
    "ask a person with `town-agent escalate TEXT`, or the mayor with `town-agent mail send --to mayor TEXT`"
)
"""The way that is open to every agent."""
JSON: Final = Argument("--json", "print one JSON document, for programs", kind="flag")


def may_use(verb: Verb, caller: Caller) -> bool:
    """Whether the role and scope of this agent let it use the verb. The town judges again, by the agent's token."""
    match verb.who:
        case Who.EVERYBODY:
            return True
        case Who.WORKER:
            return caller.role is not Role.MAYOR
        case Who.REVIEWER:
            return caller.role is Role.REFINERY
        case Who.PLANNER:
            return caller.role is not Role.REFINERY
        case Who.COORDINATOR:
            return caller.scope == "coordinator"
        case Who.MAYOR:
            return caller.role is Role.MAYOR


def refusal(verb: Verb, caller: Caller) -> str | None:
    """Why this agent may not use the verb, in a sentence; None if it may."""
    if may_use(verb, caller):
        return None
    instead = f"; {verb.instead}" if verb.instead else "; `town-agent --help` lists what you may use"
    doing = " that works on a bead" if caller.role is Role.POLECAT and caller.scope == "agent" else ""
    return f"{verb.name}: only {verb.who} may use it, and this agent is a {caller.role}{doing}{instead}"
