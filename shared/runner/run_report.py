"""The reports of a run, of a failed run, of a pass over the due towns and of a scheduled minute."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from shared.domain.errors import TownError
from shared.domain.report import TickReport
from shared.history.differences import Difference
from shared.ports.town_store import TownImage
from shared.runner.perform import Performed

RunOutcome = Literal["committed", "quiet", "not_due", "lost", "no_time"]
"""`no_time`: the effects need more time than this process has left. Nothing was committed; a process with more time must run it."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """The report of one run.

    - `image`: the newest image that the run knows, for the next run's `known`.
    - `trouble`: an error after the commit. Nothing is lost; a later run does what is missing.
    - `diverged`: the differences that the self-check found when it ran the tick again; None if it did not check the tick.
    - `wall_clock`: how long tick and commit took (phases 4 to 14); zero if metrics are off.
    - `woken_at`: the times of the due markers that the run wrote for events that arrived meanwhile, such as results of its effects.
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
    """A run that ended with an error. Nothing is lost; a later run tries again."""

    town_id: str
    error: Exception


@dataclass(frozen=True, slots=True)
class ApartRun:
    """A run of a town in a child process, which reports its outcomes itself. `death` says how the process died, if it did."""

    town_id: str
    outcomes: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None
    death: str | None = None


@dataclass(slots=True)
class PassReport:
    """The report of one pass over the due towns. `looked`: it has read the due markers; if not, `problem` may say why.

    `apart` are the runs in child processes that ended, `set_aside` the towns that are not run because their runs have died.
    """

    runs: list[RunReport] = field(default_factory=list)
    failed: list[FailedRun] = field(default_factory=list)
    apart: list[ApartRun] = field(default_factory=list)
    set_aside: tuple[str, ...] = ()
    looked: bool = False
    problem: TownError | None = None

    def add(self, run: RunReport | FailedRun | ApartRun) -> None:
        """Add the run of one town."""
        if isinstance(run, FailedRun):
            self.failed.append(run)
        elif isinstance(run, ApartRun):
            self.apart.append(run)
        else:
            self.runs.append(run)


@dataclass(slots=True)
class MinuteReport:
    """The report of one scheduled minute. `execution_id` and `attempt` identify the call of the schedule.

    `left` counts the due towns that had to wait because time ran out or the queue did not accept them; `restored` counts the
    markers that the sweep wrote, `set_aside` the towns that are not run because their runs have died too often, and `violated`
    those with an open violation of an invariant.
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
    set_aside: int = 0
    violated: int = 0
    oldest_due: timedelta = timedelta(0)
    took: timedelta = timedelta(0)
    outcomes: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
