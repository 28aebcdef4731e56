"""What the notes of a merge request say about its merge (spec/actions.md section 6): refusals, tries, passed heads."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from shared.domain import limits
from shared.domain.config import EffectiveSettings
from shared.domain.forge_errors import Refusal
from shared.domain.notes import Metadata, ReviewNotes

UNCOUNTED: Final[frozenset[Refusal]] = frozenset({"base_moved", "judged_anew"})
"""Refusals that say nothing about the next try: a race with another merge, and a pull request that polls must judge again."""


def refusals_at_head(metadata: Metadata) -> Mapping[str, int]:
    """How often the forge has refused to merge the present head, by class."""
    if ReviewNotes.refused_head.of(metadata) != ReviewNotes.head_sha.of(metadata):
        return {}
    counted = ReviewNotes.refusals.of(metadata) or {}
    return {name: count for name, count in counted.items() if isinstance(count, int)}


def is_refused(metadata: Metadata) -> bool:
    """Whether the tries for the present head are used up: the obstacle `merge_refused` stands until the head changes."""
    last = ReviewNotes.refused_as.of(metadata)
    return last is not None and refusals_at_head(metadata).get(last, 0) >= limits.MERGE_TRIES


def may_try(metadata: Metadata, now: datetime) -> bool:
    """Whether a merge may be tried now. A head whose tries are used up gets one more try every MERGE_RETRY_AFTER."""
    return not is_refused(metadata) or limits.stale(
        ReviewNotes.refused_at.of(metadata), limits.MERGE_RETRY_AFTER, now=now
    )


def is_passed(metadata: Metadata, head: object) -> bool:
    """Whether a refinery has passed this head, or one from which only the town's own updates with the base lead to it.

    `follow_head` of `shared.town.writing.merging` moves the passed head on with each own update.
    """
    return head is not None and ReviewNotes.review_passed_head.of(metadata) == head


def head_may_merge(metadata: Metadata, settings: EffectiveSettings) -> bool:
    """Whether a review stands for the head that was last seen. Babysat pull requests and rigs without reviews need none."""
    if ReviewNotes.babysit.of(metadata) or not settings.code_review:
        return True
    return is_passed(metadata, ReviewNotes.head_sha.of(metadata))
