"""Actions that change a pull request: merge it, update its branch, take it out of a queue, ask for reviews (spec/actions.md 6)."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action, outcome_of_request
from shared.actions.reviews import host_of, in_progress
from shared.domain import branches, identities, limits, merge_state
from shared.domain.green import Checks
from shared.domain.notes import ReviewNotes
from shared.domain.orders import DequeueOrder, ExpectedIdentity, MergeOrder, RequestReviewOrder, UpdateBranchOrder
from shared.domain.outcomes import ALREADY, MOVED_ON, ActionOutcome, Applied, Skipped
from shared.domain.states import BeadStatus
from shared.town import lookup
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import beads, merging


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePr(Action):
    """Ask the forge to merge a pull request, at the head that was found green."""

    type: ClassVar[str] = "merge_pr"

    bead_id: str
    pr_url: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request the merge of exactly the pull request that was agreed. What cannot be compared is never merged."""
        bead = in_progress(town, self.bead_id, self.pr_url)
        if isinstance(bead, Skipped):
            return bead
        settings = town.settings(bead.rig_id)
        expected = expected_identity(town, bead)
        can_be_compared = identities.is_complete(expected) and settings.upstream is None
        if not can_be_compared or not merge_state.head_may_merge(bead.metadata, settings):
            beads.note(town, bead.id, ReviewNotes.auto_merge_pending.gone)
            return Applied()
        checks = Checks(required_only=settings.required_checks_only, needed=settings.require_checks)
        order = MergeOrder(
            town_id=town.tick.town_id,
            bead_id=bead.id,
            pr_url=self.pr_url,
            rig_id=bead.rig_id,
            rig_host=host_of(town.rig(bead.rig_id)),
            head_sha=ReviewNotes.head_sha.of(bead.metadata),
            expected=expected,
            required_checks_only=checks.required_only,
            require_checks=checks.needed,
        )
        return outcome_of_request(town, order, bead.id, town.tick.number)


def expected_identity(town: Town, bead: Bead) -> ExpectedIdentity | None:
    """The pull request that may be merged for an MR; parts that the town does not know yet are None.

    Repositories are the rig's. The branches of an MR are those that were agreed, the branches of a babysat pull request those
    that were pinned at its first poll.
    """
    rig, review = town.rig(bead.rig_id), lookup.review(town, bead.id)
    if rig is None or review is None:
        return None
    repository = rig.forge_repository_id
    if ReviewNotes.babysit.of(bead.metadata):
        pin = identities.of_pin(ReviewNotes.pinned.of(bead.metadata) or {})
        return pin if (pin.head_repository, pin.base_repository) == (repository, repository) else None
    return ExpectedIdentity(
        head_repository=repository,
        head_branch=branches.without_ref(review.branch),
        base_repository=repository,
        base_branch=branches.without_ref(review.target_branch),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateBranch(Action):
    """Ask the forge to bring the branch of a pull request up to date with its strict base."""

    type: ClassVar[str] = "update_branch"

    bead_id: str
    pr_url: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request the update of the head that was seen, and count it, whatever becomes of it."""
        bead = in_progress(town, self.bead_id, self.pr_url)
        if isinstance(bead, Skipped):
            return bead
        head = ReviewNotes.head_sha.of(bead.metadata)
        updates = ReviewNotes.own_updates.of(bead.metadata)
        if not isinstance(head, str) or updates >= limits.BRANCH_UPDATES or lookup.hooked_agent_ids(town, bead.id):
            return MOVED_ON
        order = UpdateBranchOrder(
            town_id=town.tick.town_id,
            bead_id=bead.id,
            pr_url=self.pr_url,
            rig_id=bead.rig_id,
            rig_host=host_of(town.rig(bead.rig_id)),
            head_sha=head,
        )
        outcome = outcome_of_request(town, order, bead.id, town.tick.number)
        if isinstance(outcome, Applied):
            beads.note(
                town,
                bead.id,
                ReviewNotes.own_update_of.to(head),
                ReviewNotes.own_updates.to(updates + 1),
                ReviewNotes.own_updated_at.to(town.tick.now),
            )
        return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Dequeue(Action):
    """Ask the forge to take the pull request of an MR, which ended or is blocked, out of its merge queue."""

    type: ClassVar[str] = "dequeue"

    bead_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request it, and wait before it is requested again. A merged pull request is in no queue any more."""
        bead, review = lookup.bead(town, self.bead_id), lookup.review(town, self.bead_id)
        if bead is None or review is None or review.pr_url is None or _is_over(town, bead, review.merge_commit):
            merging.forget_queued(town, self.bead_id)
            return Applied()
        order = DequeueOrder(
            town_id=town.tick.town_id,
            bead_id=bead.id,
            pr_url=review.pr_url,
            rig_id=bead.rig_id,
            rig_host=host_of(town.rig(bead.rig_id)),
        )
        outcome = outcome_of_request(town, order, bead.id, town.tick.number)
        if isinstance(outcome, Applied):
            since = ReviewNotes.queued_at.of(bead.metadata) or town.tick.now
            wait = min(max(town.tick.now - since, limits.DEQUEUE_AGAIN_AFTER), limits.MERGE_RETRY_AFTER)
            town.keys.queued_reviews = {**town.keys.queued_reviews, bead.id: town.tick.now + wait}
            beads.note(town, bead.id, ReviewNotes.auto_merge_pending.gone)
        return outcome


def _is_over(town: Town, bead: Bead, merge_commit: str | None) -> bool:
    """Whether a queue is not worth a call any more: its pull request was merged, or it entered the queue too long ago."""
    if bead.status is BeadStatus.CLOSED and merge_commit is not None:
        return True
    since = ReviewNotes.queued_at.of(bead.metadata)
    too_long = since is not None and town.tick.now - since > limits.FORGE_EPISODE_ENDS_REVIEW_AFTER
    return too_long and not bead.live


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReview(Action):
    """Ask the people who requested changes to review again."""

    type: ClassVar[str] = "request_review"

    bead_id: str
    pr_url: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request it once for those who are noted."""
        bead = in_progress(town, self.bead_id, self.pr_url)
        if isinstance(bead, Skipped):
            return bead
        reviewers = ReviewNotes.reviewers_to_ask.of(bead.metadata)
        if not reviewers:
            return ALREADY
        beads.note(town, bead.id, ReviewNotes.reviewers_to_ask.gone)
        order = RequestReviewOrder(
            town_id=town.tick.town_id,
            bead_id=bead.id,
            pr_url=self.pr_url,
            rig_id=bead.rig_id,
            rig_host=host_of(town.rig(bead.rig_id)),
            reviewers=reviewers,
        )
        return outcome_of_request(town, order, bead.id, town.tick.number)
