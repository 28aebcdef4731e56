"""The outbox: calls to external systems that applied actions requested (spec/tick.md section 5)."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.domain import canonical, ids, limits, strict_json, wire
from shared.domain.effect_allowances import ALLOWANCE
from shared.domain.orders import AnyOrder, Order, rearm_of
from shared.domain.states import EffectKind, EffectState
from shared.domain.times import from_text, time_or_none, to_text
from shared.town.rows import Row
from shared.town.town import Town


@dataclass(frozen=True, slots=True)
class Effect:
    """One row of the outbox."""

    id: str
    seq: int
    kind: EffectKind
    subject: str
    generation: int
    payload: Mapping[str, object]
    state: EffectState
    attempts: int
    not_before: datetime | None
    claimed_until: datetime | None
    deadline: datetime
    created_at: datetime
    result: Mapping[str, object] | None = None

    def order(self, shape: type[AnyOrder]) -> AnyOrder | None:
        """The order of this effect; None if its payload cannot be read, as in an imported town."""
        try:
            return wire.read(shape, self.payload)
        except wire.Unfit:
            return None

    @property
    def unfinished(self) -> bool:
        """Pending or claimed."""
        return self.state in (EffectState.PENDING, EffectState.CLAIMED)


def result_of(sql: sqlite3.Connection, effect_id: str, attempt: int) -> object:
    """The result of an attempt, if it is the last one of its effect and the image still has the result; else None."""
    row = sql.execute(
        "SELECT result FROM outbox WHERE effect_id = :id AND attempts = :attempt AND result IS NOT NULL",
        {"id": effect_id, "attempt": attempt},
    ).fetchone()
    return None if row is None else strict_json.stored(row[0])


def request(town: Town, order: Order, subject: str, generation: int) -> bool:
    """Request an effect; False if the same one was requested before."""
    kind, payload = order.kind, order.as_json()
    effect_id = ids.effect_id(town.tick.town_id, kind.value, subject, generation, rearm=rearm_of(payload))
    inserted = town.sql.execute(
        "INSERT INTO outbox (effect_id, seq, kind, subject, generation, payload, deadline, created_at) "
        "VALUES (:id, :seq, :kind, :subject, :generation, :payload, :deadline, :now) ON CONFLICT (effect_id) DO NOTHING",
        {
            "id": effect_id,
            "seq": town.next_effect_seq,
            "kind": kind.value,
            "subject": subject,
            "generation": generation,
            "payload": canonical.dumps(payload),
            "deadline": to_text(town.tick.now + ALLOWANCE[kind].deadline),
            "now": town.tick.now_text,
        },
    )
    if inserted.rowcount == 0:
        return False
    town.next_effect_seq += 1
    return True


_COLUMNS = (
    "o.effect_id, o.seq, o.kind, o.subject, o.generation, o.payload, o.state, o.attempts, o.not_before, o.claimed_until, "
    "o.deadline, o.created_at, o.result"
)


def _effect_of(row: Row) -> Effect:
    return Effect(
        id=row[0],
        seq=row[1],
        kind=EffectKind(row[2]),
        subject=row[3],
        generation=row[4],
        payload=strict_json.stored(row[5]),
        state=EffectState(row[6]),
        attempts=row[7],
        not_before=time_or_none(row[8]),
        claimed_until=time_or_none(row[9]),
        deadline=from_text(row[10]),
        created_at=from_text(row[11]),
        result=None if row[12] is None else strict_json.stored(row[12]),
    )


def get(town: Town, effect_id: str) -> Effect | None:
    """One effect."""
    row = town.sql.execute(f"SELECT {_COLUMNS} FROM outbox o WHERE o.effect_id = :id", {"id": effect_id}).fetchone()  # noqa: S608
    return None if row is None else _effect_of(row)


def order_of(town: Town, shape: type[AnyOrder], subject: str, generation: int) -> AnyOrder | None:
    """The order of an effect; None if the effect is unknown, was removed, or its payload cannot be read."""
    effect = get(town, ids.effect_id(town.tick.town_id, shape.kind.value, subject, generation))
    return None if effect is None else effect.order(shape)


def unfinished(town: Town) -> list[Effect]:
    """Pending and claimed effects in order of creation."""
    rows = town.sql.execute(
        f"SELECT {_COLUMNS} FROM outbox o WHERE o.state IN ('pending', 'claimed') ORDER BY o.seq"  # noqa: S608
    ).fetchall()
    return [_effect_of(row) for row in rows]


def claim(town: Town, effect: Effect) -> None:
    """Claim an effect for the worker of this tick, which will start it."""
    town.sql.execute(
        "UPDATE outbox SET state = 'claimed', attempts = attempts + 1, claim = :claim, claimed_until = :until "
        "WHERE effect_id = :id",
        {"id": effect.id, "claim": town.tick.id, "until": to_text(town.tick.now + limits.EFFECT_CLAIM)},
    )


def retry(town: Town, effect: Effect, result: Mapping[str, object]) -> None:
    """Record a transient failure: the effect is pending again, with a longer wait after each attempt."""
    wait = min(limits.EFFECT_RETRY_UNIT * 2 ** max(effect.attempts - 1, 0), limits.EFFECT_RETRY_AT_MOST)
    town.sql.execute(
        "UPDATE outbox SET state = 'pending', claim = NULL, claimed_until = NULL, not_before = :later, result = :result "
        "WHERE effect_id = :id",
        {"id": effect.id, "later": to_text(town.tick.now + wait), "result": canonical.dumps(dict(result))},
    )


def finish(town: Town, effect: Effect, state: EffectState, result: Mapping[str, object]) -> None:
    """End an effect with the state `done` or `failed`, and store its result."""
    town.sql.execute(
        "UPDATE outbox SET state = :state, claim = NULL, claimed_until = NULL, not_before = NULL, result = :result, "
        "finished_at = :now WHERE effect_id = :id",
        {
            "id": effect.id,
            "state": state.value,
            "result": canonical.dumps(dict(result)),
            "now": town.tick.now_text,
        },
    )


def expire(town: Town, effect: Effect) -> None:
    """Expire an effect: it is not started again. Its last result, if there is one, is kept."""
    town.sql.execute(
        "UPDATE outbox SET state = 'expired', claim = NULL, claimed_until = NULL, not_before = NULL, "
        "finished_at = :now WHERE effect_id = :id",
        {"id": effect.id, "now": town.tick.now_text},
    )


def say(town: Town, effect_id: str, order: Order) -> None:
    """Replace the order of an effect that was requested in this tick and is not claimed yet."""
    town.sql.execute(
        "UPDATE outbox SET payload = :payload WHERE effect_id = :id",
        {"id": effect_id, "payload": canonical.dumps(order.as_json())},
    )


def expire_of_agent(town: Town, agent_id: str) -> None:
    """Expire the unclaimed effects of a deleted agent, except the stops of its generations."""
    town.sql.execute(
        "UPDATE outbox SET state = 'expired', finished_at = :now, not_before = NULL WHERE subject = :agent "
        "AND kind IN ('dispatch_agent', 'update_model') AND state = 'pending'",
        {"agent": agent_id, "now": town.tick.now_text},
    )


def remove_finished(town: Town, *, before: datetime, limit: int, reads: bool) -> int:
    """Delete effects that finished before a time, oldest first: only polls, token refreshes and model changes if `reads`, else
    only the others.
    """
    deleted = town.sql.execute(_REMOVE_READS if reads else _REMOVE_OTHERS, {"before": to_text(before), "limit": limit})
    return deleted.rowcount


_REMOVE_READS = (
    "DELETE FROM outbox WHERE effect_id IN (SELECT effect_id FROM outbox WHERE finished_at IS NOT NULL "
    "AND kind IN ('poll_pr', 'refresh_token', 'update_model') AND finished_at < :before "
    "ORDER BY finished_at, effect_id LIMIT :limit)"
)
_REMOVE_OTHERS = (
    "DELETE FROM outbox WHERE effect_id IN (SELECT effect_id FROM outbox WHERE finished_at IS NOT NULL "
    "AND kind NOT IN ('poll_pr', 'refresh_token', 'update_model') AND finished_at < :before "
    "ORDER BY finished_at, effect_id LIMIT :limit)"
)
