"""Events about the pull requests of merge request beads (spec/events.md 4.5).

Feedback and conflicts become issues that block the merge request: one of each kind at a time, and a limited number of each
kind; after that a person is asked, once.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from shared.actions import NotifyMayor
from shared.domain import limits
from shared.domain.notes import BranchNotes, Change, EscalationNotes, Note, ReviewNotes, known
from shared.domain.outcomes import MISSING, TERMINAL, Applied, Skipped
from shared.domain.quoting import line, name
from shared.domain.states import SYSTEM, BeadType, Label
from shared.events.base import Event, EventResult
from shared.events.fields import FreeText, Integer, NonEmptyText, Texts
from shared.events.forge import Comments
from shared.events.identity import is_forked
from shared.town import lookup, new_ids
from shared.town.inbox import Fact
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import audit, beads, escalations, merging, reviews

ALREADY: Final = EventResult(Skipped("already"))
FOREIGN: Final = EventResult(Skipped("foreign"))
"""The town neither works on the pull request of a fork nor merges into an upstream repository: people do."""


def _live_review(fact: Fact, town: Town) -> Bead | EventResult:
    """The live merge request that an event is about, or the result if there is none."""
    review = lookup.bead(town, fact.bead_id)
    if review is None or review.type is not BeadType.MERGE_REQUEST:
        return EventResult(MISSING)
    return review if review.live else EventResult(TERMINAL)


def _workable_review(fact: Fact, town: Town) -> Bead | EventResult:
    """The same, if the town may work on its pull request: a babysat one of a fork is only polled."""
    review = _live_review(fact, town)
    if isinstance(review, Bead) and is_forked(review.metadata):
        return FOREIGN
    return review


def _create_follow_up(
    town: Town,
    review: Bead,
    *,
    label: str,
    title: str,
    body: str,
    pr_url: str,
    branch: str | None,
    more: Sequence[Change] = (),
) -> EventResult:
    """Create an issue that blocks the merge request. `more`: what else its agent must know."""
    branches = lookup.review(town, review.id)
    about = (
        *more,
        BranchNotes.mr_bead_id.to(review.id),
        BranchNotes.pr_url.to(pr_url),
        BranchNotes.branch.to(branch if branches is None else branch or branches.branch),
        BranchNotes.target_branch.to(None if branches is None else branches.target_branch),
    )
    issue = beads.create(
        town,
        beads.NewBead(
            id=new_ids.for_bead(town),
            type=BeadType.ISSUE,
            title=title,
            body=body,
            rig_id=review.rig_id,
            parent_id=review.id,
            labels=(label,),
            metadata=known(about),
            created_by=SYSTEM,
        ),
    )
    beads.add_edge(town, review.id, issue, "blocks")
    return EventResult(Applied())


Cap = Literal["feedback_cap", "conflict_cap"]
_CAP_ESCALATED: Final[Mapping[Cap, Note[bool]]] = {
    "feedback_cap": ReviewNotes.feedback_cap_escalated,
    "conflict_cap": ReviewNotes.conflict_cap_escalated,
}


def _escalate_once(town: Town, review: Bead, category: Cap, title: str) -> EventResult:
    """Ask a person instead of creating another issue; only once per merge request and cap."""
    flag = _CAP_ESCALATED[category]
    if flag.of(review.metadata):
        return EventResult(Skipped("cap"))
    beads.note(town, review.id, flag.to(True))
    escalations.escalate(
        town,
        title,
        severity="high",
        category=category,
        rig_id=review.rig_id,
        about=(EscalationNotes.mr_bead_id.to(review.id),),
    )
    return EventResult(
        Applied(), (NotifyMayor(subject=f"cap:{review.id}", message=f"Escalation (high): {line(title)}"),)
    )


class PrStatusChanged(Event):
    """A pull request was merged, closed or opened."""

    event_type = "pr_status_changed"
    needs = ("bead_id",)
    senders = frozenset({"operator"})

    pr_url: FreeText
    pr_state: Literal["open", "merged", "closed"]
    sha: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """End the review in the same way as the pull request. A merge counts even while rework is open.

        A merge after the end of the review is only recorded.
        """
        review = _live_review(fact, town)
        if isinstance(review, EventResult):
            return self._of_ended_review(town, lookup.bead(town, fact.bead_id)) or review
        if self.pr_state == "merged":
            reviews.complete(town, review.id, "merged", message="the pull request was merged", sha=self.sha)
        elif self.pr_state == "closed":
            reviews.complete(town, review.id, "failed", message="closed without merge")
            reviews.note_pull_request_over(town, review.id)
            beads.note(town, review.id, ReviewNotes.pr_closed.to(True))
        return EventResult(Applied())

    def _of_ended_review(self, town: Town, review: Bead | None) -> EventResult | None:
        """The end of a pull request whose review ended before it is noted; None if there is nothing new."""
        if review is None or review.type is not BeadType.MERGE_REQUEST or self.pr_state == "open":
            return None
        if self.pr_state == "merged" and merging.record_late_merge(town, review, self.sha):
            return EventResult(Applied())
        if not reviews.note_pull_request_over(town, review.id):
            return None
        if self.pr_state == "closed":
            beads.note(town, review.id, ReviewNotes.pr_closed.to(True))
        return EventResult(Applied())


class PrFeedbackDetected(Event):
    """A pull request has unresolved comments, failing checks or checks that did not run."""

    event_type = "pr_feedback_detected"
    needs = ("bead_id",)
    senders = frozenset({"operator"})

    pr_url: FreeText
    pr_number: Integer | None = None
    repo: FreeText | None = None
    branch: NonEmptyText | None = None
    has_unresolved_comments: bool
    has_failing_checks: bool
    has_unchecked_runs: bool
    retarget_to: NonEmptyText | None = None
    change_requests: Texts = ()
    all_runs_counted: bool = False
    comments: Comments = ()

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Create a feedback bead that blocks the merge request, unless one is live. A live conflict bead takes on the feedback."""
        review = _workable_review(fact, town)
        if isinstance(review, EventResult):
            return review
        if lookup.live_blocker_with_label(town, review.id, Label.PR_FEEDBACK) is not None:
            return ALREADY
        conflict = lookup.live_blocker_with_label(town, review.id, Label.PR_CONFLICT)
        if conflict is not None:
            beads.note(town, conflict.id, BranchNotes.has_feedback.to(True), *self._comments())
            return EventResult(Applied())
        if lookup.children_with_label(town, review.id, Label.PR_FEEDBACK) >= limits.FEEDBACK_BEAD_CAP:
            return _escalate_once(town, review, "feedback_cap", f"Feedback does not end: {review.title}")
        if self.change_requests:
            had = ReviewNotes.change_requests.of(review.metadata)
            beads.note(town, review.id, ReviewNotes.change_requests.to((*had, *self.change_requests)))
        return _create_follow_up(
            town,
            review,
            label=Label.PR_FEEDBACK,
            title=f"PR feedback: {review.title}",
            body=self._body(),
            pr_url=self.pr_url,
            branch=self.branch,
            more=(BranchNotes.retarget_to.to(self.retarget_to), *self._comments()),
        )

    def _comments(self) -> tuple[Change, ...]:
        """The comments for the agent, if there are any."""
        return (BranchNotes.comments.to(tuple(each.noted() for each in self.comments)),) if self.comments else ()

    def _body(self) -> str:
        if self.retarget_to is not None:
            return (
                f"Retarget {name(self.pr_url)} to {name(self.retarget_to)}: change its base branch, and nothing else."
            )
        kinds = {
            "unresolved comments": self.has_unresolved_comments,
            "failing checks": self.has_failing_checks,
            "checks that did not run": self.has_unchecked_runs,
            f"changes requested in review {', '.join(map(name, self.change_requests))}": bool(self.change_requests),
        }
        found = [kind for kind, is_there in kinds.items() if is_there is True]
        said = f"Resolve on {name(self.pr_url)}: {', '.join(found) or 'the feedback'}."
        if self.all_runs_counted:
            said += " Every run of a check counts, because the token may not read workflows (it needs Actions: read)."
        return said


