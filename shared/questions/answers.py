"""The wire format of the answers. The OpenAPI document is generated from it, and tests check the answers against it."""

from typing import Annotated, Any

from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from shared.domain.answers import (
    ActionAnswer,
    ActionFields,
    EffectAnswer,
    EventAnswer,
    FieldsOf,
    InputAnswer,
    MetricsAnswer,
    ViolationAnswer,
)
from shared.questions.overview import BeadLine
from shared.questions.status import AgentLine, ConvoyStanding
from shared.town.outbox import EffectLine


class AsOf(TypedDict):
    """The state that an answer is about."""

    txid: int
    tick: int
    time: str | None
    sqliteVersion: str
    codeVersion: str


class QueueAnswer(TypedDict):
    """The backlog: the numbers of pending and of poisoned events, and the unfinished effects."""

    pendingEvents: int
    poisonedEvents: int
    effects: list[Annotated[dict[str, Any], FieldsOf(EffectLine)]]


class StateSnapshot(TypedDict):
    """A town after a tick."""

    agents: list[Annotated[dict[str, Any], FieldsOf(AgentLine)]]
    nonTerminalBeads: list[Annotated[dict[str, Any], FieldsOf(BeadLine)]]
    nonTerminalBeadsOmitted: int
    convoys: list[Annotated[dict[str, Any], FieldsOf(ConvoyStanding)]]
    queue: QueueAnswer
    draining: bool
    settling: bool
    paused: bool
    breakerOpen: bool
    nextDueAt: str | None


class PendingCount(TypedDict):
    """The number of pending events, before and after the drain."""

    before: int
    after: int


class DigestsAnswer(TypedDict):
    """The digests of the image that would be committed."""

    image: str
    logical: str


class WantedAction(TypedDict):
    """An action that a rule would yield if the paused town were started."""

    rule: str
    action: ActionFields


class DryRunAnswer(TypedDict):
    """The answer of reconcile-dry-run."""

    townId: str
    asOf: AsOf
    quiet: bool
    input: InputAnswer
    events: list[EventAnswer]
    actions: list[ActionAnswer]
    ifStarted: list[WantedAction]
    effects: list[EffectAnswer]
    violations: list[ViolationAnswer]
    metrics: MetricsAnswer
    pendingEventCount: PendingCount
    waiting: dict[str, int]
    nextDueAt: str | None
    digests: DigestsAnswer
