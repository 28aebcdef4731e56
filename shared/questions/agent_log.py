"""What an agent did, in its own words: the newest part of the log or transcript of one of its starts."""

import sqlite3
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from shared.domain.errors import Refused
from shared.domain.shapes import Time, answer
from shared.ports.agent_logs import AgentLogs, KeptLog, LogKind, LogName, LogWriter
from shared.ports.logged_texts import last_lines
from shared.ports.steps import Steps
from shared.ports.town_store import TownStore
from shared.questions.process_ends import ENDED_WELL
from shared.town import database, migrations

LAST_LINES: Final = 10
_LOOKED_AT: Final = 20
LogSubject = Literal["bead", "agent"]


@answer
class AgentRun:
    """One start of an agent, by its generation."""

    agent_id: str
    generation: int


@answer
class AgentLog:
    """The newest part of a start's log. `cut`: its beginning is missing. `others`: the other starts with a log, newest first."""

    town_id: str
    agent_id: str
    generation: int
    kind: LogKind
    by: LogWriter
    at: Time
    cut: bool
    text: str
    others: tuple[AgentRun, ...]


@answer
class LastLines:
    """The last lines that an agent printed before it failed."""

    agent_id: str
    generation: int
    lines: tuple[str, ...]


@answer
class FailedStart:
    """A start of an agent that has ended and was neither done nor stopped; `ended` says how: `crashed (exit code 1)`."""

    agent_id: str
    generation: int
    ended: str


class _Wanted(NamedTuple):
    """What a caller wants to see: the log or the transcript, of the newest start or of a generation."""

    kind: LogKind
    generation: int | None


def agent_log(
    town_id: str, agent_id: str, logs: AgentLogs, store: TownStore, *, kind: LogKind, generation: int | None = None
) -> Steps[AgentLog]:
    """The log of an agent's newest start, or of a generation. Raises UnknownTown, Refused (404)."""
    yield from store.load(town_id)  # an unknown town is said first
    runs = yield from _kept_runs(town_id, (agent_id,), logs, kind)
    return (yield from _chosen(town_id, runs, logs, _Wanted(kind, generation), f"agent {agent_id}"))


