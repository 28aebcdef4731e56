"""What a town keeps about the merge of a pull request (spec/actions.md section 6): its head, refusals, the merge queue, and the
people whom it asks to review again.

Each function takes the MR as it was read before; a caller that goes on reads it again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from shared.domain import limits, merge_state
from shared.domain.forge_errors import Refusal
from shared.domain.notes import Change, EscalationNotes, ReviewNotes
from shared.domain.quoting import line
from shared.domain.states import BeadStatus, BeadType, Label
from shared.town import lookup
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import audit, beads, escalations, reviews

QUEUE_MISSES: Final = 2
"""Polls in a row without the pull request in its queue that count as a refusal. One alone may be the moment of the merge."""

_NO_REFUSALS: Final = (
    ReviewNotes.refused_head.gone,
    ReviewNotes.refused_as.gone,
    ReviewNotes.refusals.gone,
    ReviewNotes.refused_at.gone,
)


# the head of the branch


def follow_head(town: Town, review: Bead, head: str, parents: Sequence[str] = (), *, is_own: bool = False) -> bool:
    """Note the head that the forge shows; whether it is another one than before.

    The town's own update of the branch leads to a merge commit with two parents, of which the first is the head that was
    updated. Such a head stays passed if that one was. Any other head has to be reviewed, and starts the counts anew.
    """
    known = ReviewNotes.head_sha.of(review.metadata)
    if known == head:
        return False
    asked = ReviewNotes.own_update_of.of(review.metadata)
    is_update = asked is not None and asked == known and len(parents) == 2 and parents[0] == known
    changes: list[Change] = [
        ReviewNotes.head_sha.to(head),
        ReviewNotes.head_seen_at.to(town.tick.now),
        ReviewNotes.changed_at.to(town.tick.now),
        ReviewNotes.own_update_of.gone,
        *_NO_REFUSALS,
    ]
    if known is None and ReviewNotes.passes_first_head.of(review.metadata):
        changes += [ReviewNotes.review_passed_head.to(head), ReviewNotes.passes_first_head.gone]
    if is_own or is_update:
        changes += [
            *_moved_on(review, known, head),
            ReviewNotes.own_updated_from.to(known if isinstance(known, str) else None),
        ]
    else:
        changes += [ReviewNotes.own_updates.gone, ReviewNotes.own_updated_at.gone, ReviewNotes.own_updated_from.gone]
    beads.note(town, review.id, *changes)
    return True


def is_late(town: Town, review: Bead, head: str | None) -> bool:
    """Whether a poll has read the state before the town's own update of the branch: forges show old heads for a while."""
    if head is None or head != ReviewNotes.own_updated_from.of(review.metadata):
        return False
    return limits.within(ReviewNotes.own_updated_at.of(review.metadata), limits.FORGE_LAG, now=town.tick.now)


def _moved_on(review: Bead, known: object, head: str) -> Iterable[Change]:
    """What was said of the head before an own update holds for the head after it."""
    if merge_state.is_passed(review.metadata, known):
        yield ReviewNotes.review_passed_head.to(head)
    asked = ReviewNotes.reviewers_asked.of(review.metadata)
    if asked:
        yield ReviewNotes.reviewers_asked.to({key: head if at == known else at for key, at in asked.items()})


# refusals


def refuse(town: Town, review: Bead, refusal: Refusal, says: str) -> None:
    """Count a refusal of the forge to merge the present head, and start the green period anew.

    After MERGE_TRIES of one class nothing is tried for a while, and a person is asked. A pull request that the base blocks
    without a reason that the town could read gets one try: its answer is the reason.
    """
    beads.note(town, review.id, ReviewNotes.auto_merge_pending.gone)
    reviews.set_ready_since(town, review.id, None)
    if refusal in merge_state.UNCOUNTED:
        return
    counted = merge_state.refusals_at_head(review.metadata)
    blocked = ReviewNotes.merge_state_status.of(review.metadata) == "BLOCKED"
    tries = limits.MERGE_TRIES if blocked else min(counted.get(refusal, 0) + 1, limits.MERGE_TRIES)
    head = ReviewNotes.head_sha.of(review.metadata)
    beads.note(
        town,
        review.id,
        ReviewNotes.refused_head.to(head if isinstance(head, str) else None),
        ReviewNotes.refused_as.to(refusal),
        ReviewNotes.refusals.to({**counted, refusal: tries}),
        ReviewNotes.refused_at.to(town.tick.now),
    )
    if tries >= limits.MERGE_TRIES:
        reviews.set_obstacle(town, review, "merge_refused", f"{refusal}: {says}" if says else refusal)
        if not blocked:
            _ask_a_person(town, review, refusal, says)
    elif refusal == "behind":
        reviews.set_obstacle(town, review, "behind_base")


def see_merge_state(town: Town, review: Bead, status: str | None) -> None:
    """Note what the forge says about the merge. A base that no longer blocks it is a reason to try again."""
    before = ReviewNotes.merge_state_status.of(review.metadata)
    if before == "BLOCKED" and status not in (None, "BLOCKED", "UNKNOWN"):
        beads.note(town, review.id, *_NO_REFUSALS)
    beads.note(town, review.id, ReviewNotes.merge_state_status.to(status))


def _ask_a_person(town: Town, review: Bead, refusal: Refusal, says: str) -> None:
    row = lookup.review(town, review.id)
    pr_url = None if row is None else row.pr_url
    said = f" It says: {line(says)}" if says else ""
    escalations.escalate_once(
        town,
        f"merge_refused:{review.id}",
        f"The forge refuses to merge: {review.title}",
        category="merge_refused",
        body=f"{pr_url} could not be merged in {limits.MERGE_TRIES} tries ({refusal}).{said}",
        rig_id=review.rig_id,
        about=(EscalationNotes.mr_bead_id.to(review.id), EscalationNotes.pr_url.to(pr_url)),
    )


