"""What a poll found on an open pull request, and what follows from it (spec/actions.md section 5, steps 5 to 10)."""

from dataclasses import dataclass

from shared.actions import EscalateReviewCap
from shared.actions.base import Action
from shared.domain import limits
from shared.domain.green import Checks, hindrance
from shared.domain.merge_state import head_may_merge, may_try
from shared.domain.notes import BranchNotes, ReviewNotes
from shared.domain.states import BeadStatus, Label
from shared.events.forge import FeedbackSeen, OpenSeen
from shared.events.polled import Polled
from shared.town import lookup
from shared.town.town import Town
from shared.town.writing import beads, merging, reviews


@dataclass(frozen=True, slots=True)
class Role:
    """What the town may do with a pull request: work on it, and merge it. While it `is_queued`, nothing is merged."""

    works: bool
    merges: bool
    is_queued: bool = False


def checks_of(about: Polled) -> Checks:
    """The settings about checks that apply to a pull request."""
    return Checks(required_only=about.settings.required_checks_only, needed=about.settings.require_checks)


# A conflict with the target


def note_conflict(about: Polled, role: Role) -> None:
    """The pull request conflicts with its target: an agent resolves that, where the town may work on it."""
    town, bead = about.town, about.bead
    reviews.set_ready_since(town, bead.id, None)
    if not ReviewNotes.has_conflicts.of(bead.metadata):
        about.note(ReviewNotes.has_conflicts.to(True), ReviewNotes.conflicts_detected_at.to(town.tick.now))
    elif not _may_ask_again(about):
        return
    if role.works:
        source = lookup.source_of(town, bead.id)
        source_id = None if source is None else source.id
        about.append("pr_conflict_detected", branch=about.review.branch, source_bead_id=source_id)


def _may_ask_again(about: Polled) -> bool:
    """Whether a known conflict should be resolved by an agent and no bead for that is live."""
    if not about.settings.auto_resolve_merge_conflicts or ReviewNotes.conflict_cap_escalated.of(about.bead.metadata):
        return False
    return not any(
        blocker.live and (Label.PR_CONFLICT in blocker.labels or BranchNotes.has_conflicts.of(blocker.metadata))
        for blocker in lookup.unresolved_blockers(about.town, about.bead.id)
    )


# Approval


def note_approval(about: Polled, feedback: FeedbackSeen) -> None:
    """Note whether only a person's approval is missing, and announce the beginning and the end of that."""
    awaited = ReviewNotes.awaiting_approval.of(about.bead.metadata)
    observed = ReviewNotes.awaiting_approval_observed_at
    changes = [
        ReviewNotes.awaiting_approval.to(feedback.awaiting_approval),
        ReviewNotes.review_decision.to(feedback.review_decision),
    ]
    merging.see_merge_state(about.town, about.now_stored, feedback.merge_state_status)
    if feedback.awaiting_approval and not awaited:
        changes.append(observed.to(about.town.tick.now))
        about.announce("pr.awaiting_approval_detected")
    elif awaited and not feedback.awaiting_approval:
        changes.append(observed.gone)
        about.announce("pr.awaiting_approval_resolved", duration_ms=_waited(about))
    about.note(*changes)


def _waited(about: Polled) -> int | None:
    """How long approval was awaited, in milliseconds; None if the beginning was not noted."""
    since = ReviewNotes.awaiting_approval_observed_at.of(about.bead.metadata)
    return None if since is None else (about.town.tick.now - since) // limits.MILLISECOND


# Work that an agent can do


def ask_for_work(about: Polled, feedback: FeedbackSeen) -> None:
    """Hand comments, failing checks and requested changes to an agent, one bead at a time."""
    town, bead = about.town, about.bead
    if not about.settings.auto_resolve_pr_feedback:
        return
    failing = _failing(about, feedback)
    unchecked = feedback.has_unchecked_runs and not feedback.checks_unreadable
    is_work = feedback.has_unresolved_comments or failing or unchecked
    requests = _new_requests(about, feedback, only_first=not feedback.has_unresolved_comments)
    if not is_work and not requests:
        return
    reviews.note_feedback_check(town, bead.id)
    if ReviewNotes.feedback_cap_escalated.of(bead.metadata):
        return
    if lookup.live_blocker_with_label(town, bead.id, Label.PR_FEEDBACK) is not None:
        return
    about.append(
        "pr_feedback_detected",
        branch=about.review.branch,
        has_unresolved_comments=feedback.has_unresolved_comments,
        has_failing_checks=failing,
        has_unchecked_runs=unchecked,
        change_requests=list(requests) or None,
        all_runs_counted=True if failing and feedback.all_runs_counted else None,
        comments=[each.noted() for each in feedback.comments] or None,
    )


def _failing(about: Polled, feedback: FeedbackSeen) -> bool:
    """Whether a check fails that counts by the settings. Checks that cannot be read are neither failing nor passing."""
    if feedback.checks_unreadable:
        return False
    if about.settings.required_checks_only and feedback.required_known and feedback.required_pass:
        return False
    return feedback.has_failing_checks or feedback.required_failing


def _new_requests(about: Polled, feedback: FeedbackSeen, *, only_first: bool) -> tuple[str, ...]:
    """The reviews that request changes and have had no feedback bead.

    With open comments they are all answered by the bead about these; without, each review has a bead of its own.
    """
    if not feedback.changes_requested:
        return ()
    had = ReviewNotes.change_requests.of(about.bead.metadata)
    new = tuple(each.id for each in feedback.change_requests if each.id not in had)
    return new[:1] if only_first else new


