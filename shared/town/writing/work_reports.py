"""Applies an agent's reports "done" and "completed" to its work (spec/data-model.md 3.13 and 3.14)."""

from typing import Literal

from shared.domain import limits
from shared.domain.notes import EscalationNotes
from shared.domain.outcomes import Applied, EventOutcome, Skipped
from shared.domain.states import PATROL, AgentStatus, BeadStatus, BeadType, Label, Role
from shared.town import lookup
from shared.town.rows import Agent, Bead
from shared.town.town import Town
from shared.town.writing import agents, audit, beads, escalations, hooks, leases, reviews
from shared.town.writing.beads import Failure

EVICTION = "container eviction"


def agent_done(
    town: Town,
    agent_id: str,
    *,
    branch: str,
    pr_url: str | None = None,
    summary: str | None = None,
    bead_id: str | None = None,
    generation: int | None = None,
) -> EventOutcome:
    """Apply an agent's report that its work is done (3.13)."""
    agent = lookup.agent(town, agent_id)
    if agent is None:
        return Skipped("missing")
    if generation is not None and generation != agent.generation:
        return Skipped("stale generation")
    target_id = _work_of(town, agent, bead_id=bead_id, generation=generation)
    if isinstance(target_id, Skipped):
        return target_id
    target = lookup.bead(town, target_id)
    if target is None:
        return Skipped("missing")
    if _already_done(town, agent, target, pr_url=pr_url):
        _let_go(town, agent)
        return Skipped("already done")
    if any(other.id != agent.id for other in lookup.agents_hooked_to(town, target.id)):
        return Skipped("superseded")
    return _finish_work(town, agent, target, branch=branch, pr_url=pr_url, summary=summary, generation=generation)


def _work_of(town: Town, agent: Agent, *, bead_id: str | None, generation: int | None) -> str | Skipped:
    if agent.hook is not None:
        return agent.hook if bead_id in (None, agent.hook) else Skipped("other bead")
    newest = agent.last_dispatch_bead_id
    if newest is not None and (bead_id == newest or (generation is not None and bead_id is None)):
        return newest
    working_on = lookup.in_progress_of(town, agent.id)
    if bead_id is not None:
        named = lookup.bead(town, bead_id)
        working_on = (
            named
            if named is not None and named.status is BeadStatus.IN_PROGRESS and named.assignee == agent.id
            else None
        )
    return Skipped("no work to attribute") if working_on is None else working_on.id


def _already_done(town: Town, agent: Agent, target: Bead, *, pr_url: str | None) -> bool:
    if not target.live:
        return True
    if target.type is BeadType.ISSUE:
        return target.status is BeadStatus.IN_REVIEW
    if target.type is not BeadType.MERGE_REQUEST or pr_url is not None or agent.hook == target.id:
        return False
    review = lookup.review(town, target.id)
    return target.status is BeadStatus.IN_PROGRESS and review is not None and review.pr_url is not None


def _finish_work(
    town: Town,
    agent: Agent,
    target: Bead,
    *,
    branch: str,
    pr_url: str | None,
    summary: str | None,
    generation: int | None,
) -> EventOutcome:
    if _closes_without_review(target):
        beads.move(town, target.id, BeadStatus.CLOSED, actor=agent.id, reason="done")
        _let_go(town, agent)
    elif target.type is BeadType.MERGE_REQUEST and pr_url is not None:
        _pull_request_opened(town, agent, target, pr_url)
        _let_go(town, agent)
    elif target.type is BeadType.MERGE_REQUEST:
        _review_done(town, agent, target, generation=generation)
        _let_go(town, agent)
    elif target.type is BeadType.ISSUE:
        reviews.submit(town, target, branch, by=agent.id, pr_url=pr_url, summary=summary)
        _let_go(town, agent)
        beads.move(town, target.id, BeadStatus.IN_REVIEW, actor=agent.id, reason="submitted to review")
    else:
        _let_go(town, agent)
        return Skipped("not reviewable")
    return Applied()


