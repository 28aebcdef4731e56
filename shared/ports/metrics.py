"""The metrics port: where the figures of a run go."""

from typing import Any, Protocol


class Metrics(Protocol):
    """Where the figures of a tick go; never raises."""

    def tick_ran(self, report: Any) -> None:
        """One committed, quiet or lost tick (`shared.domain.report.RunReport`)."""
        ...
