"""The shapes of the debug answers as they go over the wire: what OpenAPI shows and what tests hold the answers to."""

from typing import Annotated, Any, Literal

from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from shared.domain.answers import (
    ActionAnswer,
    ActionFields,
    AttemptAnswer,
    DifferenceAnswer,
    EffectAnswer,
    EnvelopeAnswer,
    EventAnswer,
    FieldsOf,
    InputAnswer,
    MetricsAnswer,
    ViolationAnswer,
)
from shared.engine.status import AgentLine, ConvoyStanding
from shared.town.outbox import EffectLine
from shared.town.overview import BeadLine


class AsOf(TypedDict):
    """Which state an answer is about."""

    txid: int
    tick: int
    time: str | None
    sqliteVersion: str
    codeVersion: str


class ActionOfTick(ActionAnswer):
    """An action with the tick that it belongs to."""

    tick: int
    time: str


class DivergenceAnswer(TypedDict):
    """The first tick that is not what was committed."""

    tick: int
    time: str
    reason: str
    differences: list[DifferenceAnswer]


class SegmentAnswer(TypedDict):
    """Ticks in a row that one version of the code made."""

    firstTick: int
    lastTick: int
    codeVersion: str
    kind: Literal["replay", "what_if"]
    equal: bool | None


class TickAnswer(TypedDict):
    """A recorded tick that ran again."""

    tick: int
    tickId: str
    time: str
    codeVersion: str
    events: list[EventAnswer]
    actions: list[ActionAnswer]
    effects: list[EffectAnswer]
    violations: list[ViolationAnswer]
    nextDueAt: str | None
    digest: str
    equal: bool | None
    comparedBy: Literal["image", "outputs", "none"]
    differences: list[DifferenceAnswer]
    note: str | None


class QueueAnswer(TypedDict):
    """What waits to be done."""

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


class StartedFrom(TypedDict):
    """The image that a replay started from, and the ticks that it ran before the window."""

    txid: int
    tick: int
    time: str
    warmUpTicks: int


_Window = TypedDict("_Window", {"from": str, "to": str})  # `from` is no name that a class body can have


class ReplayAnswer(_Window, TypedDict):
    """The answer of replay-events."""

    townId: str
    startedFrom: StartedFrom
    exact: bool
    divergence: DivergenceAnswer | None
    stopped: str | None
    segments: list[SegmentAnswer]
    eventsReplayed: int
    actions: list[ActionOfTick]
    ticks: list[TickAnswer]
    stateSnapshot: StateSnapshot
    nextActions: list[ActionAnswer]
    asOf: AsOf
    notes: list[str]
    cursor: str | None


class OnlyEvents(TypedDict):
    """Events with an outcome that only one side has."""

    onlyInHistory: list[EventAnswer]
    onlyNow: list[EventAnswer]


class OnlyActions(TypedDict):
    """Actions that only one side has."""

    onlyInHistory: list[ActionAnswer]
    onlyNow: list[ActionAnswer]


class OnlyEffects(TypedDict):
    """Attempts of effects that only one side made."""

    onlyInHistory: list[AttemptAnswer]
    onlyNow: list[AttemptAnswer]


class OnlyViolations(TypedDict):
    """Violations that only one side has."""

    onlyInHistory: list[ViolationAnswer]
    onlyNow: list[ViolationAnswer]


class PartingAnswer(TypedDict):
    """A tick that comes out otherwise."""

    tick: int
    time: str
    events: OnlyEvents
    actions: OnlyActions
    effects: OnlyEffects
    violations: OnlyViolations
    rows: list[DifferenceAnswer]


class SumAnswer(TypedDict):
    """A what-if in figures."""

    actionsOnlyInHistory: dict[str, int]
    actionsOnlyNow: dict[str, int]
    rowsApart: int
    eventsLeftOut: int
    eventsAdded: int


class OverridesAnswer(TypedDict):
    """What was changed."""

    config: dict[str, Any]
    leaveOut: list[str]
    add: list[EnvelopeAnswer]
    shiftMs: int


class CodeVersions(TypedDict):
    """Which code made history, and which one is installed."""

    recorded: list[str]
    installed: str


class WhatIfAnswer(_Window, TypedDict):
    """The answer of replay-events with overrides. `eventsReplayed` and `actions` are those of the other town."""

    townId: str
    overrides: OverridesAnswer
    codeVersions: CodeVersions
    ticksCompared: int
    ticksParted: int
    firstParted: int | None
    sum: SumAnswer
    partings: list[PartingAnswer]
    partingsOmitted: int
    actionsOmitted: int
    rows: list[DifferenceAnswer]
    unknownEffects: list[EffectAnswer]
    historyDivergence: DivergenceAnswer | None
    eventsReplayed: int
    actions: list[ActionOfTick]
    stateSnapshot: StateSnapshot
    asOf: AsOf
    notes: list[str]


class PendingCount(TypedDict):
    """Events that wait, before and after the drain."""

    before: int
    after: int


class DigestsAnswer(TypedDict):
    """Both digests of the image that would be committed."""

    image: str
    logical: str


class WantedAction(TypedDict):
    """What a rule of a paused town wants."""

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
