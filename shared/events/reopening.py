"""The event bead_reopened: the only way out of the status failed (spec/events.md 4.3c)."""

from typing import Final

from shared.domain.notes import BeadNotes, BranchNotes, Change, ConvoyNotes, ReviewNotes
from shared.domain.outcomes import MISSING, Applied, EventOutcome, Rejected, Skipped
from shared.domain.states import BeadStatus, BeadType
from shared.events import speakers
from shared.events.base import Event, EventResult
from shared.events.fields import FreeText
from shared.town import belonging, lookup
from shared.town.inbox import Fact
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import audit, beads, membership, reviews

REOPENABLE: Final = (BeadType.ISSUE, BeadType.MERGE_REQUEST, BeadType.CONVOY)
RESUMED: Final = ("pr_poll_failed", "cancelled")
"""The failures of an MR that say nothing about the work: reopened, it goes on where it was, with its source."""

_FORGOTTEN_BY_REOPENING: Final = (
    BeadNotes.failure_reason.gone,
    BeadNotes.failure_kind.gone,
    BeadNotes.failure_message.gone,
    BeadNotes.failed_blocker_notified.gone,
    ReviewNotes.feedback_cap_escalated.gone,
    ReviewNotes.conflict_cap_escalated.gone,
)
_FORGOTTEN_BY_A_REVIEW: Final = (
    ReviewNotes.poll_transient_count.to(0),
    ReviewNotes.poll_non_transient_count.to(0),
    ReviewNotes.abandoned.gone,
    ReviewNotes.auto_merge_pending.gone,
    ReviewNotes.episode.gone,
    ReviewNotes.merge_claim.gone,
    ReviewNotes.merge_first_look_at.gone,
    ReviewNotes.merge_looks.gone,
    ReviewNotes.obstacle.gone,
    ReviewNotes.obstacle_detail.gone,
    ReviewNotes.obstacle_since.gone,
    ReviewNotes.poll_error_kind.gone,
    ReviewNotes.poll_not_before.gone,
    ReviewNotes.polls_failed.gone,
    ReviewNotes.polls_failed_since.gone,
    ReviewNotes.checks_episode.gone,
    ReviewNotes.retarget_asked.gone,
    ReviewNotes.merge_looked_at.gone,
    ReviewNotes.merge_look_not_before.gone,
    ReviewNotes.merge_looks_failed.gone,
    ReviewNotes.polls_failed_since.gone,
    ReviewNotes.checks_episode.gone,
    ReviewNotes.retarget_asked.gone,
    ReviewNotes.queue_misses.gone,
    ReviewNotes.queued_at.gone,
    ReviewNotes.refusals.gone,
    ReviewNotes.refused_as.gone,
    ReviewNotes.refused_at.gone,
    ReviewNotes.refused_head.gone,
)
_FORGOTTEN_BY_A_CONVOY: Final = (
    ConvoyNotes.held.gone,
    ConvoyNotes.landing_mr_attempts.gone,
    ConvoyNotes.last_landing_mr_attempt_at.gone,
    ConvoyNotes.respawn_suppressed_attempt.gone,
    ConvoyNotes.ready_to_land.gone,
)


