"""Agents: hooks, status, heartbeats, lost dispatches, creation and deletion."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain import canonical
from shared.domain.errors import RowUnreadable
from shared.domain.states import SYSTEM, AgentStatus, BeadStatus, BeadType, Role
from shared.domain.times import to_text
from shared.town import lookup, new_ids, outbox
from shared.town.rows import Agent
from shared.town.town import AgentNames, Town
from shared.town.writing import beads, hooks, leases

POLECAT_NAMES: Final = [
    "Toast",
    "Maple",
    "Birch",
    "Shadow",
    "Clover",
    "Ember",
    "Sage",
    "Dusk",
    "Flint",
    "Coral",
    "Slate",
    "Reed",
    "Thorn",
    "Pike",
    "Moss",
    "Wren",
    "Blaze",
    "Gale",
    "Drift",
    "Lark",
]


@dataclass(frozen=True, slots=True)
class Watermark:
    """The agent's activity according to a heartbeat. None means that the heartbeat lacks the value."""

    last_event_type: str | None = None
    last_event_at: datetime | None = None
    active_tools: tuple[object, ...] | None = None


def exists(town: Town, agent_id: str) -> bool:
    """Whether an agent with that id exists, readable or not."""
    return town.sql.execute("SELECT 1 FROM agent_metadata WHERE bead_id = :id", {"id": agent_id}).fetchone() is not None


def move(town: Town, agent_id: str, to: AgentStatus, *, from_: AgentStatus | None = None) -> beads.Moved:
    """Change an agent's status, if it still has the expected one (spec/data-model.md 3.4)."""
    row = town.sql.execute("SELECT status, role FROM agent_metadata WHERE bead_id = :id", {"id": agent_id}).fetchone()
    if row is None:
        return "missing"
    old, role = row
    if old == to:
        return "already"
    if from_ is not None and old != from_:
        return "moved_on"
    if to is AgentStatus.WAITING and (role != Role.MAYOR or old != AgentStatus.WORKING):
        return "moved_on"
    town.sql.execute(
        "UPDATE agent_metadata SET status = :to, "
        "stalled_at = CASE WHEN :to = 'stalled' THEN COALESCE(stalled_at, :now) ELSE NULL END WHERE bead_id = :id",
        {"id": agent_id, "to": to.value, "now": town.tick.now_text},
    )
    if role == Role.MAYOR and to is AgentStatus.WORKING:
        town.keys.mayor_working_since = town.tick.now
    if role == Role.MAYOR and to is AgentStatus.WAITING:
        town.keys.mayor_waiting_since = town.tick.now
    return "moved"


def touch(town: Town, agent: Agent, received_at: datetime, watermark: Watermark) -> None:
    """Record a heartbeat (spec/data-model.md 3.5); times only move forward. The watermark's time is on the town's clock."""
    beat = min(received_at, town.tick.now)
    activity = beat if agent.last_activity_at is None else max(agent.last_activity_at, beat)
    event_at = agent.last_event_at
    if event_at is not None and event_at > to_text(beat):
        event_at = None  # an earlier release stored the producer's time, which may be in the future
    active_at = watermark.last_event_at
    if active_at is not None:
        active_at = min(active_at if agent.dispatched_at is None else max(active_at, agent.dispatched_at), beat)
        event_at = to_text(active_at) if event_at is None else max(event_at, to_text(active_at))
    town.sql.execute(
        "UPDATE agent_metadata SET last_activity_at = :activity, "
        "dispatch_attempts = CASE WHEN role = 'refinery' THEN dispatch_attempts ELSE 0 END, "
        "last_dispatch_outcome = CASE WHEN last_dispatch_outcome IN ('pending', 'started', 'unknown', 'rejected') "
        "THEN 'alive' ELSE last_dispatch_outcome END, observed_status = NULL, ended_generation = NULL, "
        "last_event_type = COALESCE(:event_type, last_event_type), last_event_at = :event_at, "
        "active_tools = COALESCE(:tools, active_tools) WHERE bead_id = :id",
        {
            "id": agent.id,
            "activity": to_text(activity),
            "event_type": watermark.last_event_type,
            "event_at": event_at,
            "tools": None if watermark.active_tools is None else canonical.dumps(list(watermark.active_tools)),
        },
    )
    if agent.status is AgentStatus.IDLE and (agent.hook is not None or agent.role is Role.MAYOR):
        move(town, agent.id, AgentStatus.WORKING)
    if agent.status is AgentStatus.WAITING and active_at is not None:
        waiting_since = town.keys.mayor_waiting_since
        if waiting_since is None or active_at > waiting_since:
            move(town, agent.id, AgentStatus.WORKING)


