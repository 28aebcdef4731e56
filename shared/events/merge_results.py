"""The results of the effects that change a pull request (spec/actions.md section 6)."""

from typing import ClassVar, Literal

from shared.domain.forge_errors import Refusal
from shared.domain.notes import ReviewNotes
from shared.domain.orders import MergeOrder, PullRequestOrder
from shared.domain.outcomes import MISSING, TERMINAL, Applied, Skipped
from shared.domain.states import BeadType, EffectKind
from shared.events.attempts import AttemptReport, SettledAttempt, settle_attempt
from shared.events.base import EventResult
from shared.events.fields import FreeText, Integer
from shared.events.forge import FeedbackSeen, ForgeProblem
from shared.town import inbox, lookup
from shared.town.inbox import Fact
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import beads, merging, reviews


class _ForgeReport(AttemptReport):
    """Base of these results: each is about one MR."""

    needs = ("bead_id",)

    error: ForgeProblem | None = None

    @property
    def may_pass(self) -> bool:
        """Whether the call failed in a way that may be over soon."""
        return self.error is not None and self.error.effective_kind in ("rate_limited", "transient")


def _review_of(town: Town, fact: Fact) -> Bead | None:
    bead = lookup.bead(town, fact.bead_id)
    return None if bead is None or bead.type is not BeadType.MERGE_REQUEST else bead


class PrMergeResult(_ForgeReport):
    """Whether the forge merged or enqueued the pull request. `refusal` is the class of a refusal, `reason` its text.

    `unconfirmed` says that something was merged, and that nobody has seen yet whether it was the agreed pull request.
    """

    event_type: ClassVar[str] = "pr_merge_result"

    merged: bool
    sha: FreeText | None = None
    reason: FreeText | None = None
    feedback: FeedbackSeen | None = None
    passing: bool = False
    queued: bool = False
    position: Integer | None = None
    refusal: Refusal | None = None
    unconfirmed: bool = False

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """A merge completes the MR in the same drain; a refusal is counted and restarts the all-green period."""
        passing = self.passing or self.may_pass or self.refusal == "base_moved"
        success = self.merged or self.queued
        recorded = settle_attempt(town, self, EffectKind.MERGE_PR, success=success, passing=passing)
        if isinstance(recorded, Skipped):
            return EventResult(recorded)
        bead = _review_of(town, fact)
        if bead is None:
            return EventResult(MISSING)
        if not bead.live:
            return self._after_the_end(town, bead, recorded)
        if recorded.ended == "done" and self.merged and self.unconfirmed:
            merging.refuse(town, bead, "judged_anew", "")
        elif recorded.ended == "done" and self.merged:
            _append_merged(town, bead.id, recorded.effect.order(MergeOrder), self.sha)
        elif recorded.ended == "done":
            merging.enter_queue(town, bead, self.position)
        elif recorded.ended == "failed":
            refusal, says = self._refused()
            merging.refuse(town, bead, refusal, says)
        return EventResult(Applied())

    def _after_the_end(self, town: Town, bead: Bead, recorded: SettledAttempt) -> EventResult:
        """The MR has ended meanwhile: what happened all the same is recorded, or undone by a rule."""
        if recorded.ended == "done" and self.merged:
            merging.record_late_merge(town, bead, self.sha)
        elif recorded.ended == "done":
            merging.enter_queue(town, bead)
        return EventResult(TERMINAL)

    def _refused(self) -> tuple[Refusal, str]:
        """The class and the text of the refusal.

        Not being able to look, and a token that has expired, are no verdict: polls meet the same error and say so. Any other
        error of the merge itself counts, so that no call is repeated for ever.
        """
        if self.error is None:
            return self.refusal or "judged_anew", self.reason or ""
        kind, says = self.error.effective_kind, self.error.message
        if self.refusal is not None or kind in ("rate_limited", "no_token") or self.error.http_status == 401:
            return "judged_anew", says
        return "rights" if self.error.http_status in (403, 404) else "other", says


def _append_merged(town: Town, bead_id: str, order: PullRequestOrder | None, sha: str | None) -> None:
    review = lookup.review(town, bead_id)
    stored_url = None if review is None else review.pr_url
    payload = {"pr_url": (None if order is None else order.pr_url) or stored_url, "pr_state": "merged"}
    if sha is not None:
        payload["sha"] = sha
    inbox.append(town, "pr_status_changed", payload, bead_id=bead_id)


class BranchUpdated(_ForgeReport):
    """Whether the branch was brought up to date. `head` is the new head, if the forge knows it already."""

    event_type: ClassVar[str] = "branch_updated"

    outcome: Literal["updated", "current", "refused"] | None = None
    head: FreeText | None = None
    reason: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Follow the branch to its new head. Polls judge it again; `current` is a success without a new head."""
        success = self.outcome in ("updated", "current")
        recorded = settle_attempt(town, self, EffectKind.UPDATE_BRANCH, success=success, passing=self.may_pass)
        if isinstance(recorded, Skipped):
            return EventResult(recorded)
        bead = _review_of(town, fact)
        if bead is None:
            return EventResult(MISSING)
        if not bead.live:
            return EventResult(TERMINAL)
        if self.outcome != "updated" and not self.may_pass:
            beads.note(town, bead.id, ReviewNotes.own_update_of.gone)
        if self.outcome == "updated" and self.head is not None:
            merging.follow_head(town, bead, self.head, is_own=True)
        if success and ReviewNotes.obstacle.of(bead.metadata) == "behind_base":
            reviews.set_obstacle(town, bead, None)
        if not success and ReviewNotes.obstacle.of(bead.metadata) == "behind_base":
            reviews.set_obstacle(town, bead, "behind_base", self._problem())
        return EventResult(Applied())

    def _problem(self) -> str:
        said = self.reason if self.error is None else self.error.message
        return f"the update failed: {said}" if said else "the update failed"


class PrDequeued(_ForgeReport):
    """Whether the pull request was taken out of its queue. `merged` says that the merge had already happened."""

    event_type: ClassVar[str] = "pr_dequeued"

    ok: bool
    merged: bool = False
    sha: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Forget the queue. A failure changes nothing: a rule asks again later.

        The merge of a live MR is not taken from here: the next poll also sees which pull request was merged, and into what.
        """
        recorded = settle_attempt(town, self, EffectKind.DEQUEUE, success=self.ok, passing=self.may_pass)
        if isinstance(recorded, Skipped):
            return EventResult(recorded)
        bead = _review_of(town, fact)
        if bead is None:
            return EventResult(MISSING)
        if recorded.ended != "done":
            return EventResult(Applied())
        merging.leave_queue(town, bead)
        if self.merged and not bead.live:
            merging.record_late_merge(town, bead, self.sha)
        return EventResult(Applied())


class ReviewRequested(_ForgeReport):
    """Whether the reviewers were asked again."""

    event_type: ClassVar[str] = "review_requested"

    ok: bool

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Nothing follows from it but its outbox row: a reviewer who cannot be asked sees the push all the same."""
        recorded = settle_attempt(town, self, EffectKind.REQUEST_REVIEW, success=self.ok, passing=self.may_pass)
        if isinstance(recorded, Skipped):
            return EventResult(recorded)
        return EventResult(MISSING if _review_of(town, fact) is None else Applied())
