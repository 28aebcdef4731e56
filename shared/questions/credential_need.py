"""Which repository a generation of an agent may push to now: asked before each credential of a forge that an agent gets.

A credential outlives the question, so only a generation that the town lets work gets one: its agent's newest, not asked to stop,
not ended, and with a bead. In direct strategy nothing else keeps a process that should have ended from pushing (docs/security.md).
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

from shared.domain.config import AgentForgeAccess, EffectiveSettings, RigConfig, TownConfig, effective
from shared.domain.errors import Refused
from shared.domain.states import Role
from shared.events import fence
from shared.ports.town_store import TownImage
from shared.town import database, migrations
from shared.town.town_keys import TownKeys

_HINT: Final = "the town gives a credential only to the generation that it lets work: end this process"


@dataclass(frozen=True, slots=True)
class CredentialNeed:
    """A generation that may work, and the rig that it works in: no field of a rig is known for an agent without one.

    `access` is the setting agent_forge_access, None where neither the rig nor the town sets it.
    """

    town_id: str
    agent_id: str
    generation: int
    rig_id: str | None
    git_url: str | None
    upstream: str | None
    access: AgentForgeAccess | None


def need_in(image: TownImage, agent_id: str, generation: int) -> CredentialNeed:
    """What this generation of the agent may push to by the last commit.

    Raises Refused (403), which says why this generation gets nothing.
    """
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, image.town_id)
        found = sql.execute(
            "SELECT a.role, a.generation, a.ended_generation, a.dispatched_at, a.current_hook_bead_id, "
            "COALESCE(h.rig_id, b.rig_id) FROM agent_metadata a JOIN beads b ON b.bead_id = a.bead_id "
            "LEFT JOIN beads h ON h.bead_id = a.current_hook_bead_id WHERE a.bead_id = :agent",
            {"agent": agent_id},
        ).fetchone()
        if found is None:
            raise _refused(f"there is no agent {agent_id} in the town: it was deleted, or never existed")
        role, newest, ended, dispatched_at, hook, rig_id = found
        if not newest:
            raise _refused(f"{agent_id} has not been started yet")
        if fence.is_stale(role, newest, generation):
            raise _refused(f"generation {generation} of {agent_id} is not its newest, which is {newest}")
        if generation == ended:
            raise _refused(f"generation {generation} of {agent_id} has ended")
        if _was_asked_to_stop(sql, agent_id, newest, since=dispatched_at):
            raise _refused(f"the town has asked generation {generation} of {agent_id} to stop")
        if hook is None and role != Role.MAYOR:
            raise _refused(f"{agent_id} has no bead: the lease of generation {generation} is over")
        git_url, settings = _rig(sql, rig_id)
    return CredentialNeed(
        town_id=image.town_id,
        agent_id=agent_id,
        generation=generation,
        rig_id=None if git_url is None else rig_id,
        git_url=git_url,
        upstream=settings.upstream,
        access=settings.agent_forge_access,
    )


def _was_asked_to_stop(sql: sqlite3.Connection, agent_id: str, generation: int, *, since: str | None) -> bool:
    row = sql.execute(
        "SELECT EXISTS (SELECT 1 FROM outbox WHERE kind = 'stop_agent' AND subject = :agent "
        "AND generation = :generation AND created_at >= :since)",
        {"agent": agent_id, "generation": generation, "since": since or ""},
    ).fetchone()
    return bool(row[0])


def _rig(sql: sqlite3.Connection, rig_id: str | None) -> tuple[str | None, EffectiveSettings]:
    """The address of a rig, None if there is no such rig, and the settings that apply to it."""
    town = TownConfig.model_validate(TownKeys(sql).config)
    row = sql.execute("SELECT git_url, config FROM rigs WHERE id = :rig", {"rig": rig_id}).fetchone()
    if row is None:
        return None, effective(town, None)
    return row[0], effective(town, RigConfig.model_validate_json(row[1]))


def _refused(why: str) -> Refused:
    return Refused(f"no credential of a forge: {why}", status=403, path="agentId", hint=_HINT)
