"""The figures of the loops, in addition to the figures of each run (`shared.ports.metrics`)."""

from typing import Protocol

from shared.runner.run_report import FailedRun, MinuteReport


class Figures(Protocol):
    """Where the dispatcher and the worker send their figures. Its methods never raise."""

    def town_failed(self, failed: FailedRun) -> None:
        """Record a run of one town that ended with an error."""
        ...

    def minute_ran(self, report: MinuteReport) -> None:
        """Record one scheduled minute, whether or not it ended with an error."""
        ...
