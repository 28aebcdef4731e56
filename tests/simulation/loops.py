"""Local loops: `townctl run` beside whatever else works on the same towns. One that dies is started again some time later."""

from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random

from shared.runner.passes import Passes
from shared.runner.run_report import FailedRun, PassReport
from shared.runner.surroundings import Surroundings
from shared.storage.restore import KeptPast
from tests.simulation.ground import Ground
from tests.simulation.processes import Ending
from tests.simulation.scheduler import CALM_PASS_SECONDS, SECOND


class Loops:
    """Some loops, each a process with tasks. `around` makes the surroundings of a new one."""

    def __init__(
        self,
        ground: Ground,
        *,
        pause: int,
        sweep_page: int,
        around: Callable[[int | None], Surroundings],
        worker_id: Callable[[], str],
    ) -> None:
        self._ground = ground
        self._pause = pause
        self._sweep_page = sweep_page
        self._around = around
        self._worker_id = worker_id
        self._random = Random(f"{ground.random.random()} loops")
        self._names = count(1)

    def begin(self, number: int) -> None:
        """So many loops, from now on."""
        for _ in range(number):
            self._start()

    def calm_down(self) -> None:
        """From now on there are fewer passes: each loop stops soon, and another one with a longer pause takes its place."""
        self._pause = max(self._pause, CALM_PASS_SECONDS * SECOND)

    def _start(self) -> None:
        pause = self._pause

        def is_enough(_: float) -> bool:
            return pause != self._pause or self._out_for > 0 or self._is_enough()

        passes = Passes(
            self._around(None),
            self,
            worker_id=self._worker_id,
            pause=pause / SECOND,
            pasts=self._kept,
            sweep_page=self._sweep_page,
        )
        self._ground.driver.start(f"loop {next(self._names)}", passes.until(is_enough), self._ended)

    def _kept(self, town_id: str) -> KeptPast:
        return KeptPast(self._ground.objects, self._ground.objects, town_id)

    def _is_enough(self) -> bool:
        return self._ground.plan.happens("loop_stopped") and self._random.random() < 0.1

    def _ended(self, ending: Ending) -> None:
        if ending.error is not None:
            self._ground.checks.fail("loop ended", f"{type(ending.error).__name__}: {ending.error}")
        wait = self._random.randrange(SECOND, 60 * SECOND)
        self._ground.scheduler.after(max(wait, self._out_for), partial(self._start))

    @property
    def _out_for(self) -> int:
        """How many milliseconds longer nobody works."""
        return self._ground.outage_until - self._ground.scheduler.now

    # the Watcher port

    def passed(self, report: PassReport) -> None:
        """A pass meets nothing but what passes."""
        checks = self._ground.checks
        checks.figures["passes"] += 1
        for failed in report.failed:
            checks.require_passing(f"run of {failed.town_id}", failed.error)
        if report.problem is not None:
            checks.require_passing("a pass", report.problem)

    def not_tidied(self, failed: FailedRun) -> None:
        """Retention meets nothing but what passes."""
        self._ground.checks.require_passing(f"retention of {failed.town_id}", failed.error)
