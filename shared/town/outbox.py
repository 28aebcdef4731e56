"""The outbox: calls to external systems that applied actions requested (spec/tick.md section 5)."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain import canonical, ids, limits, strict_json, wire
from shared.domain.effect_allowances import ALLOWANCE
from shared.domain.finished_orders import left_of, left_of_result
from shared.domain.orders import AnyOrder, Order, rearm_of
from shared.domain.states import EffectKind, EffectState
from shared.domain.times import from_text, text_or_none, time_or_none, to_text
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


def request(town: Town, order: Order, subject: str, generation: int, *, not_before: datetime | None = None) -> bool:
    """Request an effect, which starts at `not_before` at the earliest; False if the same one was requested before."""
    kind, payload = order.kind, order.as_json()
    effect_id = ids.effect_id(town.tick.town_id, kind.value, subject, generation, rearm=rearm_of(payload))
    known = town.sql.execute(
        "SELECT 1 FROM outbox WHERE kind = :kind AND subject = :subject AND generation = :generation AND effect_id = :id",
        {"id": effect_id, "kind": kind.value, "subject": subject, "generation": generation},
    ).fetchone()
    if known is not None:
        return False
    town.sql.execute(
        "INSERT INTO outbox (effect_id, seq, kind, subject, generation, payload, not_before, deadline, created_at) "
        "VALUES (:id, :seq, :kind, :subject, :generation, :payload, :not_before, :deadline, :now)",
        {
            "id": effect_id,
            "seq": town.next_effect_seq,
            "kind": kind.value,
            "subject": subject,
            "generation": generation,
            "payload": canonical.dumps(payload),
            "not_before": text_or_none(not_before),
            "deadline": to_text(town.tick.now + ALLOWANCE[kind].deadline),
            "now": town.tick.now_text,
        },
    )
    town.next_effect_seq += 1
    return True


_COLUMNS = (
    "o.effect_id, o.seq, o.kind, o.subject, o.generation, o.payload, o.state, o.attempts, o.not_before, o.claimed_until, "
    "o.deadline, o.created_at, o.result"
)


_UNFINISHED = f"SELECT {_COLUMNS} FROM outbox o WHERE o.effect_id = :id AND o.finished_at IS NULL AND o.kind = :kind"  # noqa: S608
_FINISHED = f"SELECT {_COLUMNS} FROM outbox o WHERE o.kind = :kind AND o.effect_id = :id"  # noqa: S608


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


def get(town: Town, effect_id: str, kind: EffectKind) -> Effect | None:
    """One effect. Those that are not finished are found by their id, the others among all of their kind."""
    for statement in (_UNFINISHED, _FINISHED):
        row = town.sql.execute(statement, {"id": effect_id, "kind": kind.value}).fetchone()
        if row is not None:
            return _effect_of(row)
    return None


def order_of(town: Town, shape: type[AnyOrder], subject: str, generation: int) -> AnyOrder | None:
    """The order of an effect; None if the effect is unknown, was removed, or its payload cannot be read."""
    row = town.sql.execute(
        f"SELECT {_COLUMNS} FROM outbox o WHERE o.kind = :kind AND o.subject = :subject AND o.generation = :generation "  # noqa: S608
        "AND o.effect_id = :id",
        {
            "id": ids.effect_id(town.tick.town_id, shape.kind.value, subject, generation),
            "kind": shape.kind.value,
            "subject": subject,
            "generation": generation,
        },
    ).fetchone()
    effect = None if row is None else _effect_of(row)
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
        "WHERE seq = :seq",
        {"seq": effect.seq, "claim": town.tick.id, "until": to_text(town.tick.now + limits.EFFECT_CLAIM)},
    )


def retry(town: Town, effect: Effect, result: Mapping[str, object]) -> None:
    """Record a transient failure: the effect is pending again, with a longer wait after each attempt."""
    wait = min(limits.EFFECT_RETRY_UNIT * 2 ** max(effect.attempts - 1, 0), limits.EFFECT_RETRY_AT_MOST)
    town.sql.execute(
        "UPDATE outbox SET state = 'pending', claim = NULL, claimed_until = NULL, not_before = :later, result = :result "
        "WHERE seq = :seq",
        {"seq": effect.seq, "later": to_text(town.tick.now + wait), "result": canonical.dumps(dict(result))},
    )


def finish(town: Town, effect: Effect, state: EffectState, result: Mapping[str, object]) -> None:
    """End an effect with the state `done` or `failed`, and store its result; order and result are cut to what is still read."""
    _end(town, effect, state, {"result": canonical.dumps(left_of_result(effect.kind, result))})


def expire(town: Town, effect: Effect) -> None:
    """Expire an effect: it is not started again. Its last result, if there is one, is kept, and its order is cut."""
    _end(town, effect, EffectState.EXPIRED, {})


def _end(town: Town, effect: Effect, state: EffectState, columns: Mapping[str, object]) -> None:
    # An order is ten times as long as what is left of it. SQLite merges pages with little in them when it deletes a row, and not
    # when it makes one shorter, so the row is written anew: else two thirds of the pages of this table would be empty.
    row = town.sql.execute(_WHOLE_ROW, {"seq": effect.seq}).fetchone()
    if row is None:
        return
    town.sql.execute("DELETE FROM outbox WHERE seq = :seq", {"seq": effect.seq})
    ended = {"state": state.value, "payload": _left(effect), "finished_at": town.tick.now_text, **_UNCLAIMED, **columns}
    town.sql.execute(_AGAIN, {**dict(zip(_ALL_COLUMNS, row, strict=True)), **ended})


_ALL_COLUMNS: Final = (
    "effect_id",
    "seq",
    "kind",
    "subject",
    "generation",
    "payload",
    "state",
    "attempts",
    "not_before",
    "claim",
    "claimed_until",
    "deadline",
    "result",
    "created_at",
    "finished_at",
)
_UNCLAIMED: Final[Mapping[str, object]] = {"claim": None, "claimed_until": None, "not_before": None}
_WHOLE_ROW: Final = f"SELECT {', '.join(_ALL_COLUMNS)} FROM outbox WHERE seq = :seq"  # noqa: S608 - constants
_AGAIN: Final = f"INSERT INTO outbox ({', '.join(_ALL_COLUMNS)}) VALUES (:{', :'.join(_ALL_COLUMNS)})"  # noqa: S608 - constants


def _left(effect: Effect) -> str:
    return canonical.dumps(left_of(effect.kind, effect.payload))


def say(town: Town, effect_id: str, order: Order) -> None:
    """Replace the order of an effect that was requested in this tick and is not claimed yet."""
    town.sql.execute(
        "UPDATE outbox SET payload = :payload WHERE effect_id = :id AND finished_at IS NULL",
        {"id": effect_id, "payload": canonical.dumps(order.as_json())},
    )


def expire_of_agent(town: Town, agent_id: str) -> None:
    """Expire the unclaimed effects of a deleted agent, except the stops of its generations."""
    rows = town.sql.execute(
        f"SELECT {_COLUMNS} FROM outbox o WHERE o.subject = :agent "  # noqa: S608
        "AND o.kind IN ('dispatch_agent', 'update_model') AND o.state = 'pending' ORDER BY o.seq",
        {"agent": agent_id},
    ).fetchall()
    for row in rows:
        expire(town, _effect_of(row))


def remove_finished(town: Town, *, before: datetime, limit: int, reads: bool) -> int:
    """Delete effects that finished before a time, oldest first: only polls, token refreshes and model changes if `reads`, else
    only the others, without the dispatch of the present generation of an agent, whose order is read until the next one.
    """
    deleted = town.sql.execute(_REMOVE_READS if reads else _REMOVE_OTHERS, {"before": to_text(before), "limit": limit})
    return deleted.rowcount


_REMOVE_READS = (
    "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE finished_at IS NOT NULL "
    "AND kind IN ('poll_pr', 'refresh_token', 'update_model') AND finished_at < :before "
    "ORDER BY finished_at, seq LIMIT :limit)"
)
_REMOVE_OTHERS = (
    "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE finished_at IS NOT NULL "
    "AND kind NOT IN ('poll_pr', 'refresh_token', 'update_model') AND finished_at < :before "
    "AND NOT (kind = 'dispatch_agent' AND EXISTS (SELECT 1 FROM agent_metadata a "
    "WHERE a.bead_id = outbox.subject AND a.generation = outbox.generation)) "
    "ORDER BY finished_at, seq LIMIT :limit)"
)