def _closes_without_review(target: Bead) -> bool:
    if target.type is not BeadType.ISSUE:
        return False
    if Label.TRIAGE in target.labels and target.created_by == PATROL:
        return True
    return any(label in target.labels for label in reviews.FOLLOW_UP_LABELS)


def _pull_request_opened(town: Town, agent: Agent, target: Bead, pr_url: str) -> None:
    if not reviews.valid_pr_url(pr_url):
        reviews.complete(town, target.id, "failed", message="the pull request address is not https")
        audit.record(town, target.id, "pr_creation_failed", agent_id=agent.id, metadata={"reason": "not an https URL"})
        return
    reviews.set_pr_url(town, target.id, pr_url)
    beads.touch(town, target.id)
    if target.status is BeadStatus.OPEN:
        beads.move(town, target.id, BeadStatus.IN_PROGRESS, from_=BeadStatus.OPEN, actor=agent.id, reason="pr created")
    audit.record(town, target.id, "pr_created", agent_id=agent.id, new=pr_url)


def _review_done(town: Town, agent: Agent, target: Bead, *, generation: int | None) -> None:
    blockers = lookup.unresolved_blockers(town, target.id)
    if any(Label.REWORK in blocker.labels for blocker in blockers):
        review = lookup.review(town, target.id)
        if review is not None and review.pr_url is None:
            beads.move(town, target.id, BeadStatus.OPEN, from_=BeadStatus.IN_PROGRESS, reason="changes requested")
        return
    proven = agent.hook == target.id or (
        generation is not None and target.status is BeadStatus.IN_PROGRESS and target.assignee == agent.id
    )
    if proven:
        reviews.complete(town, target.id, "merged", message="merged by the refinery")
        return
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


def _let_go(town: Town, agent: Agent) -> None:
    hooks.unhook(town, agent.id, done=True)
    if agent.status is not AgentStatus.DEAD:
        agents.move(town, agent.id, AgentStatus.IDLE)


def agent_completed(
    town: Town,
    agent_id: str | None,
    *,
    status: Literal["completed", "failed"],
    reason: str | None = None,
    generation: int | None = None,
) -> EventOutcome:
    """Apply the end of an agent process (3.14). No agent id means the mayor."""
    agent = lookup.mayor(town) if agent_id is None else lookup.agent(town, agent_id)
    if agent is None:
        return Skipped("missing")
    if generation is not None and generation < agent.generation:
        return Skipped("stale generation")
    leases.note_end(town, agent.id, generation)
    if agent.role is Role.REFINERY and agent.hook is not None:
        if agent.status not in (AgentStatus.WORKING, AgentStatus.DEAD):
            agents.move(town, agent.id, AgentStatus.IDLE)
    elif agent.hook is not None:
        _release_completed_work(town, agent, status, reason)
    elif agent.status is not AgentStatus.DEAD:
        agents.move(town, agent.id, AgentStatus.IDLE)
    if agent.role is not Role.REFINERY:
        agents.reset_attempts(town, agent.id)
    subject = agent.hook if agent.hook is not None else agent.id
    audit.record(town, subject, "agent_exited", agent_id=agent.id, new=status, metadata={"reason": reason})
    return Applied()


def _release_completed_work(town: Town, agent: Agent, status: str, reason: str | None) -> None:
    bead = lookup.bead(town, agent.hook)
    hooks.unhook(town, agent.id)
    if bead is None:
        return
    if status == "failed":
        failure = Failure("agent_failed", reason or "the agent failed", "agent")
        beads.move(town, bead.id, BeadStatus.FAILED, actor=agent.id, reason=reason, failure=failure)
        return
    silent = town.tick.stale(agent.last_activity_at, limits.HEARTBEAT_LOST_AFTER)
    if bead.status is BeadStatus.IN_PROGRESS and reason == EVICTION and silent:
        beads.move(town, bead.id, BeadStatus.OPEN, from_=BeadStatus.IN_PROGRESS, reason=EVICTION)
        beads.clear_assignee(town, bead.id)
