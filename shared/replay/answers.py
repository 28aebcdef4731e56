"""The shapes of the debug answers as they go over the wire: what OpenAPI shows and what tests hold the answers to."""

from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from shared.domain.answers import (
    ActionAnswer,
    AttemptAnswer,
    DifferenceAnswer,
    EffectAnswer,
    EnvelopeAnswer,
    EventAnswer,
    ViolationAnswer,
)
from shared.questions.answers import AsOf, StateSnapshot


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
