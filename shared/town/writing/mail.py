"""Mail: message beads, which stay open until their delivery is confirmed (spec/actions.md section 7)."""

from shared.domain.mail import nudge_id_of
from shared.domain.notes import MailNotes
from shared.domain.states import BeadStatus, BeadType
from shared.town import lookup
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import beads


def open_message(town: Town, bead_id: str) -> Bead | None:
    """A message that has not been delivered; None if there is no such message. Raises RowUnreadable."""
    bead = lookup.bead(town, bead_id)
    if bead is None or bead.type is not BeadType.MESSAGE or bead.status is not BeadStatus.OPEN:
        return None
    return bead


def note_request(town: Town, message: Bead) -> None:
    """Count a request to deliver a message."""
    told = MailNotes.told.of(message.metadata) + 1
    beads.note(town, message.id, MailNotes.told.to(told), MailNotes.told_at.to(town.tick.now))


def delivered(town: Town, bead_id: str) -> None:
    """Close a message whose delivery is confirmed. One that is not open any more stays as it is."""
    if open_message(town, bead_id) is not None:
        beads.move(town, bead_id, BeadStatus.CLOSED, from_=BeadStatus.OPEN, reason="delivered")


def nudge_delivered(town: Town, nudge_id: str, agent_id: str) -> None:
    """Close the message that a nudge delivered, if it delivered one."""
    rows = town.sql.execute(
        "SELECT bead_id FROM beads WHERE assignee_agent_bead_id = :agent AND type = 'message' AND status = 'open' "
        "ORDER BY bead_id",
        {"agent": agent_id},
    ).fetchall()
    for (bead_id,) in rows:
        if nudge_id_of(town.tick.town_id, bead_id) == nudge_id:
            delivered(town, bead_id)
