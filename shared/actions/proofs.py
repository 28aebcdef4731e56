"""The action that checks whether a merge request that was reported as merged is in its target (decision T2)."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action, outcome_of_request
from shared.actions.reviews import host_of
from shared.domain.notes import ReviewNotes
from shared.domain.orders import VerifyOrder
from shared.domain.outcomes import MISSING, MOVED_ON, ActionOutcome, Applied, Skipped
from shared.domain.states import BeadStatus, BeadType
from shared.town import lookup
from shared.town.rows import Bead, Review
from shared.town.town import Town
from shared.town.writing import beads, merge_claims


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyMerge(Action):
    """Ask whether the target branch contains the merge that a refinery reported."""

    type: ClassVar[str] = "verify_merge"

    bead_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request one look, and note its time."""
        bead, review = lookup.bead(town, self.bead_id), lookup.review(town, self.bead_id)
        if bead is None or review is None or bead.type is not BeadType.MERGE_REQUEST:
            return MISSING
        if bead.status is not BeadStatus.IN_PROGRESS:
            return MOVED_ON
        order = _order(town, bead, review)
        if order is None:
            return Skipped("no claim")
        outcome = outcome_of_request(town, order, bead.id, town.tick.number)
        if isinstance(outcome, Applied):
            first = ReviewNotes.merge_first_look_at.of(bead.metadata) or town.tick.now
            beads.note(
                town,
                bead.id,
                ReviewNotes.merge_looked_at.to(town.tick.now),
                ReviewNotes.merge_look_not_before.gone,
                ReviewNotes.merge_first_look_at.to(first),
            )
        return outcome


def _order(town: Town, bead: Bead, review: Review) -> VerifyOrder | None:
    claim = merge_claims.claim_of(bead.metadata)
    if claim is None:
        return None
    rig = town.rig(bead.rig_id)
    return VerifyOrder(
        town_id=town.tick.town_id,
        bead_id=bead.id,
        git_url="" if rig is None else rig.git_url,
        target_branch=review.target_branch,
        branch=review.branch,
        rig_id=bead.rig_id,
        rig_host=host_of(rig),
        head=claim.head or ReviewNotes.submitted_head.of(bead.metadata),
        base=ReviewNotes.submitted_base.of(bead.metadata),
        merge_commit=claim.commit,
    )
