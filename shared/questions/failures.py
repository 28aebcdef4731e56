"""The failed beads of a town: why each failed, how the last attempt ended, and which beads wait for it."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from shared.domain.shapes import Time, answer
from shared.domain.states import BeadStatus, BeadType
from shared.ports.agent_logs import AgentLogs
from shared.ports.steps import Steps
from shared.questions.agent_log import FailedStart, failed_start, last_lines_of
from shared.questions.lines import line_of
from shared.questions.waiting import Waiting
from shared.town.reading import TownReader

OpenLogs = Callable[[], AgentLogs]
LOGS_READ: Final = 5
"""Of so many failed beads, the newest ones, the last line of the agent is read."""


@answer
class FailedLine:
    """A failed bead: when it failed, the code of the reason, and a sentence that says why and what to do.

    `attemptsAtMost` is how often a reopened bead is started. `newestStart` is null unless its newest start failed; `lastLine` is
    what the agent printed last in it, null if no log is kept. `holdsBack` are the live beads that wait for it.
    """

    bead_id: str
    type: BeadType
    title: str
    failed_at: Time | None
    reason: str | None
    message: str | None
    attempts_at_most: int
    newest_start: FailedStart | None
    last_line: str | None
    holds_back: tuple[str, ...]


def failed_beads(
    sql: sqlite3.Connection, town: TownReader, *, since: str, limit: int, holding: Mapping[str, tuple[str, ...]]
) -> tuple[FailedLine, ...]:
    """The beads that failed since a time or are `holding` others back: these first, then the newest."""
    rows = sql.execute(
        "SELECT b.bead_id, b.type, b.title, e.created_at, json_extract(e.metadata, '$.failure_reason.code'), "
        "coalesce(json_extract(b.metadata, '$.failureMessage'), json_extract(e.metadata, '$.failure_reason.message'), "
        "json_extract(e.metadata, '$.reason')), b.rig_id "
        "FROM beads b LEFT JOIN bead_events e ON e.seq = (SELECT MAX(n.seq) FROM bead_events n "
        "WHERE n.bead_id = b.bead_id AND n.event_type = 'status_changed' AND n.new_value = 'failed') "
        "WHERE b.status = 'failed' "
        "AND (e.created_at >= :since OR b.bead_id IN (SELECT value FROM json_each(:holding))) "
        "ORDER BY b.bead_id IN (SELECT value FROM json_each(:holding)) DESC, e.seq DESC, b.bead_id LIMIT :limit",
        {"since": since, "limit": limit, "holding": json.dumps(sorted(holding))},
    ).fetchall()
    return tuple(
        line_of(
            FailedLine,
            cells,
            attempts_at_most=town.settings(rig_id).max_dispatch_attempts,
            newest_start=failed_start(sql, cells[0], is_agent=False),
            last_line=None,
            holds_back=holding.get(cells[0], ()),
        )
        for *cells, rig_id in rows
    )


def held_back(waiting: Iterable[Waiting]) -> dict[str, tuple[str, ...]]:
    """The live beads behind each failed one, by the failed bead."""
    found: dict[str, tuple[str, ...]] = {}
    for each in waiting:
        if each.root is not None and each.root.status == BeadStatus.FAILED:
            found[each.root.bead_id] = (*found.get(each.root.bead_id, ()), each.bead_id)
    return found


def with_last_lines(town_id: str, failed: Iterable[FailedLine], logs: OpenLogs | None) -> Steps[tuple[FailedLine, ...]]:
    """These beads, the newest of them with the last line that was printed in their failed start. Without one, no log is opened."""
    found = []
    for at, each in enumerate(failed):
        told = None
        if logs is not None and each.newest_start is not None and at < LOGS_READ:
            told = yield from last_lines_of(town_id, each.newest_start, logs())
        found.append(replace(each, last_line=told.lines[-1]) if told is not None and told.lines else each)
    return tuple(found)
