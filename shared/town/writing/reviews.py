"""Reviews: submitting and completing them (spec/data-model.md 3.11 and 3.12)."""

from typing import Final, Literal

from shared.domain.notes import BeadNotes, ConvoyNotes, Metadata, ReviewNotes, known
from shared.domain.obstacles import Obstacle
from shared.domain.states import (
    SYSTEM,
    BeadStatus,
    BeadType,
    Label,
    MergeMode,
)
from shared.town import belonging, lookup, new_ids
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import audit, beads, convoys, escalations, hooks
from shared.town.writing.beads import Failure

FOLLOW_UP_LABELS: Final = (Label.REWORK, Label.PR_FIXUP, Label.PR_CONFLICT, Label.PR_FEEDBACK)
"""The labels of beads that change the branch of a merge request; they are closed without a review of their own."""


def valid_pr_url(url: str) -> bool:
    """Whether the address of a pull request may be stored: it must be https, which agents also write in capitals."""
    return url[:8].lower() == "https://"


def submit(
    town: Town,
    source: Bead,
    branch: str,
    *,
    by: str,
    pr_url: str | None = None,
    summary: str | None = None,
    rig_id: str | None = None,
    target_branch: str | None = None,
) -> str:
    """Create an MR bead for a source (3.11); returns its id. Defaults: the source's rig, and `default_target` as the target."""
    rig_id = rig_id if rig_id is not None else source.rig_id
    convoy = lookup.convoy_of(town, source.id)
    stored_url = pr_url if pr_url is not None and valid_pr_url(pr_url) else None
    review_id = beads.create(
        town,
        beads.NewBead(
            id=new_ids.for_bead(town),
            type=BeadType.MERGE_REQUEST,
            title=f"Review: {branch}",
            body=summary,
            rig_id=rig_id,
            labels=(Label.MERGE_REQUEST,),
            metadata=_metadata_of(source, by, stored_url, convoy),
            created_by=by,
        ),
    )
    beads.add_edge(town, review_id, source.id, "tracks")
    _take_over(town, source.id, stored_url)
    target = target_branch or default_target(town, rig_id, convoy)
    create_metadata(town, review_id, branch=branch, target_branch=target, pr_url=stored_url)
    agent_id = None if by == SYSTEM else by
    audit.record(town, source.id, "review_submitted", agent_id=agent_id, new=review_id, metadata={"branch": branch})
    if pr_url is not None and stored_url is None:
        audit.record(town, source.id, "pr_creation_failed", agent_id=agent_id, metadata={"reason": "not an https URL"})
    return review_id


def _metadata_of(
    source: Bead, by: str, pr_url: str | None, convoy: tuple[str, str | None, str | None] | None
) -> Metadata:
    convoy_id, feature_branch, _ = convoy or (None, None, None)
    return known(
        (
            ReviewNotes.source_bead_id.to(source.id),
            ReviewNotes.source_agent_id.to(by),
            ReviewNotes.pr_url.to(pr_url),
            ReviewNotes.convoy_id.to(convoy_id),
            ReviewNotes.convoy_feature_branch.to(feature_branch),
        )
    )


def create_metadata(town: Town, review_id: str, *, branch: str, target_branch: str, pr_url: str | None) -> None:
    """Insert the MR's metadata row."""
    town.sql.execute(
        "INSERT INTO review_metadata (bead_id, branch, target_branch, pr_url) VALUES (:id, :branch, :target, :url)",
        {"id": review_id, "branch": branch, "target": target_branch, "url": pr_url},
    )


def default_target(town: Town, rig_id: str | None, convoy: tuple[str, str | None, str | None] | None) -> str:
    """The branch into which work is merged. `convoy` is the answer of `lookup.convoy_of`: None for work outside of convoys."""
    if convoy is not None and convoy[1] and (convoy[2] or MergeMode.REVIEW_THEN_LAND) == MergeMode.REVIEW_THEN_LAND:
        return convoy[1]
    rig = town.rig(rig_id)
    return "main" if rig is None else rig.default_branch


def complete(
    town: Town,
    review_id: str,
    result: Literal["merged", "failed", "conflict"],
    *,
    message: str,
    sha: str | None = None,
    failure: Failure | None = None,
    actor: str = SYSTEM,
    hold: bool = False,
) -> bool:
    """End a review (3.12); False if it had already ended.

    `hold`: the work is not done again by itself; a person or an event must let it go on.
    """
    to = BeadStatus.CLOSED if result == "merged" else BeadStatus.FAILED
    why = None if result == "merged" else failure or Failure("review_failed", message, "review")
    if beads.move(town, review_id, to, actor=actor, reason=message, failure=why) != "moved":
        return False
    if result == "merged":
        beads.note(town, review_id, ReviewNotes.abandoned.gone)
        _note_merge_commit(town, review_id, sha)
    source = lookup.source_of(town, review_id)
    if source is None:
        return True
    if result == "merged":
        _source_merged(town, source, review_id)
    else:
        _source_not_merged(town, source, result, message, hold=hold)
    audit.record(town, source.id, "review_completed", new=result, metadata={"review": review_id, "message": message})
    return True


