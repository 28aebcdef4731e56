"""Obstacles: why a pull request cannot go on, beside checks that run, a review that is due and time (spec/tick.md section 13).

A poll or a refused merge notes the obstacle of its MR (`ReviewNotes.obstacle`), and everything that asks reads it there: status,
explain, the escalations after a day. The names are waiting reasons.
"""

from datetime import timedelta
from typing import Final, Literal, get_args

from shared.domain import limits
from shared.domain.times import span_text

Obstacle = Literal[
    "forge_denied",
    "forge_down",
    "forge_unreadable",
    "wrong_repository",
    "pr_mismatch",
    "untrusted_author",
    "draft",
    "changes_requested",
    "checks_unreadable",
    "in_merge_queue",
    "behind_base",
    "merge_refused",
    "merge_unproven",
    "awaiting_merge",
]
OBSTACLES: Final[tuple[Obstacle, ...]] = get_args(Obstacle)


def obstacle_or_none(value: object) -> Obstacle | None:
    """The obstacle of that name; None if there is none."""
    return next((each for each in OBSTACLES if each == value), None)


VOICED: Final = frozenset(
    {
        "changes_requested",
        "draft",
        "merge_refused",
        "wrong_repository",
        "pr_mismatch",
        "checks_unreadable",
        "merge_unproven",
        "in_merge_queue",
        "behind_base",
        "untrusted_author",
    }
)
"""The obstacles that raise an escalation after OBSTACLE_VOICED_AFTER, unless one about the same cause is live."""

NO_WORD: Final = "no_word"
"""Of an escalation about an agent that only beats: its generation has never said what it does."""
REVIEWS_STAND: Final = "reviews_stand"
"""Of an escalation about a rig whose reviews do not move although a refinery is hooked to one of them."""


def voiced_after(reason: str) -> timedelta:
    """How long a wait for this reason lasts before a person is told."""
    stands = reason in (NO_WORD, REVIEWS_STAND)
    return limits.STANDSTILL_VOICED_AFTER if stands else limits.OBSTACLE_VOICED_AFTER


def waited_text(reason: str) -> str:
    """The same in words, for `has waited for ...`."""
    after = voiced_after(reason)
    return "a day" if after == limits.OBSTACLE_VOICED_AFTER else span_text(after)
