"""The obstacle of an open pull request that could be read: the only place that decides it after a poll.

Of several obstacles the first one in the order of `OBSTACLES` is noted (spec/tick.md section 13.1). What is not found any more is
removed, so no obstacle outlives its cause.
"""

from collections.abc import Iterator
from typing import Final

from shared.domain.merge_state import is_refused
from shared.domain.notes import ReviewNotes
from shared.domain.obstacles import OBSTACLES, Obstacle
from shared.events.findings import Role, is_left_to_people, untrusted, waits_for_people
from shared.events.forge import OpenSeen
from shared.events.polled import Polled
from shared.town.writing import reviews

Found = tuple[Obstacle, str | None]

_OF_A_GREEN_ONE: Final = ("behind_base", "merge_refused", "awaiting_merge")


def note(about: Polled, seen: OpenSeen, role: Role, *, is_green: bool | None) -> None:
    """Note the first obstacle, or that there is none. `is_green` is None while the forge does not know whether it can be merged."""
    found = dict(_found(about, seen, role, is_green=is_green))
    first = next((each for each in OBSTACLES if each in found), None)
    old = ReviewNotes.obstacle.of(about.bead.metadata)
    if first is None and is_green is None and old in _OF_A_GREEN_ONE:
        return
    reviews.set_obstacle(about.town, about.now_stored, first, None if first is None else found[first])


def _found(about: Polled, seen: OpenSeen, role: Role, *, is_green: bool | None) -> Iterator[Found]:
    metadata = about.now_stored.metadata
    if untrusted(about, seen) and seen.identity is not None:
        yield "untrusted_author", f"it was opened by {seen.identity.author or 'a deleted account'}"
    if seen.identity is not None and seen.identity.draft:
        yield "draft", None
    if seen.feedback is not None and seen.feedback.changes_requested:
        by = ", ".join(each.author for each in seen.feedback.change_requests if each.author)
        yield "changes_requested", f"by {by}" if by else None
    if seen.feedback is not None and seen.feedback.checks_unreadable:
        yield "checks_unreadable", None
    if role.is_queued:
        yield "in_merge_queue", None if seen.queue_position is None else f"position {seen.queue_position}"
    if ReviewNotes.merge_claim.of(metadata) is not None:
        yield "merge_unproven", None
    if waits_for_people(about, seen, role):
        yield "awaiting_merge", "no refinery has reviewed its head, and its attempts are used up"
    if is_green or is_left_to_people(about, seen, role):
        yield from _of_a_green_one(about, seen, role)


def _of_a_green_one(about: Polled, seen: OpenSeen, role: Role) -> Iterator[Found]:
    if not role.merges or not about.settings.wants_auto_merge:
        yield "awaiting_merge", None
        return
    if seen.is_behind and not seen.has_queue:
        yield "behind_base", None
    metadata = about.now_stored.metadata
    if is_refused(metadata):
        said = ReviewNotes.obstacle_detail.of(about.bead.metadata)
        kept = said if ReviewNotes.obstacle.of(about.bead.metadata) == "merge_refused" else None
        yield "merge_refused", kept or ReviewNotes.refused_as.of(metadata)
