"""The output of a loop for people: a line for every tick that did something."""

from collections.abc import Callable
from typing import Protocol

from infra.townctl.output import plain
from infra.townctl.summaries import done_by
from infra.townctl.wording import message_of, quantity
from shared.runner.run_report import FailedRun, RunReport


class RunWatcher(Protocol):
    """Receives reports of what a loop does."""

    def ran(self, run: RunReport) -> None:
        """A run of one town ended without an error."""
        ...

    def failed(self, failed: FailedRun) -> None:
        """A run ended with an error."""
        ...


class Lines:
    """A line for each tick that did something, and for each failure."""

    def __init__(self, talk: Callable[[str], None]) -> None:
        self._talk = talk

    def ran(self, run: RunReport) -> None:
        """Print what a run did, unless it did nothing worth a line."""
        report = run.tick
        if run.outcome == "lost":
            self._talk(f"{run.town_id}: another worker committed first; nothing was done")
        if report is None or report.quiet:
            return
        done = done_by(report)
        if done.worth_a_line or run.effects.failed:
            failed = f"; {quantity(run.effects.failed, 'effect')} failed" if run.effects.failed else ""
            clock = report.input.now.strftime("%H:%M:%S")
            self._talk(plain(f"{clock} {run.town_id} tick {report.input.tick_no}: {done.sentence}{failed}"))

    def failed(self, failed: FailedRun) -> None:
        """Print the error and its hint."""
        self._talk(plain(f"{failed.town_id}: {message_of(failed.error)}"))
