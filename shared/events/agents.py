"""Events that agents report about themselves, and events about nudges to agents (spec/events.md 4.1)."""

from collections.abc import Mapping
from typing import Literal

from shared.actions import SendNudge
from shared.domain import limits
from shared.domain.notes import BranchNotes, known
from shared.domain.outcomes import MISSING, Applied, EventOutcome, Skipped
from shared.domain.states import AgentStatus, BeadType, Label, Role, Scope
from shared.domain.times import from_text
from shared.events import fence
from shared.events.ages import on_our_clock, on_our_clock_if_plausible
from shared.events.base import Event, EventResult
from shared.events.fields import (
    Checkpoint,
    FreeText,
    Generation,
    IdText,
    JsonList,
    NonEmptyText,
    StatusMessage,
    Texts,
    Time,
)
from shared.town import lookup, new_ids
from shared.town.inbox import Fact
from shared.town.rows import Agent, Bead
from shared.town.town import Town
from shared.town.writing import agents, audit, beads, faults, leases, mail, nudges, work_reports
from shared.town.writing.agents import Watermark
from shared.town.writing.review_reports import Done


def hear(fact: Fact, town: Town, generation: int | None = None) -> Agent | None:
    """The agent that reports; None if there is none. If the lease of the reporting generation is over, it is stopped again."""
    agent = lookup.agent(town, fact.agent_id)
    leases.heard_from(town, fact.agent_id, agent, generation)
    return agent


class AgentDone(Event):
    """An agent has finished its work on a bead; the envelope may name the bead."""

    event_type = "agent_done"
    needs = ("agent_id",)
    over_budget = "applied"
    senders = frozenset({"agent", "coordinator", "operator"})
    is_own_report = True

    branch: NonEmptyText
    pr_url: FreeText | None = None
    summary: FreeText | None = None
    generation: Generation | None = None
    head: FreeText | None = None
    base: FreeText | None = None
    merge_commit: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Submit the work for review, or close it (spec/data-model.md 3.13). An agent whose report is rejected is told why."""
        agent = hear(fact, town, self.generation)
        report = Done(
            branch=self.branch,
            pr_url=None if self.pr_url is None else self.pr_url.strip(),
            summary=self.summary,
            bead_id=fact.bead_id,
            generation=self.generation,
            head=self.head or None,
            base=self.base or None,
            merge_commit=self.merge_commit or None,
        )
        agent_id = fact.agent_id or ""
        faults.forget(town, None if agent is None else lookup.bead(town, agent.hook))
        told = work_reports.agent_done(town, agent_id, report)
        if told.text is None:
            return EventResult(told.outcome)
        nudge = SendNudge(agent_id=agent_id, message=told.text, source="rejected_report", mode="immediate")
        return EventResult(told.outcome, (nudge,))


class AgentCompleted(Event):
    """An agent process has ended, successfully or not. Without an agent id, it was the mayor's process."""

    event_type = "agent_completed"
    over_budget = "applied"
    senders = frozenset({"agent", "coordinator", "container", "operator"})
    is_own_report = True
    is_farewell = True

    status: Literal["completed", "failed"]
    reason: FreeText | None = None
    generation: Generation | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Unhook the agent, unless it is a refinery with a review (spec/data-model.md 3.14)."""
        return EventResult(
            work_reports.agent_completed(
                town, fact.agent_id, status=self.status, reason=self.reason, generation=self.generation
            )
        )


class AgentHeartbeat(Event):
    """The periodic heartbeat of an agent process."""

    event_type = "agent_heartbeat"
    needs = ("agent_id",)
    senders = frozenset({"agent", "coordinator", "container", "operator"})
    asks = "leave it out: the container's control server says it"
    is_own_report = True
    transient = True
    ages = True

    last_event_type: FreeText | None = None
    last_event_at: Time | None = None
    active_tools: JsonList | None = None
    container_instance_id: NonEmptyText | None = None
    generation: Generation | None = None

    @classmethod
    def forbidden(cls, payload: Mapping[str, object], scope: Scope) -> str | None:
        """Which container runs is the container's word: it ends a drain."""
        told = payload.get("container_instance_id") is not None
        return "container_instance_id" if told and scope in ("agent", "coordinator") else None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Record it. A heartbeat from a new container instance ends a drain (spec/tick.md section 8)."""
        agent = hear(fact, town, self.generation)
        if agent is None:
            return EventResult(MISSING, transient=True)
        if self.generation is not None and fence.is_stale(agent.role, agent.generation, self.generation):
            return EventResult(fence.STALE_GENERATION, transient=True)
        active_at = None if self.last_event_at is None else on_our_clock(fact, self.last_event_at)
        watermark = Watermark(self.last_event_type, active_at, self.active_tools)
        agents.touch(town, agent, from_text(fact.received_at), watermark)
        if self.container_instance_id is not None:
            _note_instance(town, self.container_instance_id)
        return EventResult(Applied(), transient=True)


def _note_instance(town: Town, instance_id: str) -> None:
    known = town.keys.container_instance_id
    if known == instance_id:
        return
    if known is not None and town.keys.drain is not None:
        town.keys.drain = None
    town.keys.container_instance_id = instance_id


class AgentReported(Event):
    """An agent describes in its own words what it is doing; for display only."""

    event_type = "agent_status"
    needs = ("agent_id",)
    senders = frozenset({"agent", "coordinator", "operator"})
    is_own_report = True
    transient = True

    message: StatusMessage

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Store the text and the time."""
        agent = hear(fact, town)
        if agent is None:
            return EventResult(MISSING, transient=True)
        agents.set_message(town, agent.id, self.message)
        return EventResult(Applied(), transient=True)


