"""The wire format of the debug answers. The OpenAPI document is generated from it, and tests check the answers against it."""

from typing import Annotated, Any, Literal

from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from shared.domain.answers import (
    ActionAnswer,
    AttemptAnswer,
    DifferenceAnswer,
    EffectAnswer,
    EnvelopeAnswer,
    EventAnswer,
    FieldsOf,
    ViolationAnswer,
)
from shared.questions.snapshot import AsOf, StateSnapshot


class ActionOfTick(ActionAnswer):
    """An action with its tick."""

    tick: int
    time: str


class DivergenceAnswer(TypedDict):
    """The first tick that differs from what was committed."""

    tick: int
    time: str
    reason: str
    differences: list[DifferenceAnswer]


class SegmentAnswer(TypedDict):
    """Consecutive ticks that were made by one version of the code."""

    firstTick: int
    lastTick: int
    codeVersion: str
    kind: Literal["replay", "what_if"]
    equal: bool | None


class TickAnswer(TypedDict):
    """A recorded tick that was run again."""

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
    """The image from which a replay started, and the number of ticks that it ran before the window."""

    txid: int
    tick: int
    time: str
    warmUpTicks: int


_Window = TypedDict("_Window", {"from": str, "to": str})  # a class body cannot define a name `from`


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
    stateSnapshot: Annotated[dict[str, Any], FieldsOf(StateSnapshot)]
    nextActions: list[ActionAnswer]
    asOf: Annotated[dict[str, Any], FieldsOf(AsOf)]
    notes: list[str]
    cursor: str | None


class OnlyEvents(TypedDict):
    """Events, with their outcomes, that only one side has."""

    onlyInHistory: list[EventAnswer]
    onlyNow: list[EventAnswer]


class OnlyActions(TypedDict):
    """Actions that only one side has."""

    onlyInHistory: list[ActionAnswer]
    onlyNow: list[ActionAnswer]


class OnlyEffects(TypedDict):
    """Attempts of effects that only one side has."""

    onlyInHistory: list[AttemptAnswer]
    onlyNow: list[AttemptAnswer]


class OnlyViolations(TypedDict):
    """Violations that only one side has."""

    onlyInHistory: list[ViolationAnswer]
    onlyNow: list[ViolationAnswer]


class PartingAnswer(TypedDict):
    """A tick in which the two sides differ."""

    tick: int
    time: str
    events: OnlyEvents
    actions: OnlyActions
    effects: OnlyEffects
    violations: OnlyViolations
    rows: list[DifferenceAnswer]


class SumAnswer(TypedDict):
    """A summary of a what-if in numbers."""

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
    """The code versions that made the recorded ticks, and the installed one."""

    recorded: list[str]
    installed: str


class WhatIfAnswer(_Window, TypedDict):
    """The answer of replay-events with overrides. `eventsReplayed` and `actions` are those of the changed town."""

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
    stateSnapshot: Annotated[dict[str, Any], FieldsOf(StateSnapshot)]
    asOf: Annotated[dict[str, Any], FieldsOf(AsOf)]
    notes: list[str]
