"""Whether a review has passed the head of a pull request: the one condition for merging it that a refinery decides (decision T2).

A refinery's report notes the head that it has passed (`review_passed_head`), and the town moves that note on when the forge updates
the branch with its base at the town's own request. Every other new head needs another review.
"""

from shared.domain.config import EffectiveSettings
from shared.domain.notes import Metadata, ReviewNotes


def head_is_passed(metadata: Metadata, settings: EffectiveSettings) -> bool:
    """Whether the head that was last seen may be merged. Adopted pull requests and rigs without reviews need no review."""
    if ReviewNotes.babysit.of(metadata) or not settings.code_review:
        return True
    passed = ReviewNotes.review_passed_head.of(metadata)
    return passed is not None and passed == ReviewNotes.head_sha.of(metadata)