def mark_lost(town: Town, agent_id: str) -> None:
    """Mark the newest dispatch as lost (spec/data-model.md 3.6), unless the agent has sent a heartbeat since."""
    row = town.sql.execute(
        "SELECT last_dispatch_bead_id FROM agent_metadata "
        "WHERE bead_id = :id AND last_dispatch_outcome IN ('pending', 'started', 'unknown')",
        {"id": agent_id},
    ).fetchone()
    if row is None:
        return
    set_outcome(town, agent_id, "lost")
    if row[0] is not None:
        beads.note_failed_start(town, row[0])


def set_outcome(town: Town, agent_id: str, outcome: str | None) -> None:
    """Set the outcome of the newest dispatch."""
    town.sql.execute(
        "UPDATE agent_metadata SET last_dispatch_outcome = :outcome WHERE bead_id = :id",
        {"id": agent_id, "outcome": outcome},
    )


def reset_attempts(town: Town, agent_id: str) -> bool:
    """Set the agent's own counter to 0; False if it was."""
    reset = town.sql.execute(
        "UPDATE agent_metadata SET dispatch_attempts = 0 WHERE bead_id = :id AND dispatch_attempts <> 0",
        {"id": agent_id},
    )
    return reset.rowcount > 0


def set_checkpoint(town: Town, agent_id: str, checkpoint: object) -> None:
    """Store what an agent notes for its successor."""
    town.sql.execute(
        "UPDATE agent_metadata SET checkpoint = :checkpoint WHERE bead_id = :id",
        {"id": agent_id, "checkpoint": canonical.dumps(checkpoint)},
    )


def clear_checkpoint(town: Town, agent_id: str) -> bool:
    """Delete the checkpoint; False if there was none."""
    cleared = town.sql.execute(
        "UPDATE agent_metadata SET checkpoint = NULL WHERE bead_id = :id AND checkpoint IS NOT NULL", {"id": agent_id}
    )
    return cleared.rowcount > 0


def observe(town: Town, agent_id: str, status: str | None) -> None:
    """Set the last recorded process status other than running. None begins a new episode, in which every status is new."""
    town.sql.execute(
        "UPDATE agent_metadata SET observed_status = :status WHERE bead_id = :id AND observed_status IS NOT :status",
        {"id": agent_id, "status": status},
    )


def set_message(town: Town, agent_id: str, message: str) -> None:
    """Set the agent's own description of its work, for display."""
    town.sql.execute(
        "UPDATE agent_metadata SET agent_status_message = :message, agent_status_updated_at = :now WHERE bead_id = :id",
        {"id": agent_id, "message": message, "now": town.tick.now_text},
    )


def begin_dispatch(town: Town, agent_id: str, bead_id: str) -> int:
    """Begin a new generation of the agent, working on the bead (spec/actions.md section 3); returns the generation."""
    town.sql.execute(
        "UPDATE agent_metadata SET status = 'working', dispatch_attempts = dispatch_attempts + 1, "
        "generation = generation + 1, last_dispatch_bead_id = :bead, last_dispatch_outcome = 'pending', "
        "last_activity_at = :now, last_event_type = NULL, last_event_at = NULL, active_tools = '[]', "
        "dispatched_at = :now, hook_ended_at = NULL, observed_status = NULL, container_process_id = NULL, "
        "stalled_at = NULL WHERE bead_id = :id",
        {"id": agent_id, "bead": bead_id, "now": town.tick.now_text},
    )
    generation: int = town.sql.execute(
        "SELECT generation FROM agent_metadata WHERE bead_id = :id", {"id": agent_id}
    ).fetchone()[0]
    return generation


def confirm_start(town: Town, agent: Agent, process_id: str | None) -> None:
    """Note that the runtime confirmed the start."""
    town.sql.execute(
        "UPDATE agent_metadata SET dispatch_attempts = CASE WHEN role = 'refinery' THEN dispatch_attempts ELSE 0 END, "
        "last_dispatch_outcome = CASE WHEN last_dispatch_outcome IN ('pending', 'unknown') THEN 'started' "
        "ELSE last_dispatch_outcome END, last_activity_at = MAX(COALESCE(last_activity_at, ''), :now), "
        "container_process_id = :process WHERE bead_id = :id",
        {"id": agent.id, "now": town.tick.now_text, "process": process_id},
    )


