"""Queries whose results only people read, never rules: titles, progress, pending and poisoned events."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from shared.domain.shapes import Time, answer
from shared.domain.states import BeadStatus, BeadType, EffectKind, EffectState
from shared.domain.times import readable_time
from shared.questions import spend
from shared.questions.lines import line_of, lines_of
from shared.questions.spend import Spend
from shared.town import known_events

ConvoyState = Literal["failed", "landed", "staged", "active"]
_LIVE: Final = "('open', 'in_progress', 'in_review')"
_CONVOYS: Final = (
    "SELECT b.bead_id, b.status, m.staged, b.title, m.total_beads, m.closed_beads, m.landed_at "
    "FROM beads b JOIN convoy_metadata m ON m.bead_id = b.bead_id"
)


@answer
class BeadLine:
    """A live bead, for lists."""

    bead_id: str
    type: BeadType
    status: BeadStatus
    title: str
    rig_id: str | None


@answer
class ForgeLine:
    """A review whose last poll or merge failed: when, and what the forge or its adapter answered."""

    bead_id: str
    effect: EffectKind
    at: Time | None
    said: str


@answer
class AbandonedLine:
    """A merge request that ended while its pull request was open: when and why. Nobody polls or merges that pull request."""

    bead_id: str
    title: str
    pr_url: str
    ended_at: Time | None
    reason: str | None


@answer
class EffectLine:
    """An effect that is not finished, for lists."""

    effect_id: str
    kind: EffectKind
    subject: str
    generation: int
    state: EffectState
    attempts: int
    deadline: Time | None


@dataclass(frozen=True, slots=True)
class BoardLine:
    """An issue, merge request or convoy, with the agent that is hooked to it, if any, and that agent's status message."""

    bead_id: str
    type: str
    status: str
    title: str
    agent_identity: str | None
    agent_status: str | None
    agent_says: str | None


@answer
class ConvoyLine:
    """A convoy, live or not, for lists: `done` of its `total` beads are closed."""

    bead_id: str
    status: BeadStatus
    staged: bool
    title: str
    total: int
    done: int
    landed_at: Time | None
    state: ConvoyState
    used: Spend | None


@answer
class OpenViolation:
    """An open violation of an invariant."""

    invariant: int
    subject: str
    opened_at: Time | None
    message: str


def live_beads(sql: sqlite3.Connection) -> tuple[BeadLine, ...]:
    """Every live bead except the agents, in order of creation."""
    rows = sql.execute(
        "SELECT bead_id, type, status, title, rig_id FROM beads "  # noqa: S608 - a constant
        "WHERE type IN ('issue', 'message', 'escalation', 'merge_request', 'convoy', 'molecule') "
        f"AND status IN {_LIVE} ORDER BY created_at, bead_id"
    ).fetchall()
    return lines_of(BeadLine, rows)


def forge_answers(sql: sqlite3.Connection) -> tuple[ForgeLine, ...]:
    """For each review in progress, its last poll and its last merge, if they failed; in the order of the calls."""
    rows = sql.execute(
        "SELECT o.subject, o.kind, o.finished_at, coalesce(json_extract(o.result, '$.reason'), "
        "json_extract(o.result, '$.error.kind') || ': ' || json_extract(o.result, '$.error.message'), 'no answer') "
        "FROM outbox o JOIN beads b ON b.bead_id = o.subject AND b.status = 'in_progress' "
        "WHERE o.kind IN ('poll_pr', 'merge_pr') AND o.state = 'failed' AND o.seq = (SELECT MAX(n.seq) FROM outbox n "
        "WHERE n.subject = o.subject AND n.kind = o.kind AND n.state IN ('done', 'failed')) ORDER BY o.seq"
    ).fetchall()
    return lines_of(ForgeLine, rows)


def abandoned_pull_requests(sql: sqlite3.Connection, *, limit: int) -> tuple[AbandonedLine, ...]:
    """The pull requests that were left open when their merge requests ended, the newest first."""
    rows = sql.execute(
        "SELECT b.bead_id, b.title, r.pr_url, e.created_at, coalesce(json_extract(b.metadata, '$.failureMessage'), "
        "json_extract(e.metadata, '$.reason')) "
        "FROM beads b JOIN review_metadata r ON r.bead_id = b.bead_id AND r.pr_url IS NOT NULL "
        "LEFT JOIN bead_events e ON e.seq = (SELECT MAX(n.seq) FROM bead_events n "
        "WHERE n.bead_id = b.bead_id AND n.event_type = 'status_changed') "
        "WHERE b.type = 'merge_request' AND b.status IN ('closed', 'failed') AND json_valid(b.metadata) "
        "AND json_extract(b.metadata, '$.abandoned') = 1 ORDER BY e.seq DESC, b.bead_id LIMIT :limit",
        {"limit": limit},
    ).fetchall()
    return lines_of(AbandonedLine, rows)


