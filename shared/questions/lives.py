"""Queries for one bead or agent in an image: its row, audit trail, events, effects and violations."""

import difflib
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.domain.times import from_text

_BEAD: Final = (
    "bead_id",
    "type",
    "status",
    "title",
    "rig_id",
    "parent_bead_id",
    "assignee_agent_bead_id",
    "labels",
    "dispatch_attempts",
    "last_dispatch_attempt_at",
    "last_dispatch_failed_at",
    "created_at",
    "updated_at",
)
_NEAR: Final = 3
_LEAST_PART: Final = 4
"""Letters that a part of a name must have to be looked for in all names."""
_COMPARED: Final = 5000
"""So many beads, the newest ones, are compared with a word that names none."""
_AGENT: Final = (
    "role",
    "identity",
    "status",
    "current_hook_bead_id",
    "generation",
    "dispatch_attempts",
    "last_dispatch_bead_id",
    "last_dispatch_outcome",
    "observed_status",
    "last_activity_at",
    "last_event_at",
    "stalled_at",
    "agent_status_message",
)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of the audit trail."""

    audit_id: str
    seq: int
    bead_id: str
    agent_id: str | None
    event_type: str
    old: str | None
    new: str | None
    metadata: str
    at: str


@dataclass(frozen=True, slots=True)
class EffectRow:
    """An effect as it is in the outbox."""

    effect_id: str
    kind: str
    subject: str
    generation: int
    bead_id: str | None
    state: str
    attempts: int
    result: str | None


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event that is pending or poisoned."""

    event_id: str
    event_type: str
    outcome: str | None
    retry_count: int
    last_error: str | None
    received_at: str


