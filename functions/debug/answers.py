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
    """One of the fleet's alarms, judged by this town alone: raised above the threshold."""

    alarm: str
    metric: str
    value: int
    threshold: float
    raised: bool


class BeadSummary(TypedDict):
    """How many beads live, in all and by status."""

    live: int
    byStatus: dict[str, int]


class StatusDocument(StatusAnswer, TypedDict):
    """A town at one moment; `waitingSummary` counts its beads by why they wait. `lastTick` null: none has run."""

    lastTick: LastTick | None
    alarms: list[AlarmAnswer]
    beadSummary: BeadSummary
    waitingSummary: dict[str, int]


class TicksDocument(TypedDict):
    """Rows of the journal, oldest first. `next` is the `after` of the rest; null: that was all."""

    townId: str
    ticks: list[JournalRow]
    next: int | None


class BeadDocument(TypedDict):
    """One bead with its history."""

    townId: str
    bead: BeadAnswer
