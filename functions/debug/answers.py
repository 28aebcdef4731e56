"""The shapes of the debug API's answers that no other package defines. OpenAPI is generated from them."""

from typing_extensions import TypedDict

from shared.domain.answers import MetricsAnswer
from shared.ports.town_past import JournalRow
from shared.questions.bead_view import BeadAnswer
from shared.questions.status import StatusAnswer


class HealthDocument(TypedDict):
    """Which deployment answers."""

    stage: str
    release: str
    codeVersion: str


class LastTick(TypedDict):
    """The newest tick of the journal."""

    tick: int
    time: str
    metrics: MetricsAnswer


class AlarmAnswer(TypedDict):
    """One of the fleet's alarms, evaluated for this town alone; raised if the value is above the threshold."""

    alarm: str
    metric: str
    value: int
    threshold: float
    raised: bool


class BeadSummary(TypedDict):
    """The number of live beads, in total and by status."""

    live: int
    byStatus: dict[str, int]


class StatusDocument(StatusAnswer, TypedDict):
    """The status of a town. `waitingSummary` counts live beads by waiting reason. `lastTick` is null before the first tick."""

    lastTick: LastTick | None
    alarms: list[AlarmAnswer]
    beadSummary: BeadSummary
    waitingSummary: dict[str, int]


class TicksDocument(TypedDict):
    """Journal rows, oldest first. `next` is the `after` for the next page, null on the last one."""

    townId: str
    ticks: list[JournalRow]
    next: int | None


class BeadDocument(TypedDict):
    """One bead with its history."""

    townId: str
    bead: BeadAnswer
