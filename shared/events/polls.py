"""The result of polling a pull request, and what follows from it (spec/actions.md section 5).

A successful poll only updates notes about the pull request. Its findings are appended as separate events, which are applied
in the same drain, so that the rules of the same tick already see the result. A poll that fails for good, or too often in a row,
fails the MR directly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, Self

from pydantic import model_validator

from shared.domain import limits
from shared.domain.config import EffectiveSettings
from shared.domain.forge_errors import ForgeErrorKind
from shared.domain.notes import BeadNotes, BranchNotes, Change, Note, ReviewNotes
from shared.domain.orders import PollOrder
from shared.domain.outcomes import MOVED_ON, Applied, Skipped
from shared.domain.states import BeadStatus, BeadType, EffectKind, Label
from shared.events.attempts import AttemptReport, settle_attempt
from shared.events.base import EventResult
from shared.events.fields import FreeText, Integer, Texts
from shared.events.forge import FeedbackSeen, ForgeProblem, IdentitySeen, RepositorySeen
from shared.town import inbox, lookup
from shared.town.inbox import Fact
from shared.town.rows import Bead, Review
from shared.town.town import Town
from shared.town.writing import beads, reviews
from shared.town.writing.beads import Failure

_CONFLICT_FREE: Final = ("clean", "blocked", "has_hooks")


@dataclass(frozen=True, slots=True)
class _Polled:
    """The merge request that was polled, as it was before the result was applied."""

    town: Town
    bead: Bead
    review: Review
    settings: EffectiveSettings

    def note(self, *changes: Change) -> None:
        """Store notes about the MR."""
        beads.note(self.town, self.bead.id, *changes)

    def append(self, event_type: str, **payload: object) -> None:
        """Append an event about the pull request to this drain."""
        given = {key: value for key, value in payload.items() if value is not None}
        inbox.append(self.town, event_type, {"pr_url": self.review.pr_url, **given}, bead_id=self.bead.id)

    def announce(self, name: str, **data: object) -> None:
        """Note a business event about the pull request."""
        self.town.business_event(name, {"bead_id": self.bead.id, "pr_url": self.review.pr_url, **data})


class PrPolled(AttemptReport):
    """The answer to a poll. `sha` is the merge commit, if the pull request was merged."""

    event_type: ClassVar[str] = "pr_polled"
    needs = ("bead_id",)

    ok: bool
    state: Literal["open", "merged", "closed"] | None = None
    head_sha: FreeText | None = None
    sha: FreeText | None = None
    mergeable_state: FreeText | None = None
    feedback: FeedbackSeen | None = None
    error: ForgeProblem | None = None
    identity: IdentitySeen | None = None
    rig_repository: RepositorySeen | None = None
    rig_problem: FreeText | None = None
    upstream_repository: RepositorySeen | None = None
    has_queue: bool = False
    in_queue: bool = False
    queue_position: Integer | None = None
    is_behind: bool = False
    head_parents: Texts = ()
    may_bypass: bool = False
    secret: FreeText | None = None
    is_platform: bool = False

    @model_validator(mode="after")
    def _has_answer(self) -> Self:
        if (self.state if self.ok else self.error) is None:
            raise ValueError("a poll with ok true requires a state, one with ok false requires an error")
        return self

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Apply the answer to the MR, if it is still in progress with this pull request."""
        recorded = settle_attempt(town, self, EffectKind.POLL_PR, success=self.ok)
        if isinstance(recorded, Skipped):
            return EventResult(recorded, transient=True)
        order = recorded.effect.order(PollOrder)
        polled = _polled(town, fact.bead_id, None if order is None else order.pr_url)
        if polled is None:
            return EventResult(MOVED_ON, transient=True)
        before = _trace(town, polled.bead.id)
        if self.ok:
            self._note_answer(polled)
        elif self.error is not None:
            _note_problem(polled, self.error)
        return EventResult(Applied(), transient=_trace(town, polled.bead.id) == before)

    def _note_answer(self, polled: _Polled) -> None:
        head = (ReviewNotes.head_sha.to(self.head_sha),) if self.head_sha else ()
        polled.note(*_forgotten_problems(polled.bead), *head)
        if self.state in ("merged", "closed"):
            polled.append("pr_status_changed", pr_state=self.state, sha=self.sha)
            return
        if self.mergeable_state in (None, "unknown"):
            return
        if self.mergeable_state == "dirty":
            _note_conflict(polled)
            return
        if self.mergeable_state in _CONFLICT_FREE:
            polled.note(ReviewNotes.has_conflicts.gone, ReviewNotes.conflicts_detected_at.gone)
        if self.feedback is None:
            return
        _note_approval(polled, self.feedback)
        _ask_for_work(polled, self.feedback)
        _judge_auto_merge(polled, self.feedback)


