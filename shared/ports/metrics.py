"""The metrics port: where the figures of a run are sent."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from shared.domain.report import TickReport


class EffectFigures(Protocol):
    """Counts of the effects of one tick. Every started call counts as attempted, and as either succeeded or failed."""

    @property
    def attempted(self) -> int:
        """Calls that were started."""
        ...

    @property
    def succeeded(self) -> int:
        """Calls that did what they were asked to do."""
        ...

    @property
    def failed(self) -> int:
        """Calls that were rejected, timed out or failed."""
        ...

    @property
    def not_started(self) -> int:
        """Calls for which no time was left; a later tick starts them."""
        ...


class ImageFigures(Protocol):
    """The image that a run ended with."""

    @property
    def size(self) -> int:
        """Its size in bytes."""
        ...

    @property
    def image(self) -> bytes:
        """Its bytes."""
        ...


class RunFigures(Protocol):
    """The data from which the metrics of one run are computed. `shared.runner.run_report.RunReport` satisfies it."""

    @property
    def town_id(self) -> str:
        """The town that the run was about."""
        ...

    @property
    def outcome(self) -> str:
        """committed, quiet, lost (another worker committed first) or no_time (too little time was left to commit)."""
        ...

    @property
    def tick(self) -> TickReport | None:
        """The report of the tick; None if the tick was discarded."""
        ...

    @property
    def image(self) -> ImageFigures:
        """The newest image that the run knows."""
        ...

    @property
    def effects(self) -> EffectFigures:
        """The results of the effects that the tick claimed."""
        ...

    @property
    def save_conflicts(self) -> int:
        """1 if another worker committed first, else 0."""
        ...

    @property
    def wall_clock(self) -> timedelta:
        """The duration of tick and commit, by the town's clock."""
        ...

    @property
    def diverged(self) -> Sequence[object] | None:
        """The differences that the self-check found: empty if there are none, None if this tick was not checked."""
        ...


class Metrics(Protocol):
    """Receives the figures of runs.

    Delivery is best effort: a figure that cannot be written is dropped. Nothing is deduplicated, so the caller reports each
    run once.
    """

    def tick_ran(self, report: RunFigures) -> None:
        """Record one run whose tick was committed, was quiet or was discarded.

        Raises nothing. It returns within milliseconds, and once a minute and town, when it counts waiting beads, within a second.
        """
        ...
