"""Hooks: which agent works on which bead (spec/data-model.md 3.2 and 3.3)."""

from shared.domain.states import BeadType, Label, Role
from shared.town import lookup
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import audit, leases


def hook(town: Town, agent_id: str, bead_id: str) -> str | None:
    """Hook an agent to a bead (spec/data-model.md 3.2). Returns the reason for a refusal, or None."""
    agent = lookup.agent(town, agent_id)
    bead = lookup.bead(town, bead_id)
    if agent is None or bead is None:
        return "agent or bead is missing"
    unhookable = why_unhookable(bead)
    if unhookable is not None:
        return unhookable
    if agent.role is Role.MAYOR:
        return "the mayor has no hook"
    if agent.hook == bead_id:
        return None
    if agent.hook is not None:
        return f"the agent holds another hook ({agent.hook})"
    for other_id in lookup.hooked_agent_ids(town, bead_id):
        unhook(town, other_id)
    town.sql.execute(
        "UPDATE agent_metadata SET current_hook_bead_id = :bead, status = 'idle', last_activity_at = :now, "
        "hooked_at = :now, agent_status_message = NULL, agent_status_updated_at = NULL, stalled_at = NULL WHERE bead_id = :agent",
        {"agent": agent_id, "bead": bead_id, "now": town.tick.now_text},
    )
    town.sql.execute(
        "UPDATE beads SET assignee_agent_bead_id = :agent, updated_at = :now WHERE bead_id = :bead",
        {"agent": agent_id, "bead": bead_id, "now": town.tick.now_text},
    )
    audit.record(town, bead_id, "hooked", agent_id=agent_id)
    return None


def why_unhookable(bead: Bead) -> str | None:
    """The reason why no agent may be hooked to a bead; None if one may."""
    if bead.type in (BeadType.ESCALATION, BeadType.CONVOY, BeadType.AGENT, BeadType.MESSAGE):
        return f"a bead of type {bead.type} is never hooked"
    if Label.TRIAGE_REQUEST in bead.labels:
        return "a triage request is never hooked"
    return None if bead.live else f"the bead is {bead.status}"


def unhook(town: Town, agent_id: str, *, done: bool = False) -> bool:
    """Remove hook and checkpoint; False if there was no hook. A dead agent stays dead.

    The generation that worked on the bead is stopped, unless it is known to have ended or has just reported that it is `done`.
    """
    row = town.sql.execute(
        "SELECT current_hook_bead_id FROM agent_metadata WHERE bead_id = :id", {"id": agent_id}
    ).fetchone()
    if row is None or row[0] is None:
        return False
    town.sql.execute(
        "UPDATE agent_metadata SET current_hook_bead_id = NULL, checkpoint = NULL, stalled_at = NULL, "
        "hook_ended_at = :now, status = CASE WHEN status = 'dead' THEN 'dead' ELSE 'idle' END WHERE bead_id = :id",
        {"id": agent_id, "now": town.tick.now_text},
    )
    if not done:
        leases.revoke(town, agent_id, reason=leases.GIVEN_BACK)
    audit.record(town, row[0], "unhooked", agent_id=agent_id)
    return True


def release(town: Town, bead_id: str, *, reason: str) -> None:
    """Unhook every agent from a bead, readable or not, and stop what works on it."""
    for agent_id in lookup.hooked_agent_ids(town, bead_id):
        leases.revoke(town, agent_id, reason=reason)
        unhook(town, agent_id)