def _polled(town: Town, bead_id: str | None, asked_url: str | None) -> _Polled | None:
    bead = lookup.bead(town, bead_id)
    if bead is None or bead.type is not BeadType.MERGE_REQUEST or bead.status is not BeadStatus.IN_PROGRESS:
        return None
    review = lookup.review(town, bead.id)
    if review is None or review.pr_url is None or asked_url not in (None, review.pr_url):
        return None
    return _Polled(town, bead, review, town.settings(bead.rig_id))


def _trace(town: Town, bead_id: str) -> tuple[object, ...]:
    """Everything that a poll can change, except its outbox row and the time of the last feedback check."""
    bead = lookup.bead(town, bead_id)
    review = lookup.review(town, bead_id)
    return (
        None if bead is None else (bead.status, dict(bead.metadata)),
        None if review is None else review.auto_merge_ready_since,
        town.next_event_seq,
        len(town.business_events),
    )


# Step 1 of spec/actions.md section 5: the poll failed


def _note_problem(polled: _Polled, error: ForgeProblem) -> None:
    kind = error.effective_kind
    if error.wait_until is not None:
        latest = polled.town.tick.now + limits.RATE_LIMIT_AT_MOST
        wait_until = min(error.wait_until, latest)
        polled.note(ReviewNotes.poll_error_kind.to(kind), ReviewNotes.poll_not_before.to(wait_until))
        return
    if kind == "transient":
        failures = _counted(polled, kind, _TRANSIENT, other=_INVALID)
        over = failures >= limits.POLL_TRANSIENT_LIMIT
    elif kind == "invalid_response":
        failures = _counted(polled, kind, _INVALID, other=_TRANSIENT)
        over = failures >= limits.POLL_INVALID_LIMIT
    else:
        polled.note(ReviewNotes.poll_error_kind.to(kind))
        over = True
    if over:
        _fail(polled, kind, error)


_TRANSIENT: Final = ReviewNotes.poll_transient_count
_INVALID: Final = ReviewNotes.poll_non_transient_count


def _counted(polled: _Polled, kind: ForgeErrorKind, count: Note[int], *, other: Note[int]) -> int:
    """Count a failure of this kind, which ends a row of the other kind; returns how many there were in a row."""
    failures = count.of(polled.bead.metadata) + 1
    ended = (other.to(0),) if other.is_in(polled.bead.metadata) else ()
    polled.note(ReviewNotes.poll_error_kind.to(kind), count.to(failures), *ended)
    return failures


def _fail(polled: _Polled, kind: ForgeErrorKind, error: ForgeProblem) -> None:
    message = f"Reading the pull request {polled.review.pr_url} {_advice(kind, error)}."
    failure = Failure("pr_poll_failed", message, "review")
    if beads.move(polled.town, polled.bead.id, BeadStatus.FAILED, reason=message, failure=failure) == "moved":
        polled.note(BeadNotes.failure_kind.to(kind))
        polled.announce("pr.poll_failed", kind=kind, message=message)


def _advice(kind: ForgeErrorKind, error: ForgeProblem) -> str:
    """What went wrong and what to do, as the rest of a sentence."""
    if kind == "no_token":
        return "failed because no access token is stored for its host: store a token for this repository's host"
    if kind == "unrecognized_url":
        return "failed because its address is no pull request of a known forge: set the pull request's web address"
    if kind == "host_mismatch":
        return "failed because it is on another host than the rig's repository: set the rig's git_url to that host"
    said = f" ({error.message})" if error.message else ""
    if kind == "transient":
        return (
            f"failed {limits.POLL_TRANSIENT_LIMIT} times in a row{said}: see that its host can be reached, then reopen"
        )
    if kind == "invalid_response":
        return (
            f"gave {limits.POLL_INVALID_LIMIT} unreadable answers in a row{said}: see that the address leads to "
            "the forge's API and not to a login page or proxy, then reopen"
        )
    status = "an error" if error.http_status is None else f"HTTP {error.http_status}"
    return f"was answered with {status}{said}: store a token that may read this repository, or correct the address"


# Step 2: it succeeded


