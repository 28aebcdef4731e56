"""Phase 10: delete rows that are old enough. Retention never makes a town due."""

from collections.abc import Callable
from typing import Final

from shared.domain import limits
from shared.engine.drain import error_text
from shared.town import inbox, journal, outbox
from shared.town.town import Town
from shared.town.writing import nudges, usage

Forget = Callable[[Town, int, int], int]


def forget_old_rows(town: Town, *, published_to: int) -> list[tuple[str, str]]:
    """Run every retention step within one budget of rows; returns the names of failed steps with their errors."""
    budget = limits.RETENTION_ROWS_PER_TICK
    failed: list[tuple[str, str]] = []
    for name, forget in STEPS:
        try:
            budget -= forget(town, published_to, budget)
        except Exception as error:  # noqa: BLE001 - counted and alerted by the tick; the next step still runs
            failed.append((name, error_text(error)))
    return failed


def _events(town: Town, published_to: int, budget: int) -> int:
    before = town.tick.ago(max(limits.EVENT_RETENTION, town.tick.restore_window))
    return inbox.remove_processed(town, before=before, limit=budget)


def _reads(town: Town, published_to: int, budget: int) -> int:
    return outbox.remove_finished(town, before=town.tick.ago(limits.FINISHED_READS_KEPT), limit=budget, reads=True)


def _effects(town: Town, published_to: int, budget: int) -> int:
    before = town.tick.ago(max(limits.EVENT_RETENTION, town.tick.restore_window))
    return outbox.remove_finished(town, before=before, limit=budget, reads=False)


def _nudges(town: Town, published_to: int, budget: int) -> int:
    before = town.tick.ago(max(limits.EVENT_RETENTION, town.tick.restore_window))
    return nudges.remove_delivered(town, before=before, limit=budget)


def _usage_reports(town: Town, published_to: int, budget: int) -> int:
    return usage.forget_reports(town, before=town.tick.ago(limits.USAGE_REPORTS_KEPT), limit=budget)


def _usage_days(town: Town, published_to: int, budget: int) -> int:
    return usage.forget_days(town, before=town.tick.ago(limits.USAGE_DAYS_KEPT), limit=budget)


def _journal(town: Town, published_to: int, budget: int) -> int:
    return journal.remove_published(town, published_to, limit=budget) if published_to > 0 else 0


STEPS: Final[tuple[tuple[str, Forget], ...]] = (
    ("events", _events),
    ("reads", _reads),
    ("effects", _effects),
    ("nudges", _nudges),
    ("usage reports", _usage_reports),
    ("usage of days", _usage_days),
    ("journal", _journal),
)
