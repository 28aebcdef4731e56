"""Results of starting and stopping agents (spec/actions.md sections 3 and 4)."""

from typing import ClassVar, Literal

from shared.domain.notes import BeadNotes
from shared.domain.outcomes import MISSING, Applied, EventOutcome, Skipped
from shared.domain.states import AgentStatus, BeadStatus, DispatchOutcome, EffectKind
from shared.events import speakers
from shared.events.attempts import LATE, AttemptReport, settle_attempt
from shared.events.base import EventResult
from shared.events.fields import FreeText, Generation
from shared.town import lookup
from shared.town.inbox import Fact
from shared.town.outbox import Effect
from shared.town.rows import Agent, Bead
from shared.town.town import Town
from shared.town.writing import agents, audit, beads, hooks, leases
from shared.town.writing.beads import Failure

EXPIRED = "expired"
_A_PROGRAM_EXISTS = (BeadNotes.no_program_since.gone, BeadNotes.no_program_tries.gone)


class DispatchResult(AttemptReport):
    """The runtime's answer to a start. Every answer is final."""

    event_type: ClassVar[str] = "dispatch_result"
    needs = ("agent_id",)

    generation: Generation
    outcome: Literal["started", "rejected", "unknown"]
    reason: FreeText | None = None
    process_id: FreeText | None = None
    kind: Literal["no_agent_program"] | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Confirm the start, free the agent for the next attempt, or let heartbeats decide."""
        recorded = settle_attempt(town, self, EffectKind.DISPATCH_AGENT, success=self.outcome == "started")
        if isinstance(recorded, Skipped):
            return EventResult(recorded)
        agent = lookup.agent(town, fact.agent_id)
        if agent is None:
            return EventResult(MISSING)
        if agent.generation != self.generation:
            return EventResult(Skipped("stale generation"))
        if self.kind is None and agent.last_dispatch_bead_id is not None:
            beads.note(town, agent.last_dispatch_bead_id, *_A_PROGRAM_EXISTS)
        if self.outcome == "started":
            return EventResult(_started(town, agent, self.process_id))
        if self.outcome == "rejected":
            reason = self.reason or "the runtime gave no reason"
            return EventResult(_rejected(town, agent, reason, no_program=self.kind is not None))
        return EventResult(_unknown(town, agent))


def dispatch_expired(town: Town, effect: Effect) -> None:
    """Update the agent of a dispatch that has expired (spec/tick.md 5.5), if it is still working in that generation.

    A dispatch that was never attempted counts as rejected. One that was attempted counts as unknown: a heartbeat, or its
    absence, decides. The caller updates the outbox row.
    """
    agent = lookup.agent(town, effect.subject)
    if agent is None or agent.status is not AgentStatus.WORKING or agent.generation != effect.generation:
        return
    if effect.attempts == 0:
        _rejected(town, agent, EXPIRED)
    else:
        _unknown(town, agent)


def _started(town: Town, agent: Agent, process_id: str | None) -> EventOutcome:
    agents.confirm_start(town, agent, process_id)
    subject = agent.last_dispatch_bead_id or agent.id
    audit.record(town, subject, "agent_spawned", agent_id=agent.id, metadata={"generation": agent.generation})
    return Applied()


def _rejected(town: Town, agent: Agent, reason: str, *, no_program: bool = False) -> EventOutcome:
    bead = lookup.bead(town, agent.last_dispatch_bead_id)
    if (
        bead is None
        or agent.hook != bead.id
        or agent.status is not AgentStatus.WORKING
        or agent.last_dispatch_outcome is DispatchOutcome.ALIVE
    ):
        return LATE
    agents.move(town, agent.id, AgentStatus.IDLE, from_=AgentStatus.WORKING)
    agents.set_outcome(town, agent.id, DispatchOutcome.REJECTED.value)
    if no_program and not speakers.is_triage_batch(bead):
        _put_back(town, agent, bead, reason)
        return Applied()
    beads.note_failed_start(town, bead.id)
    if speakers.is_triage_batch(bead):
        hooks.unhook(town, agent.id)
        failure = Failure("container_start_failed", reason, "container")
        beads.move(town, bead.id, BeadStatus.FAILED, reason=reason, failure=failure)
    audit.record(town, bead.id, "notification_failed", agent_id=agent.id, metadata={"reason": reason})
    return Applied()


def _put_back(town: Town, agent: Agent, bead: Bead, reason: str) -> None:
    """Open a bead again for which no program could run any agent: that says nothing about the bead, so no attempt is counted."""
    hooks.unhook(town, agent.id)
    beads.move(town, bead.id, BeadStatus.OPEN, from_=BeadStatus.IN_PROGRESS, reason=reason)
    beads.clear_assignee(town, bead.id)
    beads.uncount_attempt(town, bead.id)
    beads.note(
        town,
        bead.id,
        BeadNotes.no_program_since.to(BeadNotes.no_program_since.of(bead.metadata) or town.tick.now),
        BeadNotes.no_program_tries.to(BeadNotes.no_program_tries.of(bead.metadata) + 1),
    )
    audit.record(town, bead.id, "notification_failed", agent_id=agent.id, metadata={"reason": reason})


def _unknown(town: Town, agent: Agent) -> EventOutcome:
    if agent.last_dispatch_outcome is DispatchOutcome.PENDING:
        agents.set_outcome(town, agent.id, DispatchOutcome.UNKNOWN.value)
    return Applied()


class StopResult(AttemptReport):
    """The runtime's answer to a stop. It is `ok` even if no process was running. No status changes."""

    event_type: ClassVar[str] = "stop_result"
    needs = ("agent_id",)

    generation: Generation
    ok: bool
    error: FreeText | None = None
    passing: bool = False

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Record the exit. A transient failure is retried from the outbox."""
        recorded = settle_attempt(town, self, EffectKind.STOP_AGENT, success=self.ok, passing=self.passing)
        if isinstance(recorded, Skipped):
            return EventResult(recorded)
        agent = lookup.agent(town, fact.agent_id)
        if agent is None:
            return EventResult(MISSING)
        if recorded.ended == "done":
            leases.note_end(town, agent.id, self.generation)
            notes = {"generation": self.generation, "reason": "stopped"}
            audit.record(town, agent.id, "agent_exited", agent_id=agent.id, metadata=notes)
        return EventResult(Applied())
