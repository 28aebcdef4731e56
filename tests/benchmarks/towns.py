"""Towns of any age for measurements: a fixed live set, and history that only grows."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from shared.domain.tick import Envelope
from shared.domain.times import to_text
from shared.town import database
from tests.towns import T, TownBuilder, a_town, ago, event

LIVE = 100


_PROSE = (
    "the of and to in is that for it as was with be by on not he this are or his from at which but have an they you were "
    "agent bead branch build cache check client commit config convoy deploy error event failing fix handler image journal "
    "limit load merge module page parser patch queue refinery request retry review rig rule schema server session state "
    "storage table test tick timeout town update user value version witness worker because should never after before while"
)
WORDS = _PROSE.split()


def some_text(number: int) -> str:
    """About 600 characters of prose, the same for the same number: it compresses as what people and agents write does."""
    rng = Random(number)
    return " ".join(
        word if rng.random() < 0.85 else f"{word}-{rng.getrandbits(24):x}" for word in rng.choices(WORDS, k=95)
    )


def an_aged_town(
    beads: int, *, live: int = LIVE, text_of: Callable[[int], str] = lambda number: "x" * 600
) -> TownBuilder:
    """A town of so many beads, of which `live` issues are in progress with a working agent each."""
    town = a_town()
    sql = town.sql
    sql.set_authorizer(None)
    sql.execute("PRAGMA foreign_keys = OFF")
    sql.execute("BEGIN")
    history = max(beads - 2 * live, 0)
    sql.executemany(
        "INSERT INTO beads (bead_id, type, status, title, body, rig_id, labels, metadata, created_at, updated_at, closed_at) "
        "VALUES (?, 'issue', 'closed', ?, ?, 'rig-1', '[]', '{}', ?, ?, ?)",
        [
            (f"old-{number:07d}", f"task {number}", text_of(number), _at(number), _at(number), _at(number))
            for number in range(history)
        ],
    )
    sql.executemany(
        "INSERT INTO bead_events (bead_event_id, seq, bead_id, event_type, created_at) VALUES (?, ?, ?, 'created', ?)",
        [(f"audit-{number:07d}", number, f"old-{number:07d}", _at(number)) for number in range(history)],
    )
    sql.executemany(
        "INSERT INTO town_events (event_id, seq, event_type, payload, source, created_at, received_at, processed_at, outcome) "
        "VALUES (?, ?, 'bead_created', '{}', 'ingest', ?, ?, ?, 'applied')",
        [
            (f"event-{number:07d}", number + 1, _at(number), _at(number), to_text(ago(hours=1)))
            for number in range(history)
        ],
    )
    sql.executemany(
        "INSERT INTO beads (bead_id, type, status, title, rig_id, assignee_agent_bead_id, created_at, updated_at) "
        "VALUES (?, 'issue', 'in_progress', 'live', 'rig-1', ?, ?, ?)",
        [(f"live-{n:04d}", f"agent-{n:04d}", to_text(ago(hours=1)), to_text(ago(seconds=20))) for n in range(live)],
    )
    sql.executemany(
        "INSERT INTO beads (bead_id, type, status, title, rig_id, created_at, updated_at) "
        "VALUES (?, 'agent', 'open', ?, 'rig-1', ?, ?)",
        [(f"agent-{n:04d}", f"Polecat-{n}", to_text(ago(hours=2)), to_text(ago(hours=2))) for n in range(live)],
    )
    sql.executemany(
        "INSERT INTO agent_metadata (bead_id, role, identity, status, current_hook_bead_id, generation, "
        "last_dispatch_bead_id, last_dispatch_outcome, last_activity_at, last_event_at) "
        "VALUES (?, 'polecat', ?, 'working', ?, 1, ?, 'alive', ?, ?)",
        [
            (
                f"agent-{n:04d}",
                f"p{n}",
                f"live-{n:04d}",
                f"live-{n:04d}",
                to_text(ago(seconds=10)),
                to_text(ago(seconds=10)),
            )
            for n in range(live)
        ],
    )
    sql.execute("COMMIT")
    town.key("next_seq", history + 1)
    town.key("next_audit_seq", history + 1)
    sql.execute("PRAGMA foreign_keys = ON")
    database.restrict(sql)
    return town


def settle_in(town: TownBuilder) -> TownBuilder:
    """Run the first ticks, which do what no later one does again."""
    for number in range(3):
        town.tick(at=T + timedelta(seconds=5 * number))
    return town


def statements_of_a_tick(town: TownBuilder, *, at: datetime) -> int:
    """How many statements the tick at that time makes."""
    texts: list[str] = []
    town.sql.set_trace_callback(texts.append)
    town.tick(at=at)
    town.sql.set_trace_callback(None)
    return len(texts)


def _at(number: int) -> str:
    return to_text(T - timedelta(hours=3) - timedelta(seconds=number % 80_000))


def heartbeat(agent: int, at: datetime) -> Envelope:
    """A sign of life of one of the live agents."""
    payload = {"generation": 1, "last_event_at": to_text(at), "last_event_type": "tool"}
    return event(
        "agent_heartbeat", payload, agent=f"agent-{agent:04d}", at=at, event_id=f"beat-{agent:04d}-{to_text(at)}"
    )


def events_to_drain(count: int) -> list[Envelope]:
    """A mixed bag: signs of life, status texts, updates, new and cancelled beads."""
    return [_mixed(number) for number in range(count)]


def _mixed(number: int) -> Envelope:
    at = T + timedelta(seconds=19, milliseconds=number % 1000)
    agent, event_id = f"agent-{number % LIVE:04d}", f"mixed-{number:07d}"
    kind = number % 5
    if kind == 0:
        bead = {"bead_id": f"new-{number:07d}", "type": "issue", "title": "t", "rig_id": "rig-1", "labels": ["gt:held"]}
        return event("bead_created", {"bead": bead}, at=at, event_id=event_id)
    if kind == 1:
        return event("agent_status", {"message": "at work"}, agent=agent, at=at, event_id=event_id)
    if kind == 2:
        return event("bead_updated", {"priority": "high"}, bead=f"live-{number % LIVE:04d}", at=at, event_id=event_id)
    if kind == 3:
        return event("agent_heartbeat", {"generation": 1}, agent=agent, at=at, event_id=event_id)
    return event("nudge_timeout", {}, agent=agent, at=at, event_id=event_id)