def bead_row(sql: sqlite3.Connection, bead_id: str) -> dict[str, Any] | None:
    """The row of a bead as stored, readable or not; None if it does not exist."""
    row = sql.execute(f"SELECT {', '.join(_BEAD)} FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone()  # noqa: S608
    return None if row is None else dict(zip(_BEAD, row, strict=True))


def meant(sql: sqlite3.Connection, word: str, *, is_agent: bool, limit: int) -> list[str]:
    """The ids that a word may stand for: exactly this id; otherwise all ids with this prefix and the agents with this name.

    If there are none, the beads with this title.
    """
    if bead_row(sql, word) is not None:
        return [word]
    rows = sql.execute(
        "SELECT bead_id FROM beads WHERE bead_id >= :word AND bead_id < :word || '~' AND (type = 'agent') = :is_agent "
        "UNION SELECT bead_id FROM agent_metadata WHERE identity >= :word || '-' AND identity < :word || '.' "
        "AND :is_agent ORDER BY bead_id LIMIT :limit",
        {"word": word, "is_agent": is_agent, "limit": limit},
    ).fetchall()
    if not rows and not is_agent:
        titled = "SELECT bead_id FROM beads WHERE title = :word COLLATE NOCASE AND type <> 'agent' ORDER BY bead_id LIMIT :limit"
        rows = sql.execute(titled, {"word": word, "limit": limit}).fetchall()
    return [bead_id for (bead_id,) in rows]


def did_you_mean(sql: sqlite3.Connection, word: str, *, is_agent: bool) -> str:
    """The beads or agents whose ids or names are most like a word: `did you mean door (Fix the door)? `, or nothing."""
    query = (
        "SELECT a.bead_id, substr(a.identity, 1, instr(a.identity || '-', '-') - 1) FROM agent_metadata a ORDER BY a.bead_id"
        if is_agent
        else "SELECT bead_id, title FROM beads WHERE type <> 'agent' ORDER BY created_at DESC, bead_id LIMIT :most"
    )
    known: dict[str, tuple[str, str]] = {}
    for bead_id, name in sql.execute(query, {} if is_agent else {"most": _COMPARED}):
        known.setdefault(name.casefold(), (bead_id, name))
        known[bead_id.casefold()] = (bead_id, name)
    asked = word.casefold()
    near = [each for each in known if len(asked) >= _LEAST_PART and asked in each]
    near += difflib.get_close_matches(asked, known, n=_NEAR)
    found = dict.fromkeys(known[each] for each in near)
    said = ", ".join(f"{bead_id} ({name})" for bead_id, name in list(found)[:_NEAR])
    return f"did you mean {said}? " if said else ""


def agent_row(sql: sqlite3.Connection, agent_id: str) -> dict[str, Any] | None:
    """The agent's own row as stored, readable or not; None if it does not exist."""
    query = f"SELECT {', '.join(_AGENT)} FROM agent_metadata WHERE bead_id = :id"  # noqa: S608
    row = sql.execute(query, {"id": agent_id}).fetchone()
    return None if row is None else dict(zip(_AGENT, row, strict=True))


def audit_trail(sql: sqlite3.Connection, row_id: str) -> list[AuditRow]:
    """The audit trail of a bead; for an agent also the lines of other beads that name it. Oldest first."""
    rows = sql.execute(
        "SELECT bead_event_id, seq, bead_id, agent_id, event_type, old_value, new_value, metadata, created_at "
        "FROM bead_events WHERE bead_id = :id OR agent_id = :id ORDER BY seq",
        {"id": row_id},
    ).fetchall()
    return [AuditRow(*row) for row in rows]


def effects(sql: sqlite3.Connection) -> list[EffectRow]:
    """Every effect in the outbox, in order of creation, with the bead that it is about."""
    rows = sql.execute(
        "SELECT effect_id, kind, subject, generation, COALESCE(json_extract(payload, '$.bead.id'), "
        "json_extract(payload, '$.bead_id')), state, attempts, result FROM outbox ORDER BY seq"
    ).fetchall()
    return [EffectRow(*row) for row in rows]


def waiting_events(sql: sqlite3.Connection, row_id: str) -> list[WaitingEvent]:
    """Pending and poisoned events that name a bead or agent, oldest first."""
    rows = sql.execute(
        "SELECT event_id, event_type, outcome, retry_count, last_error, received_at FROM town_events "
        "WHERE (processed_at IS NULL OR outcome = 'poisoned') AND (bead_id = :id OR agent_id = :id) ORDER BY seq",
        {"id": row_id},
    ).fetchall()
    return [WaitingEvent(*row) for row in rows]


def unapplied_events(sql: sqlite3.Connection) -> dict[str, tuple[WaitingEvent, ...]]:
    """Pending and poisoned events by each bead and agent that they name, oldest first."""
    rows = sql.execute(
        "SELECT event_id, event_type, outcome, retry_count, last_error, received_at, bead_id, agent_id FROM town_events "
        "WHERE processed_at IS NULL OR outcome = 'poisoned' ORDER BY seq"
    ).fetchall()
    found: dict[str, tuple[WaitingEvent, ...]] = {}
    for *event, bead_id, agent_id in rows:
        for row_id in {bead_id, agent_id} - {None}:
            found[row_id] = (*found.get(row_id, ()), WaitingEvent(*event))
    return found


def violations(sql: sqlite3.Connection, row_id: str) -> list[tuple[int, str, int, datetime]]:
    """The violations about a row, as (invariant, message, first tick, since)."""
    rows = sql.execute(
        "SELECT invariant, message, first_seen_tick, first_seen_at FROM open_violations "
        "WHERE subject = :id OR subject IN ('beads ' || :id, 'agent_metadata ' || :id) ORDER BY invariant, subject",
        {"id": row_id},
    ).fetchall()
    return [(row[0], row[1], row[2], from_text(row[3])) for row in rows]


def hooked_agent(sql: sqlite3.Connection, bead_id: str) -> str | None:
    """The agent that is hooked to a bead; None if there is none."""
    row = sql.execute("SELECT bead_id FROM agent_metadata WHERE current_hook_bead_id = :id", {"id": bead_id}).fetchone()
    return None if row is None else row[0]
