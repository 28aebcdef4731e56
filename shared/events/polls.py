"""The result of polling a pull request, and what follows from it (spec/actions.md section 5).

A successful poll only updates notes about the pull request. Its findings are appended as separate events, which are applied
in the same drain, so that the rules of the same tick already see the result. A poll that could not look judges nothing: see
`shared.events.episodes`.
"""

from typing import ClassVar, Final, Literal, Self

from pydantic import model_validator

from shared.actions.base import Action
from shared.domain import limits
from shared.domain.notes import ReviewNotes
from shared.domain.obstacles import Obstacle
from shared.domain.orders import PollOrder
from shared.domain.outcomes import MOVED_ON, Applied, Skipped
from shared.domain.states import EffectKind
from shared.events import episodes, findings, identity, obstacles
from shared.events.attempts import AttemptReport, settle_attempt
from shared.events.base import EventResult
from shared.events.fields import FreeText, Integer, Texts
from shared.events.findings import Role
from shared.events.forge import FeedbackSeen, ForgeProblem, IdentitySeen, RepositorySeen
from shared.events.identity import Answered, Verdict
from shared.events.polled import Polled, polled
from shared.town import lookup
from shared.town.inbox import Fact
from shared.town.town import Town
from shared.town.writing import merging, reviews

_CONFLICT_FREE: Final = ("clean", "blocked", "has_hooks")
_NEVER_READABLE: Final = ("unrecognized_url", "host_mismatch")
"""The errors that no later poll can end: the address of the pull request or of the rig is wrong."""


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
        about = polled(town, fact.bead_id, None if order is None else order.pr_url)
        if about is None:
            return EventResult(MOVED_ON, transient=True)
        before = _trace(town, about.bead.id)
        returns: tuple[Action, ...] = ()
        if self.ok:
            returns = self._note_answer(about, order)
        elif self.error is not None:
            returns = _note_problem(about, self.error)
        is_news = _trace(town, about.bead.id) != before
        if is_news or ReviewNotes.changed_at.of(about.bead.metadata) is None:
            about.note(ReviewNotes.changed_at.to(town.tick.now))
        return EventResult(Applied(), returns, transient=not is_news)

    def _note_answer(self, about: Polled, order: PollOrder | None) -> tuple[Action, ...]:
        episodes.looked(about, secret=self.secret)
        if self.state == "open" and merging.is_late(about.town, about.bead, self.head_sha):
            return ()
        self._note_head(about)
        answered = Answered(
            is_over=self.state in ("merged", "closed"),
            identity=self.identity,
            rig_repository=self.rig_repository,
            rig_problem=self.rig_problem,
            upstream=self.upstream_repository,
            asked_rig=None if order is None else order.rig_repository,
        )
        verdict = identity.judged(about, answered)
        if self.state in ("merged", "closed"):
            return self._note_end(about, verdict)
        if verdict.kind in ("wrong_repository", "wrong_base", "other"):
            return _note_mismatch(about, verdict)
        about.note(ReviewNotes.retarget_asked.gone, ReviewNotes.pr_closed.gone)
        return self._note_open(about)

    def _note_head(self, about: Polled) -> None:
        """Note the head, and since when the town has seen it."""
        if not self.head_sha or merging.follow_head(about.town, about.now_stored, self.head_sha, self.head_parents):
            return
        # an MR of an earlier release has a head without the time at which it was first seen
        if ReviewNotes.head_seen_at.of(about.bead.metadata) is None:
            about.note(ReviewNotes.head_seen_at.to(about.town.tick.now))

    def _note_end(self, about: Polled, verdict: Verdict) -> tuple[Action, ...]:
        """The pull request is merged or closed. A merge of another one, or into another branch, is not the merge of this work."""
        if verdict.kind == "other" or (self.state == "merged" and verdict.kind == "wrong_repository"):
            return _note_mismatch(about, verdict)
        if self.state == "merged" and verdict.kind == "wrong_base":
            identity.claim_merge_elsewhere(about, verdict, sha=self.sha, head_sha=self.head_sha)
            reviews.set_obstacle(about.town, about.now_stored, "merge_unproven", verdict.says)
            return ()
        if self.state == "closed" and _is_being_replaced(about):
            return ()
        about.append("pr_status_changed", pr_state=self.state, sha=self.sha)
        return ()

    def _note_open(self, about: Polled) -> tuple[Action, ...]:
        forked = identity.is_forked(about.now_stored.metadata)
        role = Role(
            works=not forked, merges=not forked and about.settings.upstream is None, is_queued=self._queued(about)
        )
        if self.mergeable_state in (None, "unknown"):
            obstacles.note(about, self, role, is_green=None)
            return ()
        if self.mergeable_state == "dirty":
            findings.note_conflict(about, role)
            obstacles.note(about, self, role, is_green=False)
            return ()
        if self.mergeable_state in _CONFLICT_FREE:
            about.note(ReviewNotes.has_conflicts.gone, ReviewNotes.conflicts_detected_at.gone)
        if self.feedback is None:
            obstacles.note(about, self, role, is_green=None)
            return ()
        told = self._note_checks(about, self.feedback)
        findings.note_approval(about, self.feedback)
        if role.works:
            findings.ask_for_work(about, self.feedback)
            findings.note_change_requests(about, self.feedback, self.head_sha)
        is_green = findings.judge_auto_merge(about, self, role)
        obstacles.note(about, self, role, is_green=is_green)
        return (*told, *findings.ask_for_review(about, self, role))

    def _queued(self, about: Polled) -> bool:
        """Whether the pull request counts as queued: then it is neither judged for merging nor merged."""
        return merging.see_queue(about.town, about.now_stored, in_queue=self.in_queue, position=self.queue_position)

    def _note_checks(self, about: Polled, feedback: FeedbackSeen) -> tuple[Action, ...]:
        if feedback.checks_unreadable:
            return episodes.checks_refused(about, secret=self.secret, is_platform=self.is_platform)
        episodes.checks_read(about)
        return ()