def _forgotten_problems(bead: Bead) -> Iterator[Change]:
    """The changes that remove the error kind and reset both counters, if they are stored."""
    yield ReviewNotes.poll_error_kind.gone
    for count in (_TRANSIENT, _INVALID):
        if count.is_in(bead.metadata):
            yield count.to(0)


# Step 4: the pull request conflicts with its target


def _note_conflict(polled: _Polled) -> None:
    town, bead = polled.town, polled.bead
    reviews.set_ready_since(town, bead.id, None)
    if not ReviewNotes.has_conflicts.of(bead.metadata):
        polled.note(ReviewNotes.has_conflicts.to(True), ReviewNotes.conflicts_detected_at.to(town.tick.now))
    elif not _may_ask_again(polled):
        return
    source = lookup.source_of(town, bead.id)
    source_id = None if source is None else source.id
    polled.append("pr_conflict_detected", branch=polled.review.branch, source_bead_id=source_id)


def _may_ask_again(polled: _Polled) -> bool:
    """Whether a known conflict should be resolved by an agent and no bead for that is live."""
    if not polled.settings.auto_resolve_merge_conflicts or ReviewNotes.conflict_cap_escalated.of(polled.bead.metadata):
        return False
    return not any(
        blocker.live and (Label.PR_CONFLICT in blocker.labels or BranchNotes.has_conflicts.of(blocker.metadata))
        for blocker in lookup.unresolved_blockers(polled.town, polled.bead.id)
    )


# Steps 6 to 8: feedback


def _note_approval(polled: _Polled, feedback: FeedbackSeen) -> None:
    awaited = ReviewNotes.awaiting_approval.of(polled.bead.metadata)
    observed = ReviewNotes.awaiting_approval_observed_at
    changes = [
        ReviewNotes.awaiting_approval.to(feedback.awaiting_approval),
        ReviewNotes.review_decision.to(feedback.review_decision),
        ReviewNotes.merge_state_status.to(feedback.merge_state_status),
    ]
    if feedback.awaiting_approval and not awaited:
        changes.append(observed.to(polled.town.tick.now))
        polled.announce("pr.awaiting_approval_detected")
    elif awaited and not feedback.awaiting_approval:
        changes.append(observed.gone)
        polled.announce("pr.awaiting_approval_resolved", duration_ms=_waited(polled))
    polled.note(*changes)


def _waited(polled: _Polled) -> int | None:
    """How long approval was awaited, in milliseconds; None if the beginning was not noted."""
    since = ReviewNotes.awaiting_approval_observed_at.of(polled.bead.metadata)
    return None if since is None else (polled.town.tick.now - since) // limits.MILLISECOND


def _ask_for_work(polled: _Polled, feedback: FeedbackSeen) -> None:
    town, bead = polled.town, polled.bead
    if not polled.settings.auto_resolve_pr_feedback or not feedback.wants_work:
        return
    reviews.note_feedback_check(town, bead.id)
    if ReviewNotes.feedback_cap_escalated.of(bead.metadata):
        return
    if lookup.live_blocker_with_label(town, bead.id, Label.PR_FEEDBACK) is not None:
        return
    polled.append(
        "pr_feedback_detected",
        branch=polled.review.branch,
        has_unresolved_comments=feedback.has_unresolved_comments,
        has_failing_checks=feedback.has_failing_checks,
        has_unchecked_runs=feedback.has_unchecked_runs,
    )


def _judge_auto_merge(polled: _Polled, feedback: FeedbackSeen) -> None:
    town, bead = polled.town, polled.bead
    delay = polled.settings.auto_merge_delay
    if not polled.settings.auto_merge or delay is None:
        reviews.set_ready_since(town, bead.id, None)
        return
    if not feedback.green:
        reviews.set_ready_since(town, bead.id, None)
        polled.note(ReviewNotes.auto_merge_pending.gone)
        return
    since = polled.review.auto_merge_ready_since
    if since is None:
        since = town.tick.now
        reviews.set_ready_since(town, bead.id, town.tick.now_text)
    if town.tick.now - since < delay or ReviewNotes.auto_merge_pending.of(bead.metadata):
        return
    if not _is_being_reviewed(town, bead.id):
        polled.append("pr_auto_merge")


def _is_being_reviewed(town: Town, bead_id: str) -> bool:
    """Whether an agent is reviewing. It may be about to comment, so the pull request is not merged until it has finished."""
    return any(agent.status.busy for agent in lookup.agents_hooked_to(town, bead_id))