class MayorWaiting(Event):
    """The mayor has nothing to do until it receives a message."""

    event_type = "mayor_waiting"
    over_budget = "applied"
    senders = frozenset({"coordinator", "operator"})
    is_own_report = True
    ages = True

    fired_at: Time

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Change the mayor from working to waiting, unless it began to work after the report."""
        mayor = lookup.mayor(town) if fact.agent_id is None else lookup.agent(town, fact.agent_id)
        if mayor is None:
            return EventResult(MISSING)
        if mayor.role is not Role.MAYOR:
            return EventResult(Skipped("not the mayor"))
        if mayor.status is not AgentStatus.WORKING:
            return EventResult(Skipped("not working"))
        working_since = town.keys.mayor_working_since
        if working_since is not None and on_our_clock_if_plausible(fact, self.fired_at) < working_since:
            return EventResult(Skipped("stale"))
        agents.move(town, mayor.id, AgentStatus.WAITING, from_=AgentStatus.WORKING)
        return EventResult(Applied())


class AgentCheckpoint(Event):
    """An agent notes how far it is, for whoever continues its work."""

    event_type = "agent_checkpoint"
    needs = ("agent_id",)
    senders = frozenset({"agent", "coordinator", "operator"})
    is_own_report = True

    checkpoint: Checkpoint
    generation: Generation | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Replace the agent's checkpoint, which lasts as long as its hook."""
        agent = hear(fact, town, self.generation)
        if agent is None:
            return EventResult(MISSING)
        if self.generation is not None and fence.is_stale(agent.role, agent.generation, self.generation):
            return EventResult(fence.STALE_GENERATION)
        if agent.hook is None:
            return EventResult(Skipped("no hook"))
        agents.set_checkpoint(town, agent.id, self.checkpoint)
        return EventResult(Applied())


class ChangesRequested(Event):
    """A refinery that reviews a merge request requires changes."""

    event_type = "changes_requested"
    needs = ("agent_id",)
    over_budget = "applied"
    senders = frozenset({"agent", "operator"})
    is_own_report = True

    feedback: NonEmptyText
    files: Texts | None = None
    generation: Generation | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Create a rework bead that blocks the merge request. The refinery keeps its hook until agent_done."""
        agent = hear(fact, town, self.generation)
        if agent is None:
            return EventResult(MISSING)
        review = self._under_review_by(agent, town)
        if review is None:
            return EventResult(Skipped("not reviewing"))
        if lookup.children_with_label(town, review.id, Label.REWORK, live=True) >= limits.REWORK_BEADS_AT_MOST:
            return EventResult(Skipped("too many rework beads"))
        self._create_rework(town, review, agent)
        return EventResult(Applied())

    def _under_review_by(self, agent: Agent, town: Town) -> Bead | None:
        if agent.role is not Role.REFINERY or self.generation not in (None, agent.generation):
            return None
        hooked = lookup.bead(town, agent.hook)
        if hooked is None or hooked.type is not BeadType.MERGE_REQUEST or not hooked.live:
            return None
        return hooked

    def _create_rework(self, town: Town, review: Bead, agent: Agent) -> None:
        source = lookup.source_of(town, review.id)
        branches = lookup.review(town, review.id)
        about = [
            BranchNotes.rework_for.to(None if source is None else source.id),
            BranchNotes.mr_bead_id.to(review.id),
            BranchNotes.branch.to(None if branches is None else branches.branch),
            BranchNotes.target_branch.to(None if branches is None else branches.target_branch),
        ]
        if self.files is not None:
            about.append(BranchNotes.files.to(self.files))
        rework = beads.create(
            town,
            beads.NewBead(
                id=new_ids.for_bead(town),
                type=BeadType.ISSUE,
                title=f"Rework: {review.title}",
                body=self.feedback,
                rig_id=review.rig_id,
                parent_id=review.id,
                priority="medium" if source is None else source.priority,
                labels=(Label.REWORK,),
                metadata=known(about),
                created_by=agent.id,
            ),
        )
        beads.add_edge(town, review.id, rework, "blocks")
        audit.record(town, review.id, "rework_requested", agent_id=agent.id, new=rework)


class NudgeAcknowledged(Event):
    """An agent has read a nudge."""

    event_type = "nudge_acknowledged"
    needs = ("agent_id",)
    senders = frozenset({"agent", "coordinator", "operator"})
    is_own_report = True

    nudge_id: IdText

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Mark the nudge as delivered. The first time is kept."""
        return EventResult(self._acknowledge(fact, town))

    def _acknowledge(self, fact: Fact, town: Town) -> EventOutcome:
        hear(fact, town)
        owner = nudges.agent_of(town, self.nudge_id)
        if owner is None:
            return MISSING
        if owner != fact.agent_id:
            return Skipped("not the agent's nudge")
        mail.nudge_delivered(town, self.nudge_id, owner)
        return Applied() if nudges.deliver(town, self.nudge_id) else Skipped("already")


class NudgeTimeout(Event):
    """A nudge was not answered in time. This has no effect, because rules look only at when a nudge was created."""

    event_type = "nudge_timeout"
    senders = frozenset({"operator"})

    nudge_id: IdText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:  # noqa: ARG002 - nothing changes
        """Change nothing; the stored event is the record."""
        return EventResult(Applied())
