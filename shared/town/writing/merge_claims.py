"""Claims that a branch was merged, which are looked at before the merge request closes (spec/data-model.md 3.16)."""

from typing import Final

from shared.domain.notes import ReviewNotes
from shared.domain.states import BeadStatus
from shared.domain.times import to_text
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import beads, reviews

_FORGOTTEN: Final = (
    ReviewNotes.merge_claim.gone,
    ReviewNotes.merge_looks.gone,
    ReviewNotes.merge_first_look_at.gone,
    ReviewNotes.polls_failed.gone,
    ReviewNotes.poll_not_before.gone,
    ReviewNotes.last_poll_at.gone,
    ReviewNotes.episode.gone,
)


def claim(town: Town, review: Bead, *, commit: str | None, head: str | None) -> None:
    """Note that a refinery has reported the branch as merged. The merge request stays in progress until that is seen.

    Without a repository there is nothing to look at: the report is accepted, unless the town requires a proof.
    """
    rig = town.rig(review.rig_id)
    if (rig is None or not rig.git_url) and town.settings(review.rig_id).merge_proof == "when_possible":
        accept(town, review, message="merged by the refinery", sha=commit, unproven=True)
        return
    said = {"commit": commit, "head": head, "at": to_text(town.tick.now)}
    beads.note(town, review.id, *_FORGOTTEN, ReviewNotes.merge_claim.to(said))
    beads.touch(town, review.id)
    if review.status is BeadStatus.OPEN:
        beads.move(town, review.id, BeadStatus.IN_PROGRESS, from_=BeadStatus.OPEN, reason="reported as merged")
    detail = "it was reported as merged, and its target was not looked at yet"
    reviews.set_obstacle(town, review, "merge_unproven", detail)


def accept(town: Town, review: Bead, *, message: str, sha: str | None, unproven: bool = False) -> None:
    """Close the merge request as merged."""
    beads.note(town, review.id, *_FORGOTTEN)
    reviews.set_obstacle(town, review, None)
    if unproven:
        beads.note(town, review.id, ReviewNotes.unproven.to(True))
    reviews.complete(town, review.id, "merged", message=message, sha=sha)


def refute(town: Town, review: Bead, *, note: str) -> None:
    """Nothing was merged: the next refinery is told, and takes the review again."""
    beads.note(town, review.id, *_FORGOTTEN)
    reviews.set_obstacle(town, review, None)
    beads.leave_note(town, review.id, note)
    reason = "the merge that was reported is not in the target"
    beads.move(town, review.id, BeadStatus.OPEN, from_=BeadStatus.IN_PROGRESS, reason=reason)