class BeadReopened(Event):
    """Somebody asked to try a failed bead again. This is the only way out of the status failed."""

    event_type = "bead_reopened"
    needs = ("bead_id",)
    senders = frozenset({"coordinator", "operator"})
    mayor_only = True

    by: FreeText | None = None
    reason: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Open it again, with all of its attempts reset. A review that ended without a verdict goes on with its source."""
        bead = lookup.bead(town, fact.bead_id)
        if bead is None:
            return EventResult(MISSING)
        if bead.status is not BeadStatus.FAILED:
            return EventResult(Skipped("not failed"))
        if bead.type not in REOPENABLE:
            return EventResult(Skipped("not reopenable"))
        refusal = _refusal(town, bead)
        if refusal is not None:
            return EventResult(refusal)
        sender = speakers.named(fact, self.by)
        self._reopen(town, bead, sender)
        if bead.type is BeadType.ISSUE:
            membership.rejoin(town, bead.id)
        elif bead.type is BeadType.MERGE_REQUEST:
            self._reopen_review(town, bead, sender)
        return EventResult(Applied())

    def _reopen(self, town: Town, bead: Bead, sender: str | None) -> None:
        beads.reopen(town, bead.id)
        beads.note(town, bead.id, *_forgotten(bead))
        if bead.type is BeadType.CONVOY:
            for review_id in lookup.failed_reviews_of(town, bead.id):
                beads.note(town, review_id, ReviewNotes.awaiting_approval.gone)
        given = {"by": sender, "reason": self.reason}
        why = {name: value for name, value in given.items() if value is not None}
        audit.record(town, bead.id, "reopened", old=bead.status.value, new=BeadStatus.OPEN.value, metadata=why)

    def _reopen_review(self, town: Town, review: Bead, sender: str | None) -> None:
        """The rework that ended with a review is done after all. A pull request is polled on, and its source is in review again."""
        reviews.set_ready_since(town, review.id, None)
        known = lookup.review(town, review.id)
        if known is not None and known.pr_url is not None and ReviewNotes.pr_closed.of(review.metadata):
            beads.leave_note(
                town,
                review.id,
                f"The pull request {known.pr_url} was closed without a merge. Reopen it, or open another one from "
                f"{known.branch} into {known.target_branch} and report that one.",
            )
        for rework in belonging.ended_reworks_of(town, review.id):
            self._reopen(town, rework, sender)
        if BeadNotes.failure_reason.of(review.metadata) not in RESUMED:
            return
        if known is not None and known.pr_url is not None:
            beads.move(town, review.id, BeadStatus.IN_PROGRESS, reason="its pull request is polled again")
        source = lookup.source_of(town, review.id)
        if source is not None:
            reviews.resume_source(town, source)
            if source.type is BeadType.ISSUE:
                membership.part_from_closed_convoy(town, source.id)


def _forgotten(bead: Bead) -> list[Change]:
    changes = [*_FORGOTTEN_BY_REOPENING]
    if bead.type is BeadType.MERGE_REQUEST:
        changes += _FORGOTTEN_BY_A_REVIEW
    if bead.type is BeadType.CONVOY:
        changes += _FORGOTTEN_BY_A_CONVOY
    return changes


def _refusal(town: Town, bead: Bead) -> EventOutcome | None:
    """Why a failed bead is not reopened: what it would go on with has ended, or somebody else works on it."""
    if bead.type is BeadType.ISSUE and any(label in bead.labels for label in reviews.FOLLOW_UP_LABELS):
        review_id = BranchNotes.mr_bead_id.of(bead.metadata) or bead.parent_id
        review = lookup.bead(town, review_id)
        if review is not None and review.type is BeadType.MERGE_REQUEST and not review.live:
            return Rejected(f"its merge request {review.id} is {review.status}: reopen that first")
    if bead.type is not BeadType.MERGE_REQUEST:
        return None
    source = lookup.source_of(town, bead.id)
    return None if source is None else _refused_by_source(town, bead, source)


def _refused_by_source(town: Town, review: Bead, source: Bead) -> EventOutcome | None:
    if source.type is BeadType.CONVOY:
        after = ConvoyNotes.lands_after.of(source.metadata)
        if after is not None and review.created_at <= after:
            return Rejected(f"the convoy {source.id} lands anew since: it gets a new merge request")
    if BeadNotes.failure_reason.of(review.metadata) not in RESUMED:
        return None
    if not source.live:
        return Rejected(f"its source {source.id} is {source.status}: reopen that first")
    hooked = lookup.hooked_agent_ids(town, source.id)
    if hooked:
        return Rejected(f"the agent {hooked[0]} is hooked to its source {source.id}")
    others = lookup.live_reviews_of(town, source.id)
    return Rejected(f"its source {source.id} has the live merge request {others[0]}") if others else None
