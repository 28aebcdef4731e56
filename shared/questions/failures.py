"""The failed beads of a town: why each failed, how the last attempt ended, and which beads wait for it."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from shared.domain.errors import DamagedImage, Refused
from shared.domain.shapes import Time, answer
from shared.domain.states import BeadStatus, BeadType
from shared.ports.agent_logs import AgentLogs
from shared.ports.steps import Steps
from shared.ports.town_past import TownPast
from shared.questions.agent_log import FailedStart, failed_start, last_lines_of
from shared.questions.lines import line_of
from shared.questions.setting_history import SettingsEvent
from shared.questions.waiting import Waiting
from shared.town.reading import TownReader

OpenLogs = Callable[[], AgentLogs]
OpenPast = Callable[[], TownPast]
LOGS_READ: Final = 5
"""Of so many failed beads, the newest ones, the last line of the agent is read."""
_FAILED: Final = (
    "SELECT b.bead_id, b.type, b.title, e.created_at, json_extract(e.metadata, '$.failure_reason.code'), "
    "coalesce(json_extract(b.metadata, '$.failureMessage'), json_extract(e.metadata, '$.failure_reason.message'), "
    "json_extract(e.metadata, '$.reason')), b.rig_id, s.started_at, "
    "(SELECT MAX(c.closed_at) FROM beads c WHERE c.rig_id = b.rig_id AND c.type = 'issue' AND c.status = 'closed' "
    "AND c.closed_at <= s.started_at) "
    "FROM beads b LEFT JOIN bead_events e ON e.seq = (SELECT MAX(n.seq) FROM bead_events n "
    "WHERE n.bead_id = b.bead_id AND n.event_type = 'status_changed' AND n.new_value = 'failed') "
    "LEFT JOIN (SELECT h.bead_id, MAX(h.created_at) AS started_at FROM bead_events h WHERE h.event_type = 'hooked' "
    "GROUP BY h.bead_id) s ON s.bead_id = b.bead_id "
    "WHERE b.status = 'failed'"
)


@answer
class FailedLine:
    """A failed bead: when it failed, the code of the reason, and a sentence that says why and what to do.

    `startedAt` is the time of its newest order to start an agent, `doneBefore` when another bead of its rig was done last before
    that. `attemptsAtMost` is how often a reopened bead is started. `newestStart` is null unless its newest start failed; `lastLine`
    is what the agent printed last in it, null if no log is kept. `holdsBack` are the live beads that wait for it. `changed` are the
    changes of settings between these two times that its order carried, newest first: only where its newest start failed.
    """

    bead_id: str
    type: BeadType
    title: str
    failed_at: Time | None
    reason: str | None
    message: str | None
    rig_id: str | None
    started_at: Time | None
    done_before: Time | None
    attempts_at_most: int
    newest_start: FailedStart | None
    last_line: str | None
    holds_back: tuple[str, ...]
    changed: tuple[SettingsEvent, ...] = ()


def failed_beads(
    sql: sqlite3.Connection, town: TownReader, *, since: str, limit: int, holding: Mapping[str, tuple[str, ...]]
) -> tuple[FailedLine, ...]:
    """The beads that failed since a time or are `holding` others back: these first, then the newest."""
    rows = sql.execute(
        f"{_FAILED} AND (e.created_at >= :since OR b.bead_id IN (SELECT value FROM json_each(:holding))) "  # noqa: S608 - a constant
        "ORDER BY b.bead_id IN (SELECT value FROM json_each(:holding)) DESC, e.seq DESC, b.bead_id LIMIT :limit",
        {"since": since, "limit": limit, "holding": json.dumps(sorted(holding))},
    ).fetchall()
    return tuple(_line(sql, town, row, holding) for row in rows)


def failed_bead(
    sql: sqlite3.Connection, town: TownReader, bead_id: str, *, holding: Mapping[str, tuple[str, ...]]
) -> FailedLine | None:
    """One failed bead, however long ago it failed; None if it has not failed."""
    row = sql.execute(f"{_FAILED} AND b.bead_id = :id", {"id": bead_id}).fetchone()
    return None if row is None else _line(sql, town, row, holding)


def _line(
    sql: sqlite3.Connection, town: TownReader, row: Sequence[Any], holding: Mapping[str, tuple[str, ...]]
) -> FailedLine:
    bead_id, rig_id = row[0], row[6]
    return line_of(
        FailedLine,
        row,
        attempts_at_most=town.settings(rig_id).max_dispatch_attempts,
        newest_start=failed_start(sql, bead_id, is_agent=False),
        last_line=None,
        holds_back=holding.get(bead_id, ()),
    )


def held_back(waiting: Iterable[Waiting]) -> dict[str, tuple[str, ...]]:
    """The live beads behind each failed one, by the failed bead."""
    found: dict[str, tuple[str, ...]] = {}
    for each in waiting:
        if each.root is not None and each.root.status == BeadStatus.FAILED:
            found[each.root.bead_id] = (*found.get(each.root.bead_id, ()), each.bead_id)
    return found


def told(
    town_id: str, failed: Iterable[FailedLine], logs: OpenLogs | None, past: OpenPast | None, *, last_tick: int
) -> Steps[tuple[FailedLine, ...]]:
    """These beads of a town at a tick, with what the image does not know: what was printed last, and what was changed before."""
    found = yield from _with_last_lines(town_id, failed, logs)
    return found if past is None else (yield from _with_changes(town_id, found, past, last_tick=last_tick))


def _with_last_lines(
    town_id: str, failed: Iterable[FailedLine], logs: OpenLogs | None
) -> Steps[tuple[FailedLine, ...]]:
    """These beads, the newest of them with the last line that was printed in their failed start. Without one, no log is opened."""
    found = []
    for at, each in enumerate(failed):
        told = None
        if logs is not None and each.newest_start is not None and at < LOGS_READ:
            told = yield from last_lines_of(town_id, each.newest_start, logs())
        found.append(replace(each, last_line=told.lines[-1]) if told is not None and told.lines else each)
    return tuple(found)


def _with_changes(
    town_id: str, failed: Iterable[FailedLine], past: OpenPast, *, last_tick: int
) -> Steps[tuple[FailedLine, ...]]:
    """These beads, with the changes of settings that came before their failed starts. If none can have any, nothing is read."""
    found = tuple(failed)
    times = [each.done_before for each in found if each.done_before is not None and each.newest_start is not None]
    if not times:
        return found
    from shared.questions import order_changes  # noqa: PLC0415 - most towns have no such bead

    try:
        events = yield from order_changes.changes_since(town_id, past(), min(times), last_tick=last_tick)
    except (DamagedImage, Refused):
        return found  # what is damaged is said elsewhere; here it only hides a hint
    lines: list[FailedLine] = []
    for each in found:
        since, until = each.done_before, each.started_at
        if each.newest_start is None or since is None or until is None:
            lines.append(each)
            continue
        changed = order_changes.in_the_order(events, each.rig_id, since=since, until=until)
        lines.append(replace(each, changed=tuple(changed)))
    return tuple(lines)