def bead_log(
    town_id: str, bead_id: str, logs: AgentLogs, store: TownStore, *, kind: LogKind, generation: int | None = None
) -> Steps[AgentLog]:
    """The log of the newest start that worked on a bead, or of a generation of its agents. Raises UnknownTown, Refused (404)."""
    image = yield from store.load(town_id)
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, town_id)
        started = starts_on(sql, bead_id)
        exists = sql.execute("SELECT 1 FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone() is not None
    if not exists and not started:
        raise Refused("there is no such bead", status=404, path="beadId", hint="the town's status lists its live beads")
    kept = yield from _kept_runs(town_id, tuple(dict.fromkeys(agent for agent, _ in started)), logs, kind)
    on_the_bead = [name for name in kept if (name.agent_id, name.generation) in started]
    on_the_bead.sort(key=lambda name: started.index((name.agent_id, name.generation)))
    return (yield from _chosen(town_id, on_the_bead, logs, _Wanted(kind, generation), f"bead {bead_id}"))


def last_lines_of(town_id: str, start: FailedStart, logs: AgentLogs) -> Steps[LastLines | None]:
    """The last lines that a start printed; None if its log is not kept."""
    for name in (yield from _kept_runs(town_id, (start.agent_id,), logs, "log")):
        if name.generation == start.generation:
            found = yield from logs.read(town_id, name)
            told = None if found is None else last_lines(found.text, LAST_LINES)
            return None if told is None else LastLines(start.agent_id, start.generation, told)
    return None


def starts_on(sql: sqlite3.Connection, bead_id: str) -> list[tuple[str, int]]:
    """The starts of agents that worked on a bead, as (agent, generation), newest first."""
    rows = sql.execute(
        "SELECT agent_id, CAST(metadata ->> '$.generation' AS INTEGER) FROM bead_events "
        "WHERE bead_id = :id AND event_type = 'agent_spawned' AND json_valid(metadata) AND agent_id IS NOT NULL "
        "ORDER BY seq DESC LIMIT :limit",
        {"id": bead_id, "limit": _LOOKED_AT},
    ).fetchall()
    now = sql.execute(
        "SELECT bead_id, generation FROM agent_metadata WHERE current_hook_bead_id = :id", {"id": bead_id}
    ).fetchall()
    return list(dict.fromkeys((agent, generation) for agent, generation in [*now, *rows] if generation is not None))


def failed_start(sql: sqlite3.Connection, subject: str, *, is_agent: bool) -> FailedStart | None:
    """The newest start of an agent, or on a bead, if it has ended and was neither done nor stopped."""
    about = "agent_id" if is_agent else "bead_id"
    newest = sql.execute(
        f"SELECT agent_id, event_type, COALESCE(new_value, ''), COALESCE(metadata ->> '$.reason', '') FROM bead_events "  # noqa: S608 - constants
        f"WHERE {about} = :id AND event_type IN ('agent_spawned', 'agent_exited') AND json_valid(metadata) "
        "AND agent_id IS NOT NULL ORDER BY seq DESC LIMIT 1",
        {"id": subject},
    ).fetchone()
    if newest is None or newest[1] != "agent_exited" or not ENDED_WELL.isdisjoint(newest[2:]):
        return None
    agent_id, _, status, reason = newest
    known = _own_start(sql, agent_id) if is_agent else starts_on(sql, subject)
    starts = (FailedStart(agent_id, generation, reason or status) for agent, generation in known if agent == agent_id)
    return next(starts, None)


def _own_start(sql: sqlite3.Connection, agent_id: str) -> list[tuple[str, int]]:
    """The newest start of an agent, as (agent, generation); empty if it is gone from the town."""
    return sql.execute(
        "SELECT bead_id, generation FROM agent_metadata WHERE bead_id = :id", {"id": agent_id}
    ).fetchall()


def _kept_runs(town_id: str, agents: Sequence[str], logs: AgentLogs, kind: LogKind) -> Steps[list[LogName]]:
    """The logs of this kind, one for each start: the one of the most trusted writer."""
    found: dict[tuple[str, int], LogName] = {}
    for agent_id in agents:
        for name in (yield from logs.kept(town_id, agent_id)):
            if name.kind == kind:
                found.setdefault((agent_id, name.generation), name)
    return list(found.values())


def _chosen(town_id: str, runs: Sequence[LogName], logs: AgentLogs, wanted: _Wanted, subject: str) -> Steps[AgentLog]:
    name = next((each for each in runs if wanted.generation in (None, each.generation)), None)
    found: KeptLog | None = None
    if name is not None:
        found = yield from logs.read(town_id, name)
    if name is None or found is None:
        raise _not_kept(runs, wanted, subject)
    return AgentLog(
        town_id=town_id,
        agent_id=name.agent_id,
        generation=name.generation,
        kind=name.kind,
        by=name.by,
        at=found.at,
        cut=found.cut,
        text=found.text,
        others=tuple(AgentRun(each.agent_id, each.generation) for each in runs if each != name),
    )


def _not_kept(runs: Sequence[LogName], wanted: _Wanted, subject: str) -> Refused:
    if wanted.generation is not None and runs:
        known = ", ".join(str(each.generation) for each in runs[:10])
        hint = f"the generations with a {wanted.kind} are: {known}"
        return Refused(
            f"no {wanted.kind} of generation {wanted.generation} of {subject} is kept",
            status=404,
            path="generation",
            hint=hint,
        )
    hint = (
        "logs are kept for 14 days from an agent's first report of what it printed; explain shows what the town knows"
    )
    return Refused(f"no {wanted.kind} of {subject} is kept", status=404, path="log", hint=hint)
