"""What is told of a run, of one that failed, of a pass over the due towns and of a scheduled minute."""

from collections import Counter
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
    """What one pass over the due towns did. `looked`: it has seen the due markers; else `problem` may say why not."""

    runs: list[RunReport] = field(default_factory=list)
    failed: list[FailedRun] = field(default_factory=list)
    looked: bool = False
    problem: TownError | None = None

    def add(self, run: RunReport | FailedRun) -> None:
        """Take in the run of one town."""
        if isinstance(run, FailedRun):
            self.failed.append(run)
        else:
            self.runs.append(run)


@dataclass(slots=True)
class MinuteReport:
    """What came of one scheduled minute, which the schedule calls by `execution_id` in its `attempt`.

    `left` are the due towns for which no time or no room in the queue was left, `restored` the markers that the sweep wrote.
    """

    minute: datetime
    execution_id: str = ""
    attempt: int = 1
    late: bool = False
    passes: int = 0
    due: int = 0
    handed_over: int = 0
    left: int = 0
    restored: int = 0
    oldest_due: timedelta = timedelta(0)
    took: timedelta = timedelta(0)
    outcomes: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
