"""Applies the report of an agent that its review is done (spec/data-model.md 3.13, steps b and c)."""

from dataclasses import dataclass
from typing import Final

from shared.domain import repositories
from shared.domain.notes import BeadNotes, EscalationNotes, ReviewNotes
from shared.domain.outcomes import Applied, EventOutcome, Rejected, Skipped
from shared.domain.quoting import name
from shared.domain.states import BeadStatus, Label, Role
from shared.town import lookup
from shared.town.rows import Agent, Bead
from shared.town.town import Town
from shared.town.writing import audit, beads, escalations, merge_claims, reviews

OTHER_PULL_REQUEST: Final = Rejected("other pull request")


@dataclass(frozen=True, slots=True)
class Done:
    """An agent's report that its work is done. `head`, `base` and `merge_commit` are the commits that it names: see T2."""

    branch: str
    pr_url: str | None = None
    summary: str | None = None
    bead_id: str | None = None
    generation: int | None = None
    head: str | None = None
    base: str | None = None
    merge_commit: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """The outcome of a report, and what the agent must be told because of it."""

    outcome: EventOutcome
    text: str | None = None


def review_done(town: Town, agent: Agent, target: Bead, report: Done) -> Told:
    """Apply the report to the merge request: with a pull request the forge decides, without one the merge must be proven."""
    review = lookup.review(town, target.id)
    stored = None if review is None else review.pr_url
    if report.pr_url is not None and (stored is None or ReviewNotes.pr_closed.of(target.metadata)):
        return _pull_request_opened(town, agent, target, report, report.pr_url, replaced=stored)
    if stored is None:
        return _merge_reported(town, agent, target, report)
    if report.pr_url is not None and not repositories.same_pull_request(report.pr_url, stored):
        return Told(
            OTHER_PULL_REQUEST,
            f"Your report was rejected: this review already has the pull request {name(stored)}, which is open. "
            "Report that one, or close it first.",
        )
    return _pull_request_reviewed(town, agent, target, report)


def _pull_request_opened(
    town: Town, agent: Agent, target: Bead, report: Done, pr_url: str, *, replaced: str | None
) -> Told:
    if not reviews.valid_pr_url(pr_url):
        reviews.complete(town, target.id, "failed", message="the pull request address is not https")
        audit.record(town, target.id, "pr_creation_failed", agent_id=agent.id, metadata={"reason": "not an https URL"})
        return Told(Applied())
    if replaced is not None and not repositories.same_pull_request(pr_url, replaced):
        reviews.forget_pull_request(town, target.id)
        beads.note(town, target.id, BeadNotes.note_for_next.gone)
        _audited(town, agent, target, "pr_replaced", old=replaced, new=pr_url)
    beads.note(town, target.id, ReviewNotes.pr_closed.gone)
    reviews.set_pr_url(town, target.id, pr_url)
    _go_on(town, agent, target)
    audit.record(town, target.id, "pr_created", agent_id=agent.id, new=pr_url)
    _note_passed(town, agent, target, report, seen=None)
    return Told(Applied())


def _pull_request_reviewed(town: Town, agent: Agent, target: Bead, report: Done) -> Told:
    """The refinery has reviewed a pull request. The forge says when it is merged."""
    if report.pr_url is None and not _proven(agent, target, report):
        return Told(Skipped("already done"))
    _go_on(town, agent, target)
    seen = ReviewNotes.head_sha.of(target.metadata)
    _note_passed(town, agent, target, report, seen=seen if isinstance(seen, str) else None)
    return Told(Applied())


def _go_on(town: Town, agent: Agent, target: Bead) -> None:
    beads.touch(town, target.id)
    if target.status is BeadStatus.OPEN:
        beads.move(town, target.id, BeadStatus.IN_PROGRESS, from_=BeadStatus.OPEN, actor=agent.id, reason="pr created")


def _note_passed(town: Town, agent: Agent, target: Bead, report: Done, *, seen: str | None) -> None:
    """Note the head that a refinery has passed, unless it asked for changes.

    One that has just opened the pull request passes the first head that the forge shows, if it names none. A review that passed
    what the forge shows has done its work: its attempts begin anew, so a pull request with many rounds of feedback never runs out
    of reviews, while a refinery that passes other heads does.
    """
    if agent.role is not Role.REFINERY or not _proven(agent, target, report) or _changes_requested(town, target):
        return
    head = report.head or seen
    if head is None:
        beads.note(town, target.id, ReviewNotes.passes_first_head.to(True))
        return
    beads.note(town, target.id, ReviewNotes.review_passed_head.to(head), ReviewNotes.passes_first_head.gone)
    if head == seen:
        beads.reset_attempts(town, target.id)
    _audited(town, agent, target, "review_passed", new=head)


def _merge_reported(town: Town, agent: Agent, target: Bead, report: Done) -> Told:
    if _changes_requested(town, target):
        beads.move(town, target.id, BeadStatus.OPEN, from_=BeadStatus.IN_PROGRESS, reason="changes requested")
    elif _proven(agent, target, report):
        merge_claims.claim(town, target, commit=report.merge_commit, head=report.head)
        _audited(town, agent, target, "merge_claimed", new=report.merge_commit)
    else:
        _unproven(town, agent, target)
    return Told(Applied())


def _audited(town: Town, agent: Agent, target: Bead, change: str, *, new: str | None, old: str | None = None) -> None:
    audit.record(town, target.id, "fields_updated", agent_id=agent.id, old=old, new=new, metadata={"change": change})


def _changes_requested(town: Town, target: Bead) -> bool:
    return any(Label.REWORK in blocker.labels for blocker in lookup.unresolved_blockers(town, target.id))


def _proven(agent: Agent, target: Bead, report: Done) -> bool:
    """Whether the agent has worked on this review: it is hooked to it, or its generation was started for it."""
    if agent.hook == target.id:
        return True
    return report.generation is not None and target.status is BeadStatus.IN_PROGRESS and target.assignee == agent.id


def _unproven(town: Town, agent: Agent, target: Bead) -> None:
    reviews.complete(
        town, target.id, "failed", message="done was reported without proof that this review was worked on"
    )
    escalations.escalate(
        town,
        f"Review reported done without a hook: {target.title}",
        severity="high",
        rig_id=target.rig_id,
        about=(
            EscalationNotes.kind.to("refinery_unhooked_done"),
            EscalationNotes.mr_bead_id.to(target.id),
            EscalationNotes.agent_bead_id.to(agent.id),
        ),
    )
