"""Counts what agents use: the totals of each generation, and the sums of beads, convoys and days (spec/data-model.md 3.18)."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Final

from shared.domain import canonical, limits, strict_json
from shared.domain.errors import RowUnreadable
from shared.domain.states import BeadType, Role
from shared.domain.times import text_or_none, to_text
from shared.domain.usage import MOST, Usage, day_of
from shared.town import belonging, lookup
from shared.town.rows import Agent
from shared.town.town import Town

_FIELDS: Final = ("input_tokens", "output_tokens", "cached_tokens", "priced_tokens", "cost_micros")
_ADD: Final = (
    f"INSERT INTO usage_sums (kind, subject, {', '.join(_FIELDS)}) VALUES (:kind, :subject, :{', :'.join(_FIELDS)}) "  # noqa: S608
    "ON CONFLICT (kind, subject) DO UPDATE SET "
    + ", ".join(f"{name} = MIN({name} + excluded.{name}, {MOST})" for name in _FIELDS)
)


def is_counted(town: Town, agent_id: str, generation: int) -> bool:
    """Whether this generation has reported before, and may still do so."""
    return _totals(town, agent_id, generation) is not None


def has_room(town: Town, agent_id: str, generation: int, model: str) -> bool:
    """Whether this generation may report another model."""
    known = _totals(town, agent_id, generation) or {}
    return model in known or len(known) < limits.MODELS_PER_GENERATION


def count(
    town: Town, agent_id: str, agent: Agent | None, generation: int, *, model: str, told: Usage, at: datetime
) -> bool:
    """Count the totals that a generation has reported for a model; False if all of it was counted before."""
    known = _totals(town, agent_id, generation)
    totals = {} if known is None else known
    before = totals.get(model, Usage())
    totals[model] = before.at_least(told)
    added = totals[model].beyond(before)
    if added == Usage():
        return False
    bead_id = _worked_on(agent) if known is None else _bead_of(town, agent_id, generation)
    town.sql.execute(
        "INSERT INTO agent_usage (agent_id, generation, bead_id, models, reported_at) "
        "VALUES (:agent, :generation, :bead, :models, :now) "
        "ON CONFLICT (agent_id, generation) DO UPDATE SET models = excluded.models, reported_at = excluded.reported_at",
        {
            "agent": agent_id,
            "generation": generation,
            "bead": bead_id,
            "models": canonical.dumps([{"model": name, **asdict(totals[name])} for name in sorted(totals)]),
            "now": town.tick.now_text,
        },
    )
    for kind, subject in (("day", day_of(min(at, town.tick.now))), *_concerned(town, bead_id)):
        town.sql.execute(_ADD, {"kind": kind, "subject": subject, **asdict(added)})
    town.used = town.used.plus(added)
    return True


def note_told(town: Town, kind: str, subject: str, limit: str) -> bool:
    """Note the limit of which people were told that most of it is used; False if they were told of it before."""
    noted = town.sql.execute(
        "UPDATE usage_sums SET told = :limit WHERE kind = :kind AND subject = :subject AND told IS NOT :limit",
        {"kind": kind, "subject": subject, "limit": limit},
    )
    return noted.rowcount > 0


def note_spent(town: Town, kind: str, subject: str, since: datetime | None) -> bool:
    """Note since when a budget is spent; None: it is not. False if that was noted before."""
    noted = town.sql.execute(
        "UPDATE usage_sums SET spent_since = :since WHERE kind = :kind AND subject = :subject "
        "AND (spent_since IS NULL) <> (:since IS NULL)",
        {"kind": kind, "subject": subject, "since": text_or_none(since)},
    )
    return noted.rowcount > 0


def forget_reports(town: Town, *, before: datetime, limit: int) -> int:
    """Delete totals of generations that cannot report any more, oldest first: not the newest of an agent, and silent since then."""
    deleted = town.sql.execute(
        "DELETE FROM agent_usage WHERE (agent_id, generation) IN ("
        "SELECT u.agent_id, u.generation FROM agent_usage u WHERE u.reported_at < :before AND NOT EXISTS ("
        "SELECT 1 FROM agent_metadata a WHERE a.bead_id = u.agent_id AND (a.generation = u.generation OR (a.role = :mayor "
        "AND u.generation = (SELECT MAX(n.generation) FROM agent_usage n WHERE n.agent_id = u.agent_id)))) "
        "ORDER BY u.reported_at, u.agent_id, u.generation LIMIT :limit)",
        {"before": to_text(before), "mayor": Role.MAYOR.value, "limit": limit},
    )
    return deleted.rowcount


def forget_days(town: Town, *, before: datetime, limit: int) -> int:
    """Delete the sums of days before the day of this time, oldest first."""
    deleted = town.sql.execute(
        "DELETE FROM usage_sums WHERE kind = 'day' AND subject IN (SELECT subject FROM usage_sums "
        "WHERE kind = 'day' AND subject < :before ORDER BY subject LIMIT :limit)",
        {"before": day_of(before), "limit": limit},
    )
    return deleted.rowcount


def _worked_on(agent: Agent | None) -> str | None:
    """The bead of the newest dispatch. The mayor has none: no dispatch starts it."""
    return None if agent is None or agent.role is Role.MAYOR else agent.last_dispatch_bead_id


def _concerned(town: Town, bead_id: str | None) -> Iterator[tuple[str, str]]:
    """The sums to which work on a bead adds: its own, that of its task, and that of its convoy."""
    bead = lookup.bead(town, bead_id)
    if bead is None:
        return
    yield "bead", bead.id
    task = belonging.task_of(town, bead)
    if task.type is BeadType.CONVOY:
        yield "convoy", task.id
        return
    if task.id != bead.id:
        yield "bead", task.id
    convoy = lookup.convoy_of(town, task.id)
    if convoy is not None:
        yield "convoy", convoy[0]


def _bead_of(town: Town, agent_id: str, generation: int) -> str | None:
    row = town.sql.execute(
        "SELECT bead_id FROM agent_usage WHERE agent_id = :agent AND generation = :generation",
        {"agent": agent_id, "generation": generation},
    ).fetchone()
    return None if row is None else row[0]


def _totals(town: Town, agent_id: str, generation: int) -> dict[str, Usage] | None:
    """What a generation has reported, by model; None if nothing. Raises RowUnreadable."""
    row = town.sql.execute(
        "SELECT models FROM agent_usage WHERE agent_id = :agent AND generation = :generation",
        {"agent": agent_id, "generation": generation},
    ).fetchone()
    if row is None:
        return None
    try:
        return {each.pop("model"): Usage(**each) for each in strict_json.stored(row[0])}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise RowUnreadable("agent_usage", f"{agent_id} {generation}", "its totals cannot be read") from error
