"""How many beads of a town wait for each reason, counted in the committed image at most once a minute and town."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from shared.ports.metrics import RunFigures
from shared.town import migrations

COUNTED_EVERY: Final = timedelta(minutes=1)
"""Asking the rules about a whole town takes longer than writing a line, so not every tick is counted."""


class WaitingCounts:
    """Remembers for each town when this process has counted it."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self._counted: dict[str, datetime] = {}

    def noted(self, report: RunFigures) -> Mapping[str, object]:
        """The counts as a property of a line; nothing if the town is not counted now. Counting never ends a run."""
        try:
            counts = self.of(report)
        except Exception as error:  # noqa: BLE001 - the tick is committed; the line names what went wrong
            return {"waiting_error": type(error).__name__}
        return {} if counts is None else {"waiting": counts}

    def of(self, report: RunFigures) -> Mapping[str, int] | None:
        """The counts after a run; None if its tick was discarded, or if the town was counted less than a minute ago."""
        if report.tick is None:
            return None
        given = report.tick.input
        last = self._counted.get(report.town_id)
        if last is not None and given.now - last < COUNTED_EVERY:
            return None
        self._counted[report.town_id] = given.now
        from shared.questions import waits  # noqa: PLC0415 - functions that never tick need no rules

        with migrations.readable(report.image.image) as sql:
            return waits.counts_after(sql, given, town_id=report.town_id)
