"""The shapes of the debug answers as they go over the wire: what OpenAPI shows and what tests hold the answers to."""

from typing import (
    Any,
    Literal,
    NotRequired,  # pydantic needs this one below Python 3.12
)

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

_closed = with_config(ConfigDict(extra="forbid"))


@_closed
class AsOf(TypedDict):
    """Which state an answer is about."""

    txid: int
    tick: int
    time: str | None
    sqliteVersion: str
    codeVersion: str


@_closed
class EventAnswer(TypedDict):
    """An event of a tick and what became of it; `attempt` and `error` only where an attempt failed."""

    event_id: str
    event_type: str
    outcome: str
    attempt: NotRequired[int]
    error: NotRequired[str]


@_closed
class ActionAnswer(TypedDict):
    """What a rule, named in full, asked for, and what became of it."""

    rule: str
    action: dict[str, Any]
    outcome: Literal["applied", "skipped", "failed"]
    reason: str | None


@_closed
class ActionOfTick(ActionAnswer):
    """An action with the tick that it belongs to."""

    tick: int
    time: str


@_closed
class EffectAnswer(TypedDict):
    """An effect that a tick started. `result` is what history recorded of this attempt, `unknown` where it recorded none."""

    effect_id: str
    kind: str
    subject: str
    generation: int
    attempt: int
    result: NotRequired[Any]


@_closed
class ViolationAnswer(TypedDict):
    """A broken invariant."""

    invariant: int
    name: str
    subject: str
    message: str


@_closed
class DifferenceAnswer(TypedDict):
    """One column of one row; `*` is the whole row."""

    table: str
    key: str
    column: str
    expected: Any
    got: Any


@_closed
class DivergenceAnswer(TypedDict):
    """The first tick that is not what was committed."""

    tick: int
    time: str
    reason: str
    differences: list[DifferenceAnswer]


@_closed
class SegmentAnswer(TypedDict):
    """Ticks in a row that one version of the code made."""

    firstTick: int
    lastTick: int
    codeVersion: str
    kind: Literal["replay", "what_if"]
    equal: bool | None


@_closed
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


@_closed
class QueueAnswer(TypedDict):
    """What waits to be done."""

    pendingEvents: int
    poisonedEvents: int
    effects: list[dict[str, Any]]


@_closed
class StateSnapshot(TypedDict):
    """A town after a tick."""

    agents: list[dict[str, Any]]
    nonTerminalBeads: list[dict[str, Any]]
    nonTerminalBeadsOmitted: int
    convoys: list[dict[str, Any]]
    queue: QueueAnswer
    draining: bool
    settling: bool
    paused: bool
    breakerOpen: bool
    nextDueAt: str | None


@_closed
class StartedFrom(TypedDict):
    """The image that a replay started from, and the ticks that it ran before the window."""

    txid: int
    tick: int
    time: str
    warmUpTicks: int


_Window = TypedDict("_Window", {"from": str, "to": str})  # `from` is no name that a class body can have


@_closed
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


@_closed
class OnlyEvents(TypedDict):
    """Events with an outcome that only one side has."""

    onlyInHistory: list[EventAnswer]
    onlyNow: list[EventAnswer]


@_closed
class OnlyActions(TypedDict):
    """Actions that only one side has."""

    onlyInHistory: list[ActionAnswer]
    onlyNow: list[ActionAnswer]


@_closed
class OnlyEffects(TypedDict):
    """Attempts of effects that only one side made."""

    onlyInHistory: list[dict[str, Any]]
    onlyNow: list[dict[str, Any]]


@_closed
class OnlyViolations(TypedDict):
    """Violations that only one side has."""

    onlyInHistory: list[ViolationAnswer]
    onlyNow: list[ViolationAnswer]


@_closed
class PartingAnswer(TypedDict):
    """A tick that comes out otherwise."""

    tick: int
    time: str
    events: OnlyEvents
    actions: OnlyActions
    effects: OnlyEffects
    violations: OnlyViolations
    rows: list[DifferenceAnswer]


@_closed
class SumAnswer(TypedDict):
    """A what-if in figures."""

    actionsOnlyInHistory: dict[str, int]
    actionsOnlyNow: dict[str, int]
    rowsApart: int
    eventsLeftOut: int
    eventsAdded: int


@_closed
class CodeVersions(TypedDict):
    """Which code made history, and which one is installed."""

    recorded: list[str]
    installed: str


@_closed
class WhatIfAnswer(_Window, TypedDict):
    """The answer of replay-events with overrides. `eventsReplayed` and `actions` are those of the other town."""

    townId: str
    overrides: dict[str, Any]
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


@_closed
class InputAnswer(TypedDict):
    """Everything that the tick was given: `townctl tick --input` runs exactly it."""

    tick_no: int
    tick_id: str
    now: str
    code_version: str
    sqlite_version: str
    config_digest: str
    prev_image_digest: str
    inputs: dict[str, Any]


@_closed
class PendingCount(TypedDict):
    """Events that wait, before and after the drain."""

    before: int
    after: int


@_closed
class DigestsAnswer(TypedDict):
    """Both digests of the image that would be committed."""

    image: str
    logical: str


@_closed
class WantedAction(TypedDict):
    """What a rule of a paused town wants."""

    rule: str
    action: dict[str, Any]


@_closed
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
    metrics: dict[str, Any]
    pendingEventCount: PendingCount
    waiting: dict[str, int]
    nextDueAt: str | None
    digests: DigestsAnswer
