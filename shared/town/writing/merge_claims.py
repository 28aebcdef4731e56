"""Claims that a branch was merged, which are looked at before the merge request closes (spec/actions.md section 6.7)."""

from dataclasses import dataclass
from typing import Final

from shared.domain import limits
from shared.domain.notes import BeadNotes, Metadata, ReviewNotes
from shared.domain.states import BeadStatus
from shared.domain.times import to_text
from shared.town import lookup
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import beads, escalations, reviews
from shared.town.writing.beads import Failure

UNPROVEN: Final = "merge.unproven"
"""The business event about a merge that was accepted although nothing could check it. The metric mergesUnproven counts them."""
_FORGOTTEN: Final = (
    ReviewNotes.merge_claim.gone,
    ReviewNotes.merge_looks.gone,
    ReviewNotes.merge_first_look_at.gone,
    ReviewNotes.merge_looked_at.gone,
    ReviewNotes.merge_look_not_before.gone,
    ReviewNotes.merge_looks_failed.gone,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """The commit of the merge and the head of the branch that was merged; each may be unknown.

    `into` is the base into which the forge merged the pull request instead of the agreed one; None if a refinery reported it.
    """

    commit: str | None
    head: str | None
    into: str | None = None


def claim_of(metadata: Metadata) -> Claim | None:
    """The claim that stands; None if there is none."""
    said = ReviewNotes.merge_claim.of(metadata)
    if said is None:
        return None
    known = {name: value for name, value in said.items() if isinstance(value, str)}
    return Claim(known.get("commit"), known.get("head"), known.get("into"))


def look_later(town: Town, review: Bead, *, at_once: bool = False) -> None:
    """Look again after a wait that doubles with each look in a row that brought no answer; `at_once` after the longest."""
    failed = ReviewNotes.merge_looks_failed.of(review.metadata) + 1
    longest = limits.MERGE_LOOK_AT_MOST
    wait = longest if at_once else min(limits.MERGE_LOOK_INTERVAL * 2 ** min(failed - 1, 10), longest)
    beads.note(
        town,
        review.id,
        ReviewNotes.merge_looks_failed.to(failed),
        ReviewNotes.merge_look_not_before.to(town.tick.now + wait),
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
        town.keys.merges_unproven += 1
        town.business_event(UNPROVEN, {"bead_id": review.id, "message": message})
    reviews.complete(town, review.id, "merged", message=message, sha=sha)


def fail_merged_elsewhere(town: Town, review: Bead, message: str) -> None:
    """The pull request was merged into another base, and the agreed one does not contain it: a person decides what follows."""
    beads.note(town, review.id, *_FORGOTTEN)
    reviews.set_obstacle(town, review, None)
    failure = Failure("pr_mismatch", message, "review")
    source = lookup.source_of(town, review.id)
    reviews.complete(town, review.id, "failed", message=message, failure=failure, hold=True)
    beads.note(town, review.id, BeadNotes.failure_kind.to("pr_mismatch"), ReviewNotes.abandoned.gone)
    if source is not None and source.live:
        beads.leave_note(town, source.id, message)
        escalations.escalate_once(
            town,
            f"pr_mismatch:{source.id}",
            f"Merged into another branch: {source.title}",
            category="pr_mismatch",
            body=message,
            rig_id=review.rig_id,
        )


def refute(town: Town, review: Bead, *, note: str) -> None:
    """Nothing was merged: the next refinery is told, and takes the review again."""
    beads.note(town, review.id, *_FORGOTTEN)
    reviews.set_obstacle(town, review, None)
    beads.leave_note(town, review.id, note)
    reason = "the merge that was reported is not in the target"
    beads.move(town, review.id, BeadStatus.OPEN, from_=BeadStatus.IN_PROGRESS, reason=reason)