class PrConflictDetected(Event):
    """A pull request cannot be merged into its target branch."""

    event_type = "pr_conflict_detected"
    needs = ("bead_id",)
    senders = frozenset({"operator"})

    pr_url: FreeText
    branch: NonEmptyText | None = None
    source_bead_id: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Let an agent resolve the conflict, or ask a person if the settings do not let agents resolve conflicts."""
        review = _workable_review(fact, town)
        if isinstance(review, EventResult):
            return review
        if lookup.live_blocker_with_label(town, review.id, Label.PR_CONFLICT) is not None:
            return ALREADY
        if not town.settings(review.rig_id).auto_resolve_merge_conflicts:
            return self._ask_a_person(town, review)
        feedback = lookup.live_blocker_with_label(town, review.id, Label.PR_FEEDBACK)
        if feedback is not None:
            target = lookup.review(town, review.id)
            with_branch = BranchNotes.conflict_target_branch.to(None if target is None else target.target_branch)
            beads.note(town, feedback.id, BranchNotes.has_conflicts.to(True), with_branch)
            return EventResult(Applied())
        if lookup.children_with_label(town, review.id, Label.PR_CONFLICT) >= limits.CONFLICT_BEAD_CAP:
            return _escalate_once(town, review, "conflict_cap", f"Conflicts do not end: {review.title}")
        return _create_follow_up(
            town,
            review,
            label=Label.PR_CONFLICT,
            title=f"Resolve conflicts: {review.title}",
            body=f"{name(self.pr_url)} conflicts with its target branch. Resolve the conflicts on its own branch.",
            pr_url=self.pr_url,
            branch=self.branch,
        )

    def _ask_a_person(self, town: Town, review: Bead) -> EventResult:
        """Escalate, unless such an escalation is live."""
        if lookup.live_escalation_about(town, review.id, "merge_conflict") is not None:
            return ALREADY
        title = f"Merge conflict: {review.title}"
        escalation_id = escalations.escalate(
            town,
            title,
            severity="high",
            category="merge_conflict",
            body=f"{name(self.pr_url)} conflicts with its target branch, and agents do not resolve conflicts here.",
            rig_id=review.rig_id,
            about=(EscalationNotes.mr_bead_id.to(review.id), EscalationNotes.pr_url.to(self.pr_url)),
        )
        mayor = lookup.mayor(town)
        escalations.open_triage_request(
            town,
            agent_id=None if mayor is None else mayor.id,
            triage_type="escalation",
            reason=title,
            escalation_bead_id=escalation_id,
        )
        return EventResult(Applied())


class PrAutoMerge(Event):
    """A pull request has been green for long enough."""

    event_type = "pr_auto_merge"
    needs = ("bead_id",)
    senders = frozenset({"operator"})

    pr_url: FreeText

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Mark it for merging; a rule of the same tick requests the merge."""
        review = _workable_review(fact, town)
        if isinstance(review, EventResult):
            return review
        if town.settings(review.rig_id).upstream is not None:
            return FOREIGN
        beads.note(town, review.id, ReviewNotes.auto_merge_pending.to(True))
        return EventResult(Applied())


class PrAdopted(Event):
    """An operator vouches for a pull request whose author is not among the trusted ones."""

    event_type = "pr_adopted"
    needs = ("bead_id",)
    senders = frozenset({"operator"})

    by: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """From now on the author of this pull request is not compared."""
        review = _live_review(fact, town)
        if isinstance(review, EventResult):
            return review
        if not beads.note(town, review.id, ReviewNotes.adopted.to(True)):
            return ALREADY
        about = {"fields": ["adopted"], "by": self.by}
        audit.record(town, review.id, "fields_updated", metadata={k: v for k, v in about.items() if v is not None})
        return EventResult(Applied())
