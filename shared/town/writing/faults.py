"""Faults of an agent's surroundings, such as a missing key: they say nothing about its work (spec/data-model.md 3.19).

The bead waits and is tried again, without an attempt being counted, and a person is told once about each fault.
"""

from typing import Final

from shared.domain.notes import BeadNotes
from shared.domain.states import AgentStatus, BeadStatus
from shared.town import lookup
from shared.town.rows import Agent, Bead
from shared.town.town import Town
from shared.town.writing import agents, beads, escalations, hooks

FAULTS: Final = ("no key for the model", "the model was not available", "no agent program")
"""How the exit reason of a process begins that could not work, as the drivers of agents write it."""
NO_WORK_POSSIBLE: Final = "no_agent_program"
"""The category of the escalation, and the reason why the bead waits."""


def fault_in(reason: str | None) -> str | None:
    """The fault that an exit reason names; None if it names none."""
    return next((fault for fault in FAULTS if reason is not None and reason.startswith(fault)), None)


def put_back(town: Town, agent: Agent, fault: str, reason: str) -> str | None:
    """Release an agent that could not work, and open its bead again; the new escalation, if the fault was not known.

    The attempt is not counted. The bead waits longer with each such exit in a row, from this exit on.
    """
    bead = lookup.bead(town, agent.hook)
    hooks.unhook(town, agent.id)
    agents.move(town, agent.id, AgentStatus.IDLE)
    if bead is None or not bead.live:
        return None
    beads.move(town, bead.id, BeadStatus.OPEN, from_=BeadStatus.IN_PROGRESS, reason=reason)
    beads.clear_assignee(town, bead.id)
    beads.uncount_attempt(town, bead.id)
    beads.note_attempt_time(town, bead.id)  # the driver may have waited for the model for half an hour
    beads.note(
        town,
        bead.id,
        BeadNotes.fault.to(fault),
        BeadNotes.fault_since.to(BeadNotes.fault_since.of(bead.metadata) or town.tick.now),
        BeadNotes.fault_tries.to(BeadNotes.fault_tries.of(bead.metadata) + 1),
    )
    return escalations.escalate_once(
        town,
        f"agent_fault:{fault}",
        f"Agents cannot work: {reason}",
        category=NO_WORK_POSSIBLE,
        body="Beads wait and are tried again, the latest after 30 minutes; no attempt is counted.",
    )


def forget(town: Town, bead: Bead | None) -> None:
    """An agent has worked on the bead, so the fault is over for it."""
    if bead is not None and BeadNotes.fault_tries.is_in(bead.metadata):
        beads.note(town, bead.id, BeadNotes.fault.gone, BeadNotes.fault_since.gone, BeadNotes.fault_tries.gone)
