"""Beads: guarded status changes, assignees, metadata, creation, deletion."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.domain import canonical
from shared.domain.errors import RowUnreadable
from shared.domain.notes import BeadNotes, Change, Metadata, ReviewNotes
from shared.domain.states import SYSTEM, BeadStatus, BeadType, Label
from shared.town import belonging, inbox, lookup
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import audit, convoys, hooks

Moved = Literal["moved", "already", "terminal", "moved_on", "missing"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a bead failed: a code of spec/data-model.md 1.7, a sentence, and the source of the report."""

    code: str
    message: str
    source: str

    def as_json(self) -> dict[str, str]:
        """The audit's `failure_reason`."""
        return {"code": self.code, "message": self.message, "source": self.source}


@dataclass(frozen=True, slots=True)
class NewBead:
    """A bead to be created. The defaults are those of its table."""

    id: str
    type: BeadType
    title: str
    body: str | None = None
    rig_id: str | None = None
    parent_id: str | None = None
    assignee: str | None = None
    priority: str = "medium"
    labels: tuple[str, ...] = ()
    metadata: Metadata = field(default_factory=dict)
    created_by: str | None = None


def create(town: Town, bead: NewBead) -> str:
    """Insert an open bead and record it in the audit trail; returns its id."""
    town.sql.execute(
        "INSERT INTO beads (bead_id, type, status, title, body, rig_id, parent_bead_id, assignee_agent_bead_id, priority, "
        "labels, metadata, created_by, created_at, updated_at) VALUES (:id, :type, 'open', :title, :body, :rig_id, "
        ":parent_id, :assignee, :priority, :labels, :metadata, :created_by, :now, :now)",
        {
            "id": bead.id,
            "type": bead.type.value,
            "title": bead.title,
            "body": bead.body,
            "rig_id": bead.rig_id,
            "parent_id": bead.parent_id,
            "assignee": bead.assignee,
            "priority": bead.priority,
            "labels": canonical.dumps(list(bead.labels)),
            "metadata": canonical.dumps(dict(bead.metadata)),
            "created_by": bead.created_by,
            "now": town.tick.now_text,
        },
    )
    about = {"created_by": bead.created_by or SYSTEM} | ({"held": True} if Label.HELD in bead.labels else {})
    audit.record(town, bead.id, "created", new=bead.type.value, metadata=about)
    for dependent in lookup.awaiting(town, bead.id):
        _resolve(town, dependent, bead.id)
    return bead.id


def _resolve(town: Town, dependent: Bead, bead_id: str) -> None:
    """Turn a dependency on a bead that did not exist until now into an edge."""
    left = tuple(other for other in BeadNotes.awaits.of(dependent.metadata) if other != bead_id)
    note(town, dependent.id, BeadNotes.awaits.to(left) if left else BeadNotes.awaits.gone)
    add_edge(town, dependent.id, bead_id, "blocks")
    audit.record(town, dependent.id, "fields_updated", new=bead_id, metadata={"fields": ["depends_on"]})


