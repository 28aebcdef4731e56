"""Phase 10: delete rows that are old enough. Retention never makes a town due."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from shared.domain import limits
from shared.engine.drain import error_text
from shared.town import database, journal, known_events, outbox
from shared.town.archive import Leaving
from shared.town.no_room import require_room
from shared.town.town import Town
from shared.town.writing import audit, nudges, usage

Forget = Callable[[Town, int, int], int]


def forget_old_rows(town: Town, *, published_to: int, more_waiting: bool) -> list[tuple[str, str]]:
    """Run every retention step within one budget of rows; returns the names of failed steps with their errors.

    While more events wait in the inbox, processed events stay, however old: one that waits may be a copy of one of them. Example: a
    town applies half of a backlog and is set aside for eight days. The other half holds copies of events that their senders posted
    again because they had no answer.
    """
    budget = limits.RETENTION_ROWS_PER_TICK
    failed: list[tuple[str, str]] = []
    for name, forget in STEPS:
        if more_waiting and forget in (_event_rows, _known_events):
            continue
        try:
            budget -= forget(town, published_to, budget)
        except Exception as error:  # noqa: BLE001 - counted and alerted by the tick; the next step still runs
            require_room(error)
            failed.append((name, error_text(error)))
    return failed


def remove_archived(town: Town, leaving: Leaving | None) -> list[tuple[str, str]]:
    """Remove the beads that are published and still may leave; returns the error if that failed: then all of them stay."""
    if leaving is None:
        return []
    try:
        with database.savepoint(town.sql):
            leaving.remove()
    except Exception as error:  # noqa: BLE001 - as above
        require_room(error)
        return [("archive", error_text(error))]
    return []


def _event_rows(town: Town, published_to: int, budget: int) -> int:
    """The journal has the events, and what is left of those that somebody may send again is enough to recognize them.

    A result that a worker posts twice finds its effect ended, even if its event is gone.
    """
    return known_events.forget_rows(
        town, before=town.tick.ago(limits.EVENT_ROWS_KEPT), poisoned_before=_may_be_repeated_from(town), limit=budget
    )


def _known_events(town: Town, published_to: int, budget: int) -> int:
    return known_events.forget_known(town, before=_may_be_repeated_from(town), limit=budget)


def _may_be_repeated_from(town: Town) -> datetime:
    """The receipt of the oldest event that a producer may still send again."""
    return town.tick.ago(max(limits.EVENT_RETENTION, town.tick.restore_window))


def _reads(town: Town, published_to: int, budget: int) -> int:
    return outbox.remove_finished(town, before=town.tick.ago(limits.FINISHED_READS_KEPT), limit=budget, reads=True)


def _effects(town: Town, published_to: int, budget: int) -> int:
    return outbox.remove_finished(town, before=town.tick.ago(limits.EFFECTS_KEPT), limit=budget, reads=False)


def _nudges(town: Town, published_to: int, budget: int) -> int:
    before = _may_be_repeated_from(town)
    return nudges.remove_delivered(town, before=before, limit=budget)


def _usage_reports(town: Town, published_to: int, budget: int) -> int:
    return usage.forget_reports(town, before=town.tick.ago(limits.USAGE_REPORTS_KEPT), limit=budget)


def _usage_days(town: Town, published_to: int, budget: int) -> int:
    return usage.forget_days(town, before=town.tick.ago(limits.USAGE_DAYS_KEPT), limit=budget)


def _exits(town: Town, published_to: int, budget: int) -> int:
    if town.tick.number % limits.ARCHIVE_LOOK_EVERY:
        return 0
    return audit.forget_exits(town, before=town.tick.ago(limits.EXITS_KEPT), limit=budget)


def _journal(town: Town, published_to: int, budget: int) -> int:
    return journal.remove_published(town, published_to, limit=budget) if published_to > 0 else 0


STEPS: Final[tuple[tuple[str, Forget], ...]] = (
    ("event rows", _event_rows),
    ("known events", _known_events),
    ("reads", _reads),
    ("effects", _effects),
    ("nudges", _nudges),
    ("usage reports", _usage_reports),
    ("usage of days", _usage_days),
    ("exits", _exits),
    ("journal", _journal),
)
