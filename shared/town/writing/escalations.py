"""Escalations, which a person must answer, and triage requests, which a triage polecat must answer."""

from collections.abc import Sequence

from shared.domain import limits
from shared.domain.notes import Change, EscalationNotes, TriageNotes
from shared.domain.states import SYSTEM, BeadType, Label
from shared.town import lookup, new_ids
from shared.town.town import Town
from shared.town.writing import audit, beads, notices

TRIAGE_OPTIONS = ("RESTART", "CLOSE_BEAD", "ESCALATE")


def escalate(
    town: Town,
    title: str,
    *,
    severity: str,
    category: str | None = None,
    body: str | None = None,
    rig_id: str | None = None,
    created_by: str = SYSTEM,
    about: Sequence[Change] = (),
) -> str:
    """Create an escalation with its metadata row, and record it; returns its id."""
    bead_id = beads.create(
        town,
        beads.NewBead(
            id=new_ids.for_bead(town),
            type=BeadType.ESCALATION,
            title=title,
            body=body,
            rig_id=rig_id,
            priority=severity,
            metadata=dict(about),
            created_by=created_by,
        ),
    )
    town.sql.execute(
        "INSERT INTO escalation_metadata (bead_id, severity, category) VALUES (:id, :severity, :category)",
        {"id": bead_id, "severity": severity, "category": category},
    )
    audit.record(town, bead_id, "escalated", new=severity, metadata={"category": category} if category else None)
    notices.tell(town, "escalation", title, severity=severity, about=bead_id, text=body, bead_id=bead_id)
    return bead_id


def escalate_once(
    town: Town,
    cause: str,
    title: str,
    *,
    severity: str = "high",
    category: str | None = None,
    body: str | None = None,
    rig_id: str | None = None,
    about: Sequence[Change] = (),
) -> str | None:
    """Create an escalation about a cause (`<reason>:<subject>`), unless one about it is live; its id if it was created."""
    if lookup.live_escalation_with_cause(town, cause) is not None:
        return None
    marks = (EscalationNotes.cause.to(cause), *about)
    return escalate(town, title, severity=severity, category=category, body=body, rig_id=rig_id, about=marks)


def acknowledge(town: Town, bead_id: str, by: str | None) -> str:
    """Acknowledge an escalation, and record by whom; returns `missing`, `already` or `acknowledged`. The first time is kept."""
    row = town.sql.execute(
        "SELECT acknowledged FROM escalation_metadata WHERE bead_id = :id", {"id": bead_id}
    ).fetchone()
    if row is None:
        return "missing"
    if row[0] == 1:
        return "already"
    town.sql.execute(
        "UPDATE escalation_metadata SET acknowledged = 1, acknowledged_at = :now WHERE bead_id = :id",
        {"id": bead_id, "now": town.tick.now_text},
    )
    said = "acknowledged" if by is None else f"acknowledged by {by}"
    audit.record(town, bead_id, "fields_updated", new=said, metadata={"fields": ["acknowledged"]})
    return "acknowledged"


def bump(town: Town, bead_id: str, severity: str) -> bool:
    """Raise severity and priority, and count it; False if the escalation is acknowledged or not live."""
    bead = lookup.bead(town, bead_id)
    if bead is None or not bead.live:
        return False
    bumped = town.sql.execute(
        "UPDATE escalation_metadata SET severity = :severity, re_escalation_count = re_escalation_count + 1 "
        "WHERE bead_id = :id AND acknowledged = 0",
        {"id": bead_id, "severity": severity},
    )
    if bumped.rowcount == 0:
        return False
    beads.set_fields(town, bead_id, {"priority": severity})
    notices.tell(town, "raised_again", bead.title, severity=severity, about=bead_id, bead_id=bead_id)
    return True


def open_triage_request(
    town: Town,
    *,
    agent_id: str | None,
    triage_type: str,
    reason: str,
    context: str | None = None,
    escalation_bead_id: str | None = None,
) -> str:
    """Ask for triage (spec/actions.md section 8); returns `created`, `already` or `cap`."""
    if _is_requested(town, agent_id, triage_type, escalation_bead_id):
        return "already"
    if triage_type != "escalation" and _open_ordinary_requests(town) >= limits.TRIAGE_OPEN_CAP:
        return "cap"
    agent = lookup.agent(town, agent_id)
    notes = [
        TriageNotes.triage_type.to(triage_type),
        TriageNotes.agent_bead_id.to(agent_id),
        TriageNotes.hooked_bead_id.to(None if agent is None else agent.hook),
        TriageNotes.context.to(context if context is not None else reason),
        TriageNotes.options.to(TRIAGE_OPTIONS),
    ]
    if escalation_bead_id is not None:
        notes.append(TriageNotes.escalation_bead_id.to(escalation_bead_id))
    beads.create(
        town,
        beads.NewBead(
            id=new_ids.for_bead(town),
            type=BeadType.ISSUE,
            title=f"Triage: {reason}",
            assignee=agent_id,
            labels=(Label.TRIAGE_REQUEST,),
            metadata=dict(notes),
            created_by=SYSTEM,
        ),
    )
    town.keys.change_triage(fruitless=0, escalated=False)
    return "created"


def _is_requested(town: Town, agent_id: str | None, triage_type: str, escalation_bead_id: str | None) -> bool:
    """Whether the same triage request is open: about the same agent, of the same type, for the same escalation."""
    same = town.sql.execute(
        "SELECT b.bead_id FROM beads b WHERE b.type = 'issue' AND b.status = 'open' "
        "AND b.assignee_agent_bead_id IS :agent "
        "AND json_extract(IIF(json_valid(b.metadata), b.metadata, '{}'), '$.triage_type') = :type "
        "AND (:escalation IS NULL OR "
        "json_extract(IIF(json_valid(b.metadata), b.metadata, '{}'), '$.escalation_bead_id') = :escalation) "
        "AND EXISTS (SELECT 1 FROM json_each(IIF(json_valid(b.labels), b.labels, '[]')) l WHERE l.value = 'gt:triage-request') "
        "ORDER BY b.bead_id LIMIT 1",
        {"agent": agent_id, "type": triage_type, "escalation": escalation_bead_id},
    ).fetchone()
    return same is not None


def count_batch(town: Town, batch_id: str) -> None:
    """Count a triage batch. It counts as fruitless until a request is answered or a new one is made."""
    town.keys.change_triage(
        last_batch_at=town.tick.now_text,
        last_batch_id=batch_id,
        fruitless=town.keys.triage.fruitless + 1,
        escalated=False,
    )


def _open_ordinary_requests(town: Town) -> int:
    count: int = town.sql.execute(
        "SELECT COUNT(*) FROM beads b WHERE b.type = 'issue' AND b.status = 'open' "
        "AND COALESCE(json_extract(IIF(json_valid(b.metadata), b.metadata, '{}'), '$.triage_type'), '') <> 'escalation' "
        "AND EXISTS (SELECT 1 FROM json_each(IIF(json_valid(b.labels), b.labels, '[]')) l WHERE l.value = 'gt:triage-request')"
    ).fetchone()[0]
    return count
