"""Pull requests on their way into the base: branches are updated one at a time, queues are left, reviewers are asked again
(spec/rules.md section 4). R1m, which merges, is with the polls in `shared.rules.reviews`.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from shared.actions import Dequeue, RequestReview, UpdateBranch
from shared.domain import limits
from shared.domain.notes import BranchNotes, ReviewNotes
from shared.domain.states import BeadStatus, EffectKind
from shared.domain.tick import Tick
from shared.domain.urgency import place
from shared.rules.base import Decision, Due
from shared.town.live import LiveReview
from shared.town.reading import TownReader

Base = tuple[str, str]
"""A branch into which pull requests are merged: the repository (its id at the forge, else the rig), and the name."""


def update_branch(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R1u: of the pull requests that are behind one strict base, the most urgent green one is brought up to date."""
    # A strict base lets a pull request in only if its checks ran on the newest base, so each merge makes all others run their
    # checks again. Were all updated at once, N pull requests would cost about N * N / 2 runs; one at a time they cost about 2 * N.
    # Example: m1 to m3 are behind. m1 is updated, its checks pass, it merges; then m2 is updated. If m1's checks fail, or 2 h
    # are over, m2 is updated without it.
    for _, reviews in sorted(_by_base(town).items()):
        busy = [review for review in reviews if _has_turn(town, tick, review)]
        behind = [review for review in reviews if _may_be_updated(town, review)]
        asked = {review.id: _asked_at(review) for review in behind}
        waiting = [review for review in behind if tick.stale(asked[review.id], limits.BRANCH_UPDATE_CHECKS_FOR)]
        for review_id, at in asked.items():
            if at is not None and not tick.stale(at, limits.BRANCH_UPDATE_CHECKS_FOR):
                yield Due.later_than(at, limits.BRANCH_UPDATE_CHECKS_FOR, rows=(review_id,), wait="update_turn")
        if busy:
            yield from _turn_ends(busy, waiting)
        elif waiting:
            first = min(waiting, key=lambda each: place(each, now=tick.now))
            if first.pr_url is not None:
                yield UpdateBranch(bead_id=first.id, pr_url=first.pr_url)


def _turn_ends(busy: list[LiveReview], waiting: list[LiveReview]) -> Iterator[Due]:
    """The time at which the turn of each busy pull request is over, whatever its checks do."""
    rows = tuple(review.id for review in waiting)
    since = [ReviewNotes.own_updated_at.of(review.metadata) for review in busy]
    known = [at for at in since if at is not None]
    if rows and known:
        yield Due.later_than(max(known), limits.BRANCH_UPDATE_CHECKS_FOR, rows=rows, wait="update_turn")


def _by_base(town: TownReader) -> dict[Base, list[LiveReview]]:
    found: dict[Base, list[LiveReview]] = {}
    for review in town.reviews:
        if review.status is BeadStatus.IN_PROGRESS and review.pr_url is not None and review.rig_id is not None:
            rig = town.rigs.get(review.rig_id)
            repository = None if rig is None else rig.forge_repository_id
            found.setdefault((repository or review.rig_id, review.target_branch), []).append(review)
    return found


def _has_turn(town: TownReader, tick: Tick, review: LiveReview) -> bool:
    """Whether a pull request is about to enter the base: it is marked for merging, or its branch was updated and its checks run."""
    if review.id in town.blockers:
        return False
    obstacle = ReviewNotes.obstacle.of(review.metadata)
    if ReviewNotes.auto_merge_pending.of(review.metadata) or (EffectKind.UPDATE_BRANCH, review.id) in (
        town.unfinished_effects
    ):
        return True
    if not limits.within(ReviewNotes.own_updated_at.of(review.metadata), limits.BRANCH_UPDATE_CHECKS_FOR, now=tick.now):
        return False
    return obstacle is None or ReviewNotes.own_update_of.of(review.metadata) is not None


def _may_be_updated(town: TownReader, review: LiveReview) -> bool:
    """Whether the town may update a branch: it is behind its base and otherwise green, and nobody works on it."""
    if ReviewNotes.obstacle.of(review.metadata) != "behind_base" or review.id in town.blockers:
        return False
    settings = town.settings(review.rig_id)
    if not settings.wants_auto_merge or settings.upstream is not None:
        return False
    return ReviewNotes.own_updates.of(review.metadata) < limits.BRANCH_UPDATES and not _is_worked_on(town, review)


def _asked_at(review: LiveReview) -> datetime | None:
    """When the update of the present head was requested; None if it was not.

    One head is updated once: a refusal, or an answer that was lost, is not repeated before the turn would be over.
    """
    asked = ReviewNotes.own_updated_at.of(review.metadata)
    seen = ReviewNotes.head_seen_at.of(review.metadata)
    return None if asked is None or (seen is not None and seen > asked) else asked


def _is_worked_on(town: TownReader, review: LiveReview) -> bool:
    """Whether anybody may push to the branch: an agent on the MR or its source, or any live bead about the branch."""
    source = town.review_sources.get(review.id)
    if review.id in town.hooks or (source is not None and source[0] in town.hooks):
        return True
    return review.id in _reviews_with_work(town)


def _reviews_with_work(town: TownReader) -> frozenset[str]:
    """The MRs about whose branch an issue is live: feedback, conflict, rework and fix-up beads."""

    def found() -> frozenset[str]:
        of_reviews = {BranchNotes.mr_bead_id.of(issue.metadata) for issue in town.issues}
        pull_requests = {BranchNotes.pr_url.of(issue.metadata) for issue in town.issues} - {None}
        return frozenset(each.id for each in town.reviews if each.id in of_reviews or each.pr_url in pull_requests)

    return town.once("reviews_with_work", found)


def leave_queue(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R1q: a pull request leaves its merge queue if its MR has ended or is blocked, or if it is another one than agreed.

    A call that fails is repeated until the pull request is out.
    """
    for review_id, not_before in sorted(town.keys.queued_reviews.items()):
        review = town.reviews_by_id.get(review_id)
        if town.is_unreadable(review_id) if review is None else _may_stay(town, review):
            continue
        if (EffectKind.DEQUEUE, review_id) in town.unfinished_effects:
            continue
        if tick.now < not_before:
            since = None if review is None else ReviewNotes.queued_at.of(review.metadata)
            yield Due(not_before, (review_id,), "dequeue_again", since)
        else:
            yield Dequeue(bead_id=review_id)


def _may_stay(town: TownReader, review: LiveReview) -> bool:
    """Whether a pull request may stay in its queue: its MR goes on, and it is still the one that the town would merge."""
    if review.status is not BeadStatus.IN_PROGRESS or review.id in town.blockers:
        return False
    return ReviewNotes.obstacle.of(review.metadata) not in _NOT_OURS


_NOT_OURS: Final = ("wrong_repository", "pr_mismatch", "untrusted_author")


def ask_reviewers(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """R1v: reviewers who requested changes are asked to review again after a push."""
    for review in town.reviews:
        if (
            review.status is BeadStatus.IN_PROGRESS
            and review.pr_url is not None
            and ReviewNotes.reviewers_to_ask.of(review.metadata)
            and (EffectKind.REQUEST_REVIEW, review.id) not in town.unfinished_effects
        ):
            yield RequestReview(bead_id=review.id, pr_url=review.pr_url)
