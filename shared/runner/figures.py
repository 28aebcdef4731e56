"""The figures of the loops: what they tell beside the figures of each run (`shared.ports.metrics`)."""

from typing import Protocol

from shared.runner.run_report import FailedRun, MinuteReport


class Figures(Protocol):
    """Where the figures of the dispatcher and of the worker go; never raises."""

    def town_failed(self, failed: FailedRun) -> None:
        """One run of one town that ended with an error."""
        ...

    def minute_ran(self, report: MinuteReport) -> None:
        """One scheduled minute, ended by an error or not."""
        ...
