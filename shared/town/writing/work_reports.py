"""Applies an agent's reports "done" and "completed" to its work (spec/data-model.md 3.13 and 3.14)."""

from typing import Literal

from shared.domain import branches, limits
from shared.domain.notes import BranchNotes, ReviewNotes
from shared.domain.orders import StartOrder
from shared.domain.outcomes import Applied, EventOutcome, Rejected, Skipped
from shared.domain.quoting import line
from shared.domain.states import PATROL, AgentStatus, BeadStatus, BeadType, Label, Role
from shared.town import lookup, outbox
from shared.town.rows import Agent, Bead
from shared.town.town import Town
from shared.town.writing import agents, audit, beads, hooks, last_words, leases, review_reports, reviews
from shared.town.writing.beads import Failure
from shared.town.writing.branches import target_of
from shared.town.writing.review_reports import Done, Told

OTHER_BRANCH = Rejected("other branch")
EVICTION = "container eviction"


def agent_done(town: Town, agent_id: str, report: Done) -> Told:
    """Apply an agent's report that its work is done (3.13)."""
    agent = lookup.agent(town, agent_id)
    if agent is None:
        return Told(Skipped("missing"))
    if report.generation is not None and report.generation != agent.generation:
        return Told(Skipped("stale generation"))
    target_id = _work_of(town, agent, bead_id=report.bead_id, generation=report.generation)
    if isinstance(target_id, Skipped):
        return Told(target_id)
    target = lookup.bead(town, target_id)
    if target is None:
        return Told(Skipped("missing"))
    if _already_done(town, agent, target, report):
        _let_go(town, agent)
        return Told(Skipped("already done"))
    if any(other.id != agent.id for other in lookup.agents_hooked_to(town, target.id)):
        return Told(Skipped("superseded"))
    told = _finish_work(town, agent, target, report)
    if not isinstance(told.outcome, Rejected):
        last_words.forget(town, target.id)
        _let_go(town, agent)
    return told


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


def _already_done(town: Town, agent: Agent, target: Bead, report: Done) -> bool:
    if not target.live:
        return True
    if target.type is BeadType.ISSUE:
        return target.status is BeadStatus.IN_REVIEW
    if target.type is not BeadType.MERGE_REQUEST or report.pr_url is not None or agent.hook == target.id:
        return False
    if target.status is not BeadStatus.IN_PROGRESS:
        return False
    review = lookup.review(town, target.id)
    has_pull_request = review is not None and review.pr_url is not None
    return has_pull_request or ReviewNotes.merge_claim.of(target.metadata) is not None


def _finish_work(town: Town, agent: Agent, target: Bead, report: Done) -> Told:
    if _closes_without_review(target):
        beads.move(town, target.id, BeadStatus.CLOSED, actor=agent.id, reason="done")
    elif target.type is BeadType.MERGE_REQUEST:
        return review_reports.review_done(town, agent, target, report)
    elif target.type is BeadType.ISSUE:
        return _submit(town, agent, target, report)
    else:
        return Told(Skipped("not reviewable"))
    return Told(Applied())


def _submit(town: Town, agent: Agent, target: Bead, report: Done) -> Told:
    """Submit the work to review, if it is on the branch that its agent was given."""
    branch = branches.reported(report.branch)
    wanted = _ordered_branch(town, agent, target)
    if wanted not in (None, branch, report.branch):
        return Told(
            OTHER_BRANCH,
            f"Your report was rejected: the work of this bead belongs on the branch {line(wanted)}. "
            f"Push it there, and report that branch.",
        )
    if branch == target_of(town, target, target.rig_id):
        where = f"the branch {line(wanted)}" if wanted is not None else "a branch of its own"
        return Told(
            OTHER_BRANCH,
            f"Your report was rejected: {line(branch)} is the branch into which the work is merged. "
            f"Push the work to {where}, and report that branch.",
        )
    review_id = reviews.submit(
        town, target, wanted or branch, by=agent.id, pr_url=report.pr_url, summary=report.summary
    )
    beads.note(town, review_id, ReviewNotes.submitted_head.to(report.head), ReviewNotes.submitted_base.to(report.base))
    beads.move(town, target.id, BeadStatus.IN_REVIEW, actor=agent.id, reason="submitted to review")
    return Told(Applied())


def _ordered_branch(town: Town, agent: Agent, target: Bead) -> str | None:
    """The branch that the agent was told to work on; None if its order named none, as before branches were stored."""
    order = outbox.order_of(town, StartOrder, agent.id, agent.generation)
    return None if order is not None and order.branch is None else BranchNotes.branch.of(target.metadata)


def _closes_without_review(target: Bead) -> bool:
    if target.type is not BeadType.ISSUE:
        return False
    if Label.TRIAGE in target.labels and target.created_by == PATROL:
        return True
    return any(label in target.labels for label in reviews.FOLLOW_UP_LABELS)


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
    changed = leases.note_end(town, agent.id, generation)
    if agent.role is Role.REFINERY and agent.hook is not None:
        if agent.status not in (AgentStatus.WORKING, AgentStatus.DEAD):
            changed |= agents.move(town, agent.id, AgentStatus.IDLE) == "moved"
    elif agent.hook is not None:
        if status == "failed":
            last_words.keep(town, agent, reason, generation=generation)
        _release_completed_work(town, agent, status, reason)
        changed = True
    elif agent.status is not AgentStatus.DEAD:
        changed |= agents.move(town, agent.id, AgentStatus.IDLE) == "moved"
    if agent.role is not Role.REFINERY:
        changed |= agents.reset_attempts(town, agent.id)
    if not changed:
        return Skipped("already")
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