def note_pull_request_over(town: Town, review_id: str) -> bool:
    """Note that the pull request of an ended MR is not open any more; False if that was known."""
    return beads.note(town, review_id, ReviewNotes.abandoned.gone)


def _note_merge_commit(town: Town, review_id: str, sha: str | None) -> None:
    town.sql.execute(
        "UPDATE review_metadata SET merge_commit = :sha WHERE bead_id = :id AND :sha IS NOT NULL",
        {"id": review_id, "sha": sha},
    )


def _source_merged(town: Town, source: Bead, merged_id: str) -> None:
    if source.type is BeadType.CONVOY and not _lands_with(town, source, merged_id):
        return
    moved = beads.move(town, source.id, BeadStatus.CLOSED, reason="merged")
    if moved == "moved" and source.type is BeadType.CONVOY:
        convoys.set_landed(town, source.id)
    merged = lookup.review(town, merged_id)
    for sibling in lookup.live_reviews_of(town, source.id):
        beads.move(town, sibling, BeadStatus.CLOSED, reason="sibling merged")
        other = lookup.review(town, sibling)
        if merged is not None and other is not None and other.pr_url == merged.pr_url:
            beads.note(town, sibling, ReviewNotes.abandoned.gone)


def _lands_with(town: Town, convoy: Bead, review_id: str) -> bool:
    """Whether the merge of a landing MR lands its convoy. Work that joined since has to land too, so the convoy lands again."""
    review = lookup.bead(town, review_id)
    after = ConvoyNotes.lands_after.of(convoy.metadata)
    if review is None or (after is not None and review.created_at <= after):
        return False
    if not belonging.has_live_task(town, convoy.id):
        return True
    beads.note(town, convoy.id, ConvoyNotes.lands_after.to(town.tick.now))
    return False


def _source_not_merged(town: Town, source: Bead, result: str, message: str, *, hold: bool) -> None:
    if hold:
        _hold(town, source, message)
    elif source.type is BeadType.ISSUE and source.live and not lookup.agents_hooked_to(town, source.id):
        beads.move(town, source.id, BeadStatus.OPEN, reason=message)
        beads.clear_assignee(town, source.id)
    if result == "conflict":
        escalations.escalate(
            town, f"Merge conflict: {source.title}", severity="high", category="merge_conflict", rig_id=source.rig_id
        )


def _hold(town: Town, source: Bead, message: str) -> None:
    """Hold the source of an MR that has ended: a convoy is not landed again, an issue is open and not dispatched.

    An issue that somebody works on, or that has another live review, goes on: the MR was not its only attempt.
    """
    if not source.live:
        return
    if source.type is BeadType.CONVOY:
        beads.note(town, source.id, ConvoyNotes.held.to(True))
        return
    if source.status is not BeadStatus.IN_REVIEW and lookup.hooked_agent_ids(town, source.id):
        return
    if source.type is not BeadType.ISSUE or lookup.live_reviews_of(town, source.id):
        return
    hooks.release(town, source.id, reason=message)
    beads.move(town, source.id, BeadStatus.OPEN, reason=message)
    beads.clear_assignee(town, source.id)
    if Label.HELD not in source.labels:
        beads.set_fields(town, source.id, {"labels": (*source.labels, Label.HELD)})


def resume_source(town: Town, source: Bead) -> None:
    """Let the source of a reopened MR go on: an issue is in review again, a convoy may be landed again."""
    if source.type is BeadType.CONVOY:
        beads.note(town, source.id, ConvoyNotes.held.gone)
        return
    if source.type is not BeadType.ISSUE:
        return
    beads.set_fields(town, source.id, {"labels": tuple(label for label in source.labels if label != Label.HELD)})
    beads.move(town, source.id, BeadStatus.IN_REVIEW, reason="its review was reopened")


def retarget(town: Town, source: Bead) -> None:
    """Direct the live MRs of an issue to the branch into which its work goes now that it has another convoy, or none."""
    convoy = lookup.convoy_of(town, source.id)
    convoy_id, feature_branch, _ = convoy or (None, None, None)
    for review_id in lookup.live_reviews_of(town, source.id):
        town.sql.execute(
            "UPDATE review_metadata SET target_branch = :target WHERE bead_id = :id",
            {"id": review_id, "target": default_target(town, source.rig_id, convoy)},
        )
        beads.note(
            town,
            review_id,
            ReviewNotes.convoy_id.to(convoy_id),
            ReviewNotes.convoy_feature_branch.to(feature_branch),
        )