# the merge queue


def enter_queue(town: Town, review: Bead, position: int | None = None) -> None:
    """The pull request waits in a merge queue, or for an automatic merge. Also of an MR that has ended meanwhile."""
    queued = town.keys.queued_reviews
    if review.id not in queued:
        town.keys.queued_reviews = {**queued, review.id: town.tick.now}
    changes = [ReviewNotes.queue_misses.gone, ReviewNotes.auto_merge_pending.gone]
    if ReviewNotes.queued_at.of(review.metadata) is None:
        changes.append(ReviewNotes.queued_at.to(town.tick.now))
    beads.note(town, review.id, *changes)
    if review.live:
        reviews.set_ready_since(town, review.id, None)
        detail = None if position is None else f"position {position}"
        reviews.set_obstacle(town, review, "in_merge_queue", detail)


def leave_queue(town: Town, review: Bead) -> None:
    """The pull request is in no merge queue any more."""
    forget_queued(town, review.id)
    beads.note(town, review.id, ReviewNotes.queued_at.gone, ReviewNotes.queue_misses.gone)
    if ReviewNotes.obstacle.of(review.metadata) == "in_merge_queue":
        reviews.set_obstacle(town, review, None)


def forget_queued(town: Town, review_id: str) -> None:
    """Stop watching over an MR in a merge queue; it may not exist any more."""
    queued = town.keys.queued_reviews
    if review_id in queued:
        town.keys.queued_reviews = {key: at for key, at in queued.items() if key != review_id}


def see_queue(town: Town, review: Bead, *, in_queue: bool, position: int | None = None) -> bool:
    """Note what a poll of an open pull request says about the queue; whether it still counts as queued.

    While it does, nothing is merged. A pull request that the town put into the queue and that two polls in a row find neither
    there nor merged was refused by the queue. After a push, which leaves the queue too, polls simply judge the new head.
    """
    if in_queue:
        if ReviewNotes.babysit.of(review.metadata) and ReviewNotes.queued_at.of(review.metadata) is None:
            reviews.set_obstacle(town, review, "in_merge_queue", "somebody else put it there")
            return True
        enter_queue(town, review, position)
        return True
    queued_at = ReviewNotes.queued_at.of(review.metadata)
    if queued_at is None:
        return False
    seen_at = ReviewNotes.head_seen_at.of(review.metadata)
    if seen_at is not None and seen_at > queued_at:
        leave_queue(town, review)
        return False
    misses = ReviewNotes.queue_misses.of(review.metadata) + 1
    if misses < QUEUE_MISSES:
        beads.note(town, review.id, ReviewNotes.queue_misses.to(misses))
        return True
    leave_queue(town, review)
    refuse(town, review, "queue", "it left the merge queue without being merged")
    return False


# a merge after the end


def record_late_merge(town: Town, review: Bead, sha: str | None) -> bool:
    """Record a merge of an MR that has ended otherwise: commit, audit, one escalation. Nothing else changes; False if known."""
    row = lookup.review(town, review.id)
    if row is None or review.type is not BeadType.MERGE_REQUEST or row.merge_commit is not None:
        return False
    if review.status is not BeadStatus.FAILED:
        return False
    known = town.sql.execute(
        "SELECT 1 FROM bead_events WHERE bead_id = :id AND event_type = 'review_completed'", {"id": review.id}
    ).fetchone()
    if known is not None:
        return False
    town.sql.execute(
        "UPDATE review_metadata SET merge_commit = :sha WHERE bead_id = :id", {"id": review.id, "sha": sha}
    )
    reviews.note_pull_request_over(town, review.id)
    notes = {"message": "merged after the end of the review", "pr_url": row.pr_url, "sha": sha}
    audit.record(town, review.id, "review_completed", new="merged", metadata=notes)
    escalations.escalate(
        town,
        f"Merged after its end: {review.title}",
        severity="high",
        category="merged_after_end",
        body=f"{row.pr_url} was merged into {row.target_branch} although its merge request had ended. "
        "Nothing else was changed: decide whether the merge stays.",
        rig_id=review.rig_id,
        about=(EscalationNotes.mr_bead_id.to(review.id), EscalationNotes.pr_url.to(row.pr_url)),
    )
    return True


# people who are asked to review again


def see_change_requests(town: Town, review: Bead, authors: Mapping[str, str | None], head: str) -> None:
    """Note which reviews request changes at this head, by id with their authors, and whom to ask again.

    A reviewer is asked once for each head after the first, as soon as no feedback bead is live: somebody has pushed since.
    """
    asked = ReviewNotes.reviewers_asked.of(review.metadata) or {}
    busy = lookup.live_blocker_with_label(town, review.id, Label.PR_FEEDBACK) is not None
    heads: dict[str, object] = {}
    to_ask: list[str] = []
    for review_id, author in sorted(authors.items()):
        before = asked.get(review_id, head)
        due = before != head and not busy
        heads[review_id] = head if due else before
        if due and author is not None and author not in to_ask:
            to_ask.append(author)
    if heads != asked:
        beads.note(town, review.id, ReviewNotes.reviewers_asked.to(heads or None))
    if to_ask:
        beads.note(town, review.id, ReviewNotes.reviewers_to_ask.to(tuple(to_ask)))
