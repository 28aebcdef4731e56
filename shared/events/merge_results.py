"""The result of a merge (spec/actions.md section 6)."""

from typing import ClassVar

from shared.domain.forge_errors import Refusal
from shared.domain.notes import ReviewNotes
from shared.domain.orders import MergeOrder
from shared.domain.outcomes import MISSING, TERMINAL, Applied, Skipped
from shared.domain.states import BeadType, EffectKind
from shared.events.attempts import AttemptReport, SettledAttempt, settle_attempt
from shared.events.base import EventResult
from shared.events.fields import FreeText
from shared.events.forge import FeedbackSeen, ForgeProblem, RepositorySeen
from shared.town import inbox, lookup
from shared.town.inbox import Fact
from shared.town.town import Town
from shared.town.writing import beads, reviews


class PrMergeResult(AttemptReport):
    """Whether the forge merged the pull request. `reason` explains a refusal that is not an error: not green, another head, 405,
    409.
    """

    event_type: ClassVar[str] = "pr_merge_result"
    needs = ("bead_id",)

    merged: bool
    sha: FreeText | None = None
    reason: FreeText | None = None
    error: ForgeProblem | None = None
    feedback: FeedbackSeen | None = None
    passing: bool = False
    queued: bool = False
    refusal: Refusal | None = None
    rig_repository: RepositorySeen | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """A merge completes the MR in the same drain; a refusal restarts the all-green period."""
        passing = self.passing or (
            self.error is not None and self.error.effective_kind in ("rate_limited", "transient")
        )
        recorded = settle_attempt(town, self, EffectKind.MERGE_PR, success=self.merged, passing=passing)
        if isinstance(recorded, Skipped):
            return EventResult(recorded)
        bead = lookup.bead(town, fact.bead_id)
        if bead is None or bead.type is not BeadType.MERGE_REQUEST:
            return EventResult(MISSING)
        if not bead.live:
            return EventResult(TERMINAL)
        if recorded.ended == "done":
            self._append_merged(town, bead.id, recorded)
        elif recorded.ended == "failed":
            beads.note(town, bead.id, ReviewNotes.auto_merge_pending.gone)
            reviews.set_ready_since(town, bead.id, None)
        return EventResult(Applied())

    def _append_merged(self, town: Town, bead_id: str, recorded: SettledAttempt) -> None:
        review = lookup.review(town, bead_id)
        stored_url = None if review is None else review.pr_url
        order = recorded.effect.order(MergeOrder)
        payload = {"pr_url": (None if order is None else order.pr_url) or stored_url, "pr_state": "merged"}
        if self.sha is not None:
            payload["sha"] = self.sha
        inbox.append(town, "pr_status_changed", payload, bead_id=bead_id)