def move(
    town: Town,
    bead_id: str,
    to: BeadStatus,
    *,
    from_: BeadStatus | None = None,
    actor: str = SYSTEM,
    reason: str | None = None,
    failure: Failure | None = None,
) -> Moved:
    """Change a bead's status, if it still has the expected one (spec/data-model.md 3.1). A terminal status is never changed."""
    row = town.sql.execute("SELECT status, type FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone()
    if row is None:
        return "missing"
    old, bead_type = row
    if old == to:
        return "already"
    if old in ("closed", "failed"):
        return "terminal"
    if from_ is not None and old != from_:
        return "moved_on"
    town.sql.execute(
        "UPDATE beads SET status = :to, updated_at = :now, closed_at = CASE WHEN :to = 'closed' THEN :now ELSE closed_at END "
        "WHERE bead_id = :id AND status = :old AND status NOT IN ('closed', 'failed')",
        {"to": to.value, "now": town.tick.now_text, "id": bead_id, "old": old},
    )
    notes: dict[str, object] = {"actor": actor}
    if reason is not None:
        notes["reason"] = reason
    if to is BeadStatus.FAILED and failure is not None:
        notes["failure_reason"] = failure.as_json()
    audit.record(town, bead_id, "status_changed", old=old, new=to.value, metadata=notes)
    if to is BeadStatus.FAILED and failure is not None and bead_type == BeadType.MERGE_REQUEST:
        note(town, bead_id, BeadNotes.failure_reason.to(failure.code), BeadNotes.failure_message.to(failure.message))
    if to is BeadStatus.CLOSED:
        note(town, bead_id, BeadNotes.note_for_next.gone, BeadNotes.last_words.gone)
    if to.terminal:
        for convoy_id in lookup.convoys_concerned(town, bead_id):
            convoys.record_progress(town, convoy_id)
        if bead_type == BeadType.MERGE_REQUEST:
            _end_with_review(town, bead_id, to)
    return "moved"


def _end_with_review(town: Town, review_id: str, to: BeadStatus) -> None:
    """What ends with an MR, in whatever way it ends. Its pull request counts as open until the forge says otherwise."""
    # Every end of an MR is a move, so this is the only place that has to know: rules at a cap, reports of the forge, people and
    # a landing that is replaced all come through here. A follow-up would otherwise work on a branch that nobody merges any more.
    # Example: m is cancelled while p resolves its feedback bead f. p is stopped and unhooked, and f fails with it.
    review = lookup.review(town, review_id)
    if review is not None and review.pr_url is not None:
        note(town, review_id, ReviewNotes.abandoned.to(True))
    ended = Failure("review_ended", "the merge request that it belongs to has ended", "review")
    for follow_up in belonging.follow_ups_of(town, review_id):
        hooks.release(town, follow_up, reason="the review has ended")
        try:
            move(town, follow_up, to, reason="the review has ended", failure=ended)
            if to is BeadStatus.FAILED:
                said = (BeadNotes.failure_reason.to(ended.code), BeadNotes.failure_message.to(ended.message))
                note(town, follow_up, *said)
        except RowUnreadable as error:
            town.note_unreadable(error)


def leave_note(town: Town, bead_id: str, text: str, *, by: str = SYSTEM) -> None:
    """Leave a note for the next agent of a bead (`note_for_next`). It replaces an earlier one and goes when the bead closes."""
    note(town, bead_id, BeadNotes.note_for_next.to({"text": text, "at": town.tick.now_text, "by": by}))


def reopen(town: Town, bead_id: str) -> None:
    """Open a failed bead again, for the event bead_reopened. The caller has checked the bead's type."""
    town.sql.execute(
        "UPDATE beads SET status = 'open', assignee_agent_bead_id = NULL, dispatch_attempts = 0, updated_at = :now, "
        "last_dispatch_attempt_at = NULL, last_dispatch_failed_at = NULL, closed_at = NULL "
        "WHERE bead_id = :id AND status = 'failed'",
        {"id": bead_id, "now": town.tick.now_text},
    )
    for convoy_id in lookup.convoys_concerned(town, bead_id):
        convoys.record_progress(town, convoy_id)


def assign(town: Town, bead_id: str, agent_id: str) -> None:
    """Make an agent the assignee, and record it in the audit trail."""
    town.sql.execute(
        "UPDATE beads SET assignee_agent_bead_id = :agent, updated_at = :now WHERE bead_id = :id",
        {"agent": agent_id, "id": bead_id, "now": town.tick.now_text},
    )
    audit.record(town, bead_id, "assigned", agent_id=agent_id, new=agent_id)


def clear_assignee(town: Town, bead_id: str) -> bool:
    """Remove the assignee; False if there was none."""
    cleared = town.sql.execute(
        "UPDATE beads SET assignee_agent_bead_id = NULL, updated_at = :now "
        "WHERE bead_id = :id AND assignee_agent_bead_id IS NOT NULL",
        {"id": bead_id, "now": town.tick.now_text},
    )
    return cleared.rowcount > 0


def count_attempt(town: Town, bead_id: str, agent_id: str) -> None:
    """Count a dispatch of this bead to the agent, which becomes its assignee. Nothing else counts a bead's attempts."""
    town.sql.execute(
        "UPDATE beads SET dispatch_attempts = dispatch_attempts + 1, last_dispatch_attempt_at = :now, "
        "assignee_agent_bead_id = :agent, updated_at = :now WHERE bead_id = :id",
        {"id": bead_id, "agent": agent_id, "now": town.tick.now_text},
    )


def uncount_attempt(town: Town, bead_id: str) -> None:
    """Take back the last counted dispatch. The time of the attempt stays."""
    town.sql.execute(
        "UPDATE beads SET dispatch_attempts = MAX(dispatch_attempts - 1, 0) WHERE bead_id = :id", {"id": bead_id}
    )


def reset_attempts(town: Town, bead_id: str) -> None:
    """Reset the attempts of a live bead and of its review."""
    town.sql.execute(
        "UPDATE beads SET dispatch_attempts = 0, last_dispatch_attempt_at = NULL "
        "WHERE bead_id = :id AND status NOT IN ('closed', 'failed')",
        {"id": bead_id},
    )
    town.sql.execute("UPDATE review_metadata SET retry_count = 0 WHERE bead_id = :id", {"id": bead_id})


def set_dispatch_times(
    town: Town, bead_id: str, *, attempts: int, attempted_at: str | None, failed_at: str | None
) -> None:
    """Set the attempt counter and the times of the last attempt and the last failure directly, for agent_reset."""
    town.sql.execute(
        "UPDATE beads SET dispatch_attempts = :attempts, last_dispatch_attempt_at = :attempted_at, "
        "last_dispatch_failed_at = :failed_at WHERE bead_id = :id",
        {"id": bead_id, "attempts": attempts, "attempted_at": attempted_at, "failed_at": failed_at},
    )


def note_attempt_time(town: Town, bead_id: str) -> None:
    """Start the backoff now, without counting an attempt."""
    town.sql.execute(
        "UPDATE beads SET last_dispatch_attempt_at = :now WHERE bead_id = :id",
        {"id": bead_id, "now": town.tick.now_text},
    )


def note_failed_start(town: Town, bead_id: str) -> None:
    """Note that the bead failed to start, or that its agent was lost before the first heartbeat; the breaker counts this.
    Closed beads are not changed.
    """
    town.sql.execute(
        "UPDATE beads SET last_dispatch_failed_at = :now WHERE bead_id = :id AND status <> 'closed'",
        {"id": bead_id, "now": town.tick.now_text},
    )


def touch(town: Town, bead_id: str) -> None:
    """Set updated_at to now."""
    town.sql.execute(
        "UPDATE beads SET updated_at = :now WHERE bead_id = :id", {"id": bead_id, "now": town.tick.now_text}
    )


def note(town: Town, bead_id: str, *changes: Change) -> bool:
    """Store notes about a bead. Returns whether anything changed. Raises RowUnreadable."""
    return set_metadata(town, bead_id, dict(changes))


def set_metadata(town: Town, bead_id: str, values: Metadata) -> bool:
    """Set metadata keys; None removes a key. Returns whether anything changed. Raises RowUnreadable."""
    bead = lookup.bead(town, bead_id)
    if bead is None:
        return False
    changed = dict(bead.metadata)
    for key, value in values.items():
        if value is None:
            changed.pop(key, None)
        else:
            changed[key] = value
    if changed == bead.metadata:
        return False
    town.sql.execute(
        "UPDATE beads SET metadata = :metadata WHERE bead_id = :id",
        {"id": bead_id, "metadata": canonical.dumps(changed)},
    )
    return True


def set_fields(town: Town, bead_id: str, values: Mapping[str, Any]) -> None:
    """Replace the given fields (title, body, priority, labels, rig_id) of a bead, without changing updated_at."""
    bead = lookup.bead(town, bead_id)
    if bead is None:
        return
    labels = values.get("labels", bead.labels)
    town.agent_names = None
    town.sql.execute(
        "UPDATE beads SET title = :title, body = :body, priority = :priority, labels = :labels, rig_id = :rig_id "
        "WHERE bead_id = :id",
        {
            "id": bead_id,
            "title": values.get("title", bead.title),
            "body": values.get("body", bead.body),
            "priority": values.get("priority", bead.priority),
            "labels": canonical.dumps(list(labels)),
            "rig_id": values.get("rig_id", bead.rig_id),
        },
    )


def add_edge(town: Town, bead_id: str, depends_on: str, kind: Literal["blocks", "tracks", "parent-child"]) -> None:
    """Add an edge. If these two beads already have one, nothing changes."""
    town.sql.execute(
        "INSERT INTO bead_dependencies (bead_id, depends_on_bead_id, dependency_type) VALUES (:bead, :other, :kind) "
        "ON CONFLICT DO NOTHING",
        {"bead": bead_id, "other": depends_on, "kind": kind},
    )


def remove_edge(town: Town, bead_id: str, depends_on: str) -> None:
    """Remove the edge between two beads, if there is one."""
    town.sql.execute(
        "DELETE FROM bead_dependencies WHERE bead_id = :bead AND depends_on_bead_id = :other",
        {"bead": bead_id, "other": depends_on},
    )


def closes_cycle(town: Town, bead_id: str, depends_on: str) -> bool:
    """Whether a bead, which may be about to be created, would wait for itself through `depends_on`.

    It would if that bead, or one that it waits for, awaits it. A convoy waits for its tasks, and an issue for its MRs.
    """
    targets = [bead_id, *(each.id for each in lookup.awaiting(town, bead_id))]
    row = town.sql.execute(
        "WITH RECURSIVE waits(id) AS (SELECT :start UNION SELECT d.depends_on_bead_id FROM waits w "
        "JOIN bead_dependencies d ON d.bead_id = w.id AND d.dependency_type = 'blocks' "
        "UNION SELECT t.bead_id FROM waits w "
        "JOIN bead_dependencies t ON t.depends_on_bead_id = w.id AND t.dependency_type = 'tracks') "
        "SELECT 1 FROM waits WHERE id IN (SELECT value FROM json_each(:targets)) LIMIT 1",
        {"start": depends_on, "targets": canonical.dumps(targets)},
    ).fetchone()
    return row is not None


def delete(town: Town, bead_id: str) -> None:
    """Delete a bead with its children, edges, audit trail, nudges and metadata rows, and mark its pending events as processed."""
    town.deleted_beads = True
    children = town.sql.execute(
        "SELECT bead_id FROM beads WHERE parent_bead_id = :id ORDER BY bead_id", {"id": bead_id}
    ).fetchall()
    for (child,) in children:
        delete(town, child)
    for agent_id in lookup.hooked_agent_ids(town, bead_id):
        hooks.unhook(town, agent_id)
    here = {"id": bead_id}
    town.agent_names = None
    town.sql.execute("DELETE FROM bead_dependencies WHERE bead_id = :id", here)
    town.sql.execute("DELETE FROM bead_dependencies WHERE depends_on_bead_id = :id", here)
    town.sql.execute("DELETE FROM bead_events WHERE bead_id = :id", here)
    town.sql.execute("DELETE FROM agent_nudges WHERE agent_bead_id = :id", here)
    town.sql.execute("DELETE FROM review_metadata WHERE bead_id = :id", here)
    town.sql.execute("DELETE FROM convoy_metadata WHERE bead_id = :id", here)
    town.sql.execute("DELETE FROM escalation_metadata WHERE bead_id = :id", here)
    town.sql.execute("DELETE FROM agent_metadata WHERE bead_id = :id", here)
    town.sql.execute("DELETE FROM usage_sums WHERE kind IN ('bead', 'convoy') AND subject = :id", here)
    inbox.mark_deleted(town, bead_id)
    town.sql.execute("DELETE FROM beads WHERE bead_id = :id", here)