def delete(town: Town, agent_id: str) -> None:
    """Delete an agent (spec/data-model.md 3.7): its beads in progress are opened again, its pending effects expire.

    What stops its generations stays.
    """
    hooks.unhook(town, agent_id)
    leases.revoke(town, agent_id, reason=leases.DELETED)
    assigned = town.sql.execute(
        "SELECT bead_id, status FROM beads WHERE assignee_agent_bead_id = :id ORDER BY bead_id", {"id": agent_id}
    ).fetchall()
    for bead_id, status in assigned:
        if status in ("closed", "failed"):
            town.sql.execute("UPDATE beads SET assignee_agent_bead_id = NULL WHERE bead_id = :id", {"id": bead_id})
            continue
        beads.clear_assignee(town, bead_id)
        if status == BeadStatus.IN_PROGRESS:
            beads.move(town, bead_id, BeadStatus.OPEN, from_=BeadStatus.IN_PROGRESS, reason="agent deleted")
    outbox.expire_of_agent(town, agent_id)
    beads.delete(town, agent_id)


def get_or_create(town: Town, role: Role, rig_id: str | None) -> str:
    """The agent to use for a role (spec/data-model.md 3.8): an existing one, or a new one."""
    return _existing(town, role, rig_id) or _create(town, role, rig_id)


def _existing(town: Town, role: Role, rig_id: str | None) -> str | None:
    """The first existing agent; for polecats, which are interchangeable, the first readable one."""
    found = [row[0] for row in town.sql.execute(_FIND[role], {"rig": rig_id}).fetchall()]
    if role is not Role.POLECAT:
        return next(iter(found), None)
    return next((agent_id for agent_id in found if _readable(town, agent_id)), None)


def _readable(town: Town, agent_id: str) -> bool:
    try:
        return lookup.agent(town, agent_id) is not None
    except RowUnreadable as error:
        town.note_unreadable(error)
        return False


_FIND: Final[dict[Role, str]] = {
    Role.MAYOR: (
        "SELECT a.bead_id FROM agent_metadata a JOIN beads b ON b.bead_id = a.bead_id WHERE a.role = 'mayor' "
        "AND :rig IS :rig ORDER BY b.created_at, b.bead_id LIMIT 1"
    ),
    Role.REFINERY: (
        "SELECT a.bead_id FROM agent_metadata a JOIN beads b ON b.bead_id = a.bead_id WHERE a.role = 'refinery' "
        "AND b.rig_id = :rig ORDER BY b.created_at, b.bead_id LIMIT 1"
    ),
    Role.POLECAT: (
        "SELECT a.bead_id FROM agent_metadata a JOIN beads b ON b.bead_id = a.bead_id WHERE a.role = 'polecat' "
        "AND a.status = 'idle' AND a.current_hook_bead_id IS NULL AND b.rig_id = :rig "
        "AND NOT EXISTS (SELECT 1 FROM beads w WHERE w.assignee_agent_bead_id = a.bead_id "
        "AND w.type IN ('issue', 'merge_request', 'molecule') AND w.status = 'in_progress') "
        "ORDER BY b.created_at, b.bead_id"
    ),
}


def _create(town: Town, role: Role, rig_id: str | None) -> str:
    name = _free_polecat_name(town) if role is Role.POLECAT else role.value.capitalize()
    agent_id = beads.create(
        town,
        beads.NewBead(id=new_ids.for_bead(town), type=BeadType.AGENT, title=name, rig_id=rig_id, created_by=SYSTEM),
    )
    town.sql.execute(
        "INSERT INTO agent_metadata (bead_id, role, identity) VALUES (:id, :role, :identity)",
        {"id": agent_id, "role": role.value, "identity": f"{name}-{role}-{rig_id or 'town'}@{town.tick.town_id}"},
    )
    return agent_id


def _free_polecat_name(town: Town) -> str:
    """A name that is neither in the title nor in the identity of any agent. Titles can be edited, and roles can be unreadable,
    so all agents and both names count.

    A tick may create hundreds of agents, so it reads the names once.
    """
    names = town.agent_names = town.agent_names or _agent_names(town)
    name = next((name for name in POLECAT_NAMES if name not in names.taken), "")
    while not name or name in names.taken:
        name = f"Polecat-{names.numbered}"
        names.numbered += 1
    names.taken.add(name)
    return name


def _agent_names(town: Town) -> AgentNames:
    agents = town.sql.execute(
        "SELECT b.title, a.identity FROM agent_metadata a JOIN beads b ON b.bead_id = a.bead_id ORDER BY a.bead_id"
    ).fetchall()
    taken = {name for title, identity in agents for name in (title, identity.partition("-polecat-")[0])}
    return AgentNames(taken, len(POLECAT_NAMES) + 1)