def note_change_requests(about: Polled, feedback: FeedbackSeen, head: str | None) -> None:
    """Note who requests changes at this head: they are asked to review again after a push."""
    if head is not None:
        requests = feedback.change_requests if feedback.changes_requested else ()
        authors = {each.id: each.author for each in requests}
        merging.see_change_requests(about.town, about.now_stored, authors, head)


# Merging by itself


def judge_auto_merge(about: Polled, seen: OpenSeen, role: Role) -> bool:
    """Begin, continue or end the green period, and ask for the merge at its end. Returns whether the pull request is green."""
    town, bead = about.town, about.bead
    is_green = green(about, seen)
    delay = about.settings.auto_merge_delay
    if not role.merges or role.is_queued or not about.settings.auto_merge or delay is None:
        reviews.set_ready_since(town, bead.id, None)
        return is_green
    if not is_green:
        reviews.set_ready_since(town, bead.id, None)
        about.note(ReviewNotes.auto_merge_pending.gone)
        return False
    if seen.is_behind and not seen.has_queue:
        # A strict base would refuse it. The rule R1u brings it up to date, and the checks of the new head decide.
        reviews.set_ready_since(town, bead.id, None)
        about.note(ReviewNotes.auto_merge_pending.gone)
        return True
    since = about.review.auto_merge_ready_since
    if since is None:
        since = town.tick.now
        reviews.set_ready_since(town, bead.id, town.tick.now_text)
    if town.tick.now - since < delay or ReviewNotes.auto_merge_pending.of(bead.metadata):
        return True
    if not _is_being_reviewed(town, bead.id) and may_try(about.now_stored.metadata, town.tick.now):
        about.append("pr_auto_merge")
    return True


def green(about: Polled, seen: OpenSeen) -> bool:
    """Whether nothing prevents the merge. A branch that is only behind its base is green: the town can update it."""
    # The only place where a poll decides this: a further condition for merging belongs here.
    return _lacks_at_most_a_review(about, seen) and _is_passed(about)


def _is_passed(about: Polled) -> bool:
    return head_may_merge(about.now_stored.metadata, about.settings)


def _lacks_at_most_a_review(about: Polled, seen: OpenSeen) -> bool:
    found = hindrance(seen, checks_of(about))
    if found is not None and found.refusal != "behind":
        return False
    return _is_trusted(about, seen) and _head_has_settled(about)


def ask_for_review(about: Polled, seen: OpenSeen, role: Role) -> tuple[Action, ...]:
    """A pull request that lacks only a review of its head goes back for one. At its cap, people are asked to review it."""
    town, bead = about.town, about.bead
    if not lacks_a_review(about, seen, role) or lookup.agents_hooked_to(town, bead.id):
        return ()
    if _reviews_used_up(about):
        return (EscalateReviewCap(bead_id=bead.id, attempts=bead.dispatch_attempts),)
    if not lookup.unresolved_blockers(town, bead.id):
        reason = "its head has not been reviewed"
        beads.move(town, bead.id, BeadStatus.OPEN, from_=BeadStatus.IN_PROGRESS, reason=reason)
    return ()


def lacks_a_review(about: Polled, seen: OpenSeen, role: Role) -> bool:
    """Whether nothing but a review of its head keeps a pull request from being merged by the town."""
    wanted = role.merges and not role.is_queued and about.settings.wants_auto_merge
    return wanted and not _is_passed(about) and _lacks_at_most_a_review(about, seen)


def waits_for_people(about: Polled, seen: OpenSeen, role: Role) -> bool:
    """Whether it lacks a review, and refineries have tried often enough: only a person merges it now."""
    return lacks_a_review(about, seen, role) and _reviews_used_up(about)


def is_left_to_people(about: Polled, seen: OpenSeen, role: Role) -> bool:
    """Whether a person merges it and could do so now. A person needs no refinery's word for that."""
    merges_itself = role.merges and about.settings.wants_auto_merge
    return not merges_itself and not role.is_queued and _lacks_at_most_a_review(about, seen)


def _reviews_used_up(about: Polled) -> bool:
    return about.bead.dispatch_attempts >= about.settings.max_dispatch_attempts


def _head_has_settled(about: Polled) -> bool:
    """Whether the town has seen this head for a while. A pushed head lists few checks at first, and those may all be green."""
    since = ReviewNotes.head_seen_at.of(about.now_stored.metadata)
    return since is not None and about.town.tick.now - since >= limits.HEAD_SETTLES_FOR


def _is_trusted(about: Polled, seen: OpenSeen) -> bool:
    return not untrusted(about, seen)


def untrusted(about: Polled, seen: OpenSeen) -> bool:
    """Whether the pull request was opened by somebody whom the settings do not trust, and no operator has adopted it."""
    trusted = about.settings.trusted_authors
    if not trusted or seen.identity is None or ReviewNotes.adopted.of(about.bead.metadata):
        return False
    author = seen.identity.author
    return author is None or author.lower() not in [each.lower() for each in trusted]


def _is_being_reviewed(town: Town, bead_id: str) -> bool:
    """Whether an agent is reviewing. It may be about to comment, so the pull request is not merged until it has finished."""
    return any(agent.status.busy for agent in lookup.agents_hooked_to(town, bead_id))
