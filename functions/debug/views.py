"""Documents about a committed image, computed on a private copy in memory that is never written back."""

import contextlib
import json
from collections import Counter
from datetime import timedelta
from typing import Final

from functions.debug.answers import AlarmAnswer, BeadDocument, LastTick, StatusDocument, TicksDocument
from shared.domain.errors import Refused
from shared.domain.limits import MILLISECOND
from shared.domain.times import from_text
from shared.ports.town_past import JournalRow, journal_row
from shared.ports.town_store import TownImage
from shared.questions.bead_view import bead_view
from shared.questions.status import TownStatus
from shared.telemetry.catalogue import BY_NAME
from shared.town import database, journal

ANSWER_SIZE: Final = 4_500_000
"""The most bytes of journal rows in one answer; a Lambda may return 6 MB."""

_JUDGED_BY_TOWN: Final = {
    "invariantViolations": "invariant-violated",
    "pendingEventCount": "events-pile-up",
    "oldestPendingEventMs": "event-waits-long",
    "eventsPoisoned": "event-poisoned",
    "circuitBreakerOpen": "breaker-open",
}


def status_document(report: TownStatus) -> StatusDocument:
    """The status of a town with the metrics of its last tick, its alarms, and the counts of its live beads."""
    last = _last_tick(report.base)
    beads: Counter[str] = Counter(bead.status for bead in report.beads)
    waiting: Counter[str] = Counter(reason.reason for reason in report.waiting)
    return {
        **report.as_json(),
        "lastTick": last,
        "alarms": _alarms(report, last),
        "beadSummary": {"live": len(report.beads), "byStatus": dict(sorted(beads.items()))},
        "waitingSummary": dict(sorted(waiting.items())),
    }


def ticks_document(image: TownImage, *, after: int | None, limit: int) -> TicksDocument:
    """Journal rows: the newest ones, or those after tick `after`. `next` is the `after` for the next page, if there is one."""
    with database.opened(image.content) as sql:
        database.check_identity(sql, image.town_id)
        found = journal.rows(sql, limit=limit, after=after or 0, oldest=after is not None)
    rows = [journal_row(row) for row in found]
    shown: list[JournalRow] = []
    size = 0
    for row in rows if after is not None else reversed(rows):
        size += len(json.dumps(row))
        if size > ANSWER_SIZE:
            break
        shown.append(row)
    if after is None:
        shown.reverse()
    more = bool(shown) and shown[-1]["tick_no"] < image.facts.tick_no
    return {"townId": image.town_id, "ticks": shown, "next": shown[-1]["tick_no"] if more else None}


def bead_document(image: TownImage, bead_id: str) -> BeadDocument:
    """One bead with its history. Raises Refused (404)."""
    with database.opened(image.content) as sql:
        database.check_identity(sql, image.town_id)
        found = bead_view(sql, bead_id)
    if found is None:
        raise Refused("there is no such bead", status=404, path="beadId", hint="the town's status lists its live beads")
    return {"townId": image.town_id, "bead": found}


def _last_tick(image: TownImage) -> LastTick | None:
    """Number, time and metrics of the newest journal row; None before the first tick."""
    with database.opened(image.content) as sql:
        rows = journal.rows(sql, limit=1)
    if not rows:
        return None
    [row] = rows
    return {"tick": row["tick_no"], "time": row["now"], "metrics": row["outputs"]["metrics"]}


def _alarms(report: TownStatus, last: LastTick | None) -> list[AlarmAnswer]:
    """The alarms of the fleet that one town can raise, evaluated for this town alone."""
    waiting = timedelta(0)
    if report.oldest_pending is not None:
        with contextlib.suppress(ValueError):  # an invariant reports damaged rows
            waiting = max(report.now - from_text(report.oldest_pending), timedelta(0))
    values = {
        "invariantViolations": len(report.violations),
        "pendingEventCount": report.pending_events,
        "oldestPendingEventMs": waiting // MILLISECOND,
        "eventsPoisoned": last["metrics"].get("eventsPoisoned", 0) if last else 0,
        "circuitBreakerOpen": int(report.breaker.open),
    }
    alarms = {alarm.name: alarm for name in _JUDGED_BY_TOWN for alarm in BY_NAME[name].alarms}
    return [
        {
            "alarm": alarm,
            "metric": metric,
            "value": values[metric],
            "threshold": alarms[alarm].threshold,
            "raised": values[metric] > alarms[alarm].threshold,
        }
        for metric, alarm in _JUDGED_BY_TOWN.items()
    ]