def open_pull_request_of(town: Town, source_id: str, *, branch: str, target_branch: str) -> str | None:
    """The pull request that an ended MR of this source left open between these branches, the newest; None if there is none."""
    for review_id in belonging.abandoned_reviews_of(town, source_id):
        ended, review = lookup.bead(town, review_id), lookup.review(town, review_id)
        if ended is None or review is None or "pr_mismatch" in _failures_of(ended):
            continue
        if (review.branch, review.target_branch) == (branch, target_branch):
            return review.pr_url
    return None


def _failures_of(review: Bead) -> tuple[str | None, str | None]:
    return BeadNotes.failure_reason.of(review.metadata), BeadNotes.failure_kind.of(review.metadata)


def _take_over(town: Town, source_id: str, pr_url: str | None) -> None:
    """The pull request has a live MR again, so no ended MR of this source counts it as abandoned."""
    for review_id in belonging.abandoned_reviews_of(town, source_id):
        review = lookup.review(town, review_id)
        if pr_url is not None and review is not None and review.pr_url == pr_url:
            beads.note(town, review_id, ReviewNotes.abandoned.gone)


def set_obstacle(town: Town, review: Bead, obstacle: Obstacle | None, detail: str | None = None) -> None:
    """Note why a pull request cannot go on, and since when; None if nothing is in its way any more."""
    if obstacle is None:
        gone = (ReviewNotes.obstacle.gone, ReviewNotes.obstacle_since.gone, ReviewNotes.obstacle_detail.gone)
        beads.note(town, review.id, *gone)
        return
    said = [ReviewNotes.obstacle.to(obstacle), ReviewNotes.obstacle_detail.to(detail)]
    if ReviewNotes.obstacle.of(review.metadata) != obstacle:
        said.append(ReviewNotes.obstacle_since.to(town.tick.now))
    beads.note(town, review.id, *said)


def set_pr_url(town: Town, review_id: str, pr_url: str) -> None:
    """Store the https address of a pull request in the review metadata and in the bead's metadata."""
    town.sql.execute("UPDATE review_metadata SET pr_url = :url WHERE bead_id = :id", {"id": review_id, "url": pr_url})
    beads.note(town, review_id, ReviewNotes.pr_url.to(pr_url))
    source = lookup.source_of(town, review_id)
    if source is not None:
        _take_over(town, source.id, pr_url)


_OF_ONE_PULL_REQUEST: Final = (
    ReviewNotes.last_poll_at,
    ReviewNotes.poll_not_before,
    ReviewNotes.poll_error_kind,
    ReviewNotes.has_conflicts,
    ReviewNotes.conflicts_detected_at,
    ReviewNotes.awaiting_approval,
    ReviewNotes.awaiting_approval_observed_at,
    ReviewNotes.review_decision,
    ReviewNotes.merge_state_status,
    ReviewNotes.auto_merge_pending,
    ReviewNotes.head_sha,
    ReviewNotes.head_seen_at,
    ReviewNotes.changed_at,
    ReviewNotes.obstacle,
    ReviewNotes.obstacle_since,
    ReviewNotes.obstacle_detail,
    ReviewNotes.passes_first_head,
    ReviewNotes.review_passed_head,
    ReviewNotes.own_update_of,
    ReviewNotes.own_updated_from,
    ReviewNotes.own_updates,
    ReviewNotes.refused_head,
    ReviewNotes.refused_as,
    ReviewNotes.refusals,
    ReviewNotes.refused_at,
    ReviewNotes.queued_at,
    ReviewNotes.queue_misses,
    ReviewNotes.change_requests,
    ReviewNotes.polls_failed,
    ReviewNotes.polls_failed_since,
    ReviewNotes.episode,
    ReviewNotes.checks_episode,
    ReviewNotes.retarget_asked,
    ReviewNotes.adopted,
)
"""What is noted about a pull request and does not hold for another one."""


def forget_pull_request(town: Town, review_id: str) -> None:
    """Forget everything that is noted about the pull request, because another one replaces it."""
    beads.note(town, review_id, *(note.gone for note in _OF_ONE_PULL_REQUEST))
    set_ready_since(town, review_id, None)


def set_ready_since(town: Town, review_id: str, since: str | None) -> None:
    """Set the start of the all-green period; None ends it."""
    town.sql.execute(
        "UPDATE review_metadata SET auto_merge_ready_since = :since "
        "WHERE bead_id = :id AND auto_merge_ready_since IS NOT :since",
        {"id": review_id, "since": since},
    )


def note_feedback_check(town: Town, review_id: str) -> None:
    """Note that the feedback was checked now."""
    town.sql.execute(
        "UPDATE review_metadata SET last_feedback_check_at = :now WHERE bead_id = :id",
        {"id": review_id, "now": town.tick.now_text},
    )