def _is_being_replaced(about: Polled) -> bool:
    """Whether the review was reopened after its pull request had been closed, and an agent works on it: it may open another one."""
    return bool(ReviewNotes.pr_closed.of(about.bead.metadata) and lookup.hooked_agent_ids(about.town, about.bead.id))


def _trace(town: Town, bead_id: str) -> tuple[object, ...]:
    """Everything that a poll can change, except its outbox row and the time of the last feedback check."""
    bead = lookup.bead(town, bead_id)
    review = lookup.review(town, bead_id)
    return (
        None if bead is None else (bead.status, dict(bead.metadata)),
        None if review is None else review.auto_merge_ready_since,
        town.next_event_seq,
        town.next_audit_seq,
        town.keys.forge_episodes,
        len(town.business_events),
    )


def _note_problem(about: Polled, error: ForgeProblem) -> tuple[Action, ...]:
    """The poll failed. A limit of the forge is only waited for; what cannot be read is no verdict on the work."""
    kind = error.effective_kind
    if error.wait_until is not None:
        latest = about.town.tick.now + limits.RATE_LIMIT_AT_MOST
        wait_until = min(error.wait_until, latest)
        about.note(ReviewNotes.poll_error_kind.to(kind), ReviewNotes.poll_not_before.to(wait_until))
        return ()
    if kind in _NEVER_READABLE:
        return _at_another_place(about, error)
    return episodes.could_not_look(about, error)


def _at_another_place(about: Polled, error: ForgeProblem) -> tuple[Action, ...]:
    """The address leads to no forge, or to another one than the rig's. If it could be read before, the rig has moved since."""
    if ReviewNotes.head_sha.of(about.bead.metadata) is None:
        episodes.fail(about, error)
        return ()
    reviews.set_ready_since(about.town, about.bead.id, None)
    about.note(ReviewNotes.auto_merge_pending.gone)
    reviews.set_obstacle(about.town, about.now_stored, "wrong_repository", error.message or error.effective_kind)
    return ()


def _note_mismatch(about: Polled, verdict: Verdict) -> tuple[Action, ...]:
    """The pull request is not the agreed one: it is not merged, and somebody must act."""
    if verdict.kind == "other" and not about.babysat:
        return identity.fail(about, verdict)
    reviews.set_ready_since(about.town, about.bead.id, None)
    about.note(ReviewNotes.auto_merge_pending.gone)
    if verdict.kind == "wrong_base" and not about.babysat and identity.ask_to_retarget(about):
        reviews.set_obstacle(about.town, about.now_stored, None)
        return ()
    obstacle: Obstacle = "wrong_repository" if verdict.kind == "wrong_repository" else "pr_mismatch"
    reviews.set_obstacle(about.town, about.now_stored, obstacle, verdict.says)
    return ()
