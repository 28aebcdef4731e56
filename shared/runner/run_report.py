"""What is told of a run, of one that failed, and of a look at all due towns."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from shared.domain.errors import TownError
from shared.domain.report import TickReport
from shared.history.differences import Difference
from shared.ports.town_store import TownImage
from shared.runner.perform import Performed

RunOutcome = Literal["committed", "quiet", "not_due", "lost", "no_time"]
"""`no_time`: its effects need more time than this process has left; nothing was committed, and a run with more does it."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run did. `image` is the newest image that it knows, to be handed to the next run as `known`.

    `trouble` is what went wrong after the commit stood: nothing is lost, a later run does what is missing. `diverged` is
    where the tick came to something else when the self-check ran it again; None where it was not checked. `wall_clock`
    is how long tick and commit took (phases 4 to 14); it is looked at only where somebody wants figures. `woken_at` are the
    times of the due markers that it wrote because something waits: results of its effects, what came meanwhile.
    """

    town_id: str
    outcome: RunOutcome
    image: TownImage
    tick: TickReport | None = None
    effects: Performed = field(default_factory=Performed)
    save_conflicts: int = 0
    next_due: datetime | None = None
    trouble: TownError | None = None
    diverged: tuple[Difference, ...] | None = None
    wall_clock: timedelta = timedelta(0)
    woken_at: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A town whose run ended with an error: nothing of it was lost, the next pass tries again."""

    town_id: str
    error: Exception


@dataclass(slots=True)
class PassReport:
    """What one look at all due towns did."""

    runs: list[RunReport] = field(default_factory=list)
    failed: list[FailedRun] = field(default_factory=list)
