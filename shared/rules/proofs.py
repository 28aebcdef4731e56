"""Merge requests that were reported as merged: check whether their target contains them (spec/rules.md section 4)."""

from collections.abc import Iterator

from shared.actions import VerifyMerge
from shared.domain import limits
from shared.domain.notes import ReviewNotes
from shared.domain.states import BeadStatus, EffectKind
from shared.domain.tick import Tick
from shared.rules.base import Decision, Due
from shared.town.reading import TownReader


def verify_merge(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R1p: a merge that a refinery reported is looked for, once a minute until the answer is certain."""
    for review in town.reviews:
        if review.status is not BeadStatus.IN_PROGRESS or not review.claimed:
            continue
        if (EffectKind.VERIFY_MERGE, review.id) in town.unfinished_effects:
            continue
        last = ReviewNotes.merge_looked_at.of(review.metadata)
        due = tick.now if last is None else last + limits.MERGE_LOOK_INTERVAL
        for wait in (ReviewNotes.merge_look_not_before, ReviewNotes.poll_not_before):
            due = max(due, wait.of(review.metadata) or due)
        if due > tick.now:
            yield Due(due, (review.id,), "merge_look", last)
        else:
            yield VerifyMerge(bead_id=review.id)
