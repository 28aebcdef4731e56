"""The answer to the question whether a target branch contains the merge that a refinery reported (spec/actions.md section 6.7)."""

from typing import ClassVar

from shared.actions.base import Action
from shared.domain import limits
from shared.domain.errors import RowUnreadable
from shared.domain.notes import ReviewNotes
from shared.domain.orders import VerifyOrder
from shared.domain.outcomes import MISSING, MOVED_ON, TERMINAL, Applied, Skipped
from shared.domain.states import BeadType, EffectKind
from shared.events import episodes
from shared.events.attempts import AttemptReport, settle_attempt
from shared.events.base import EventResult
from shared.events.fields import FreeText
from shared.events.forge import ForgeProblem
from shared.events.polled import Polled
from shared.town import lookup
from shared.town.inbox import Fact
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import beads, merge_claims, reviews


class MergeVerified(AttemptReport):
    """One look at the target branch. `contained` is absent if nobody could tell; `error` says why nobody could look."""

    event_type: ClassVar[str] = "merge_verified"
    needs = ("bead_id",)

    contained: bool | None = None
    sha: FreeText | None = None
    says: FreeText = ""
    error: ForgeProblem | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Close the MR, count a negative look, accept what cannot be looked at, or look again later."""
        recorded = settle_attempt(town, self, EffectKind.VERIFY_MERGE, success=self.error is None)
        if isinstance(recorded, Skipped):
            return EventResult(recorded)
        bead = lookup.bead(town, fact.bead_id)
        if bead is None or bead.type is not BeadType.MERGE_REQUEST:
            return EventResult(MISSING)
        if not bead.live:
            return EventResult(TERMINAL)
        claim = merge_claims.claim_of(bead.metadata)
        order = recorded.effect.order(VerifyOrder)
        if claim is None or order is None or order.merge_commit != claim.commit:
            return EventResult(MOVED_ON)
        if self.error is not None:
            return EventResult(Applied(), _could_not_look(_about(town, bead), self.error))
        episodes.looked(_about(town, bead), secret=None)
        if self.contained:
            sha = self.sha or claim.commit or order.head
            merge_claims.accept(town, bead, message="the target contains the merge", sha=sha)
        elif self.contained is None:
            self._nobody_can_tell(town, bead, claim)
        else:
            self._not_contained(town, bead, order, claim)
        return EventResult(Applied())

    def _nobody_can_tell(self, town: Town, bead: Bead, claim: merge_claims.Claim) -> None:
        """Accept the refinery's word, unless the town requires a proof."""
        said = self.says or "nothing is configured that could check it"
        if town.settings(bead.rig_id).merge_proof == "required" or claim.into is not None:
            reviews.set_obstacle(town, bead, "merge_unproven", said)
            merge_claims.look_later(town, bead)
            return
        merge_claims.accept(town, bead, message=f"merged by the refinery ({said})", sha=claim.commit, unproven=True)

    def _not_contained(self, town: Town, bead: Bead, order: VerifyOrder, claim: merge_claims.Claim) -> None:
        looks = ReviewNotes.merge_looks.of(bead.metadata) + 1
        first = ReviewNotes.merge_first_look_at.of(bead.metadata)
        said = self.says or f"{order.target_branch} does not contain {order.branch}"
        beads.note(town, bead.id, ReviewNotes.merge_looks.to(looks), ReviewNotes.merge_looks_failed.gone)
        reviews.set_obstacle(town, bead, "merge_unproven", said)
        if looks < limits.MERGE_LOOKS or first is None or town.tick.now - first < limits.MERGE_LOOKS_FOR:
            return
        if claim.into is not None:
            message = f"The pull request was merged into {claim.into} instead of {order.target_branch}: {said}."
            merge_claims.fail_merged_elsewhere(town, bead, message)
            return
        claimed = "" if order.merge_commit is None else f" as commit {order.merge_commit}"
        merge_claims.refute(
            town,
            bead,
            note=f"Your predecessor reported that {order.branch} was merged into {order.target_branch}{claimed}, but "
            f"{looks} looks at the repository did not find it there: {said}. Merge it and push the result, or request changes.",
        )


def _could_not_look(about: Polled, error: ForgeProblem) -> tuple[Action, ...]:
    """Not being able to look is no verdict: the MR joins the episode of its forge, which backs off and tells a person (T4)."""
    if error.wait_until is not None:
        wait_until = min(error.wait_until, about.town.tick.now + limits.RATE_LIMIT_AT_MOST)
        about.note(ReviewNotes.merge_look_not_before.to(wait_until))
        return ()
    return episodes.could_not_look(about, error)


def _about(town: Town, bead: Bead) -> Polled:
    """The MR as episodes know it: by its pull request, else by the repository into which it is merged."""
    rig, review = town.rig(bead.rig_id), lookup.review(town, bead.id)
    if review is None:
        raise RowUnreadable("review_metadata", bead.id, "the row is missing")
    place = review.pr_url or ("" if rig is None else rig.git_url)
    return Polled(town, bead, review, town.settings(bead.rig_id), place)