def unfinished_effects(sql: sqlite3.Connection) -> tuple[EffectLine, ...]:
    """Every effect that is not finished, in order of creation."""
    rows = sql.execute(
        "SELECT effect_id, kind, subject, generation, state, attempts, deadline FROM outbox "
        "WHERE state IN ('pending', 'claimed') ORDER BY seq"
    ).fetchall()
    return lines_of(EffectLine, rows)


def convoy(sql: sqlite3.Connection, bead_id: str) -> ConvoyLine | None:
    """One convoy; None if it does not exist."""
    row = sql.execute(
        f"{_CONVOYS} WHERE b.bead_id = :id",
        {"id": bead_id},
    ).fetchone()
    return None if row is None else _convoy(sql, row)


def convoys(sql: sqlite3.Connection, *, limit: int) -> tuple[ConvoyLine, ...]:
    """The newest convoys, live or not, newest first."""
    rows = sql.execute(
        f"{_CONVOYS} WHERE b.type = 'convoy' ORDER BY b.created_at DESC, b.bead_id LIMIT :limit",
        {"limit": limit},
    ).fetchall()
    return tuple(_convoy(sql, row) for row in rows)


def _convoy(sql: sqlite3.Connection, row: tuple[Any, ...]) -> ConvoyLine:
    return line_of(ConvoyLine, row, state=_state(*row[1:3]), used=spend.of(sql, "convoy", row[0]))


def _state(status: str, staged: int) -> ConvoyState:
    if status == BeadStatus.FAILED:
        return "failed"
    if status == BeadStatus.CLOSED:
        return "landed"
    return "staged" if staged else "active"


def statuses(sql: sqlite3.Connection, bead_ids: tuple[str, ...]) -> dict[str, str]:
    """The status of each of these beads. Beads that do not exist are left out."""
    found = {}
    for bead_id in bead_ids:
        row = sql.execute("SELECT status FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone()
        if row is not None:
            found[bead_id] = row[0]
    return found


def board(sql: sqlite3.Connection) -> list[BoardLine]:
    """Every issue, merge request and convoy, live or not, in order of creation. It reads all beads: use it for small towns only."""
    rows = sql.execute(
        "SELECT b.bead_id, b.type, b.status, b.title, a.identity, a.status, a.agent_status_message "
        "FROM beads b LEFT JOIN agent_metadata a ON a.current_hook_bead_id = b.bead_id "
        "WHERE b.type IN ('issue', 'merge_request', 'convoy') ORDER BY b.created_at, b.bead_id"
    ).fetchall()
    return [BoardLine(*row) for row in rows]


def agent_messages(sql: sqlite3.Connection) -> dict[str, str]:
    """The last status message of each agent, by agent id."""
    return dict(
        sql.execute(
            "SELECT bead_id, agent_status_message FROM agent_metadata "
            "WHERE agent_status_message IS NOT NULL ORDER BY bead_id"
        ).fetchall()
    )


def open_violations(sql: sqlite3.Connection) -> tuple[OpenViolation, ...]:
    """The open violations as of the last committed tick."""
    rows = sql.execute(
        "SELECT invariant, subject, opened_at, message FROM open_violations "
        "WHERE opened_at IS NOT NULL ORDER BY invariant, subject"
    ).fetchall()
    return lines_of(OpenViolation, rows)


Which = Literal["pending", "poisoned"]

_WHERE: Final[dict[Which, str]] = {
    "pending": "processed_at IS NULL",
    "poisoned": "outcome = 'poisoned'",
}


def count_events(sql: sqlite3.Connection, which: Which) -> int:
    """The number of pending or of poisoned events."""
    count: int = sql.execute(f"SELECT COUNT(*) FROM town_events WHERE {_WHERE[which]}").fetchone()[0]  # noqa: S608
    return count


def known_among(sql: sqlite3.Connection, event_ids: Iterable[str]) -> int:
    """How many of these events the town has stored."""
    return sum(known_events.in_image(sql, each) is not None for each in event_ids)


def oldest_pending(sql: sqlite3.Connection) -> datetime | None:
    """When the oldest pending event was received; None if there is none."""
    row = sql.execute("SELECT received_at FROM town_events WHERE processed_at IS NULL ORDER BY seq LIMIT 1").fetchone()
    return None if row is None else readable_time(row[0])
