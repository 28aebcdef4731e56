"""Actions that start and stop agents (spec/actions.md sections 3, 4 and 8).

A dispatch that is refused at any step leaves no trace, because the action's savepoint is rolled back. Only dispatches count
attempts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from shared.actions.base import DUPLICATE_EFFECT, Action, Want, outcome_of_request
from shared.actions.start_context import start_context
from shared.domain.notes import ReviewNotes, TriageNotes
from shared.domain.outcomes import ALREADY, MISSING, MOVED_ON, TERMINAL, ActionOutcome, Applied, Failed, Skipped
from shared.domain.quoting import line, name
from shared.domain.states import PATROL, AgentStatus, BeadStatus, BeadType, Label, Role
from shared.town import lookup, new_ids
from shared.town.rows import Agent, Bead
from shared.town.town import Town
from shared.town.writing import agents, beads, branches, escalations, hooks, leases, rigs

_TITLE_SHOWN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchAgent(Action):
    """Start an agent on a bead. An empty agent id means any suitable agent, which is created if necessary."""

    type: ClassVar[str] = "dispatch_agent"

    agent_id: str
    bead_id: str
    rig_id: str | None

    def apply(self, town: Town) -> ActionOutcome:
        """Choose the agent, increment both counters and the generation, and request the start."""
        bead = lookup.bead(town, self.bead_id)
        if bead is None:
            return MISSING
        if not bead.live:
            return TERMINAL
        if not self.agent_id and bead.type is BeadType.MERGE_REQUEST and ReviewNotes.babysit.of(bead.metadata):
            return Skipped("babysat")
        paused = _dispatching_paused(town)
        if paused is not None:
            return paused
        if bead.status is BeadStatus.IN_REVIEW:
            return MOVED_ON
        rig_id = self.rig_id or bead.rig_id
        if not self.agent_id:
            return _start_whoever_fits(town, bead, rig_id)
        agent = lookup.agent(town, self.agent_id)
        if agent is None or agent.status is not AgentStatus.IDLE or agent.hook != bead.id:
            return MOVED_ON
        return _start(town, agent, bead, rig_id or agent.rig_id)

    def wants(self) -> tuple[Want, ...]:
        """The bead in progress; and the agent, if it is named, working."""
        bead: Want = (("bead", self.bead_id), BeadStatus.IN_PROGRESS.value)
        return (bead, (("agent", self.agent_id), AgentStatus.WORKING.value)) if self.agent_id else (bead,)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTriageBatch(Action):
    """Give open triage requests to a polecat, as one bead that is dispatched immediately."""

    type: ClassVar[str] = "start_triage_batch"

    rig_id: str
    request_ids: tuple[str, ...]

    def apply(self, town: Town) -> ActionOutcome:
        """Create the batch and dispatch it, unless another batch is live."""
        if lookup.live_triage_batch(town) is not None:
            return ALREADY
        paused = _dispatching_paused(town)
        if paused is not None:
            return paused
        if not rigs.exists(town, self.rig_id):
            return Failed("no rig")
        batch_id = self._create_batch(town)
        escalations.count_batch(town, batch_id)
        return DispatchAgent(agent_id="", bead_id=batch_id, rig_id=self.rig_id).apply(town)

    def _create_batch(self, town: Town) -> str:
        return beads.create(
            town,
            beads.NewBead(
                id=new_ids.for_bead(town),
                type=BeadType.ISSUE,
                title=f"Triage batch of {len(self.request_ids)}",
                body=_questions(town, self.request_ids),
                rig_id=self.rig_id,
                priority="high",
                labels=(Label.TRIAGE,),
                metadata=dict((TriageNotes.request_ids.to(self.request_ids),)),
                created_by=PATROL,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAgent(Action):
    """Ask the runtime to stop the agent's process of the current generation. No status changes."""

    type: ClassVar[str] = "stop_agent"

    agent_id: str
    reason: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request it: once for each generation, and again only if an earlier stop did not end it."""
        agent = lookup.agent(town, self.agent_id)
        if agent is None:
            return MISSING
        if agent.generation == 0:
            return Skipped("never dispatched")
        return Applied() if leases.stop_by_action(town, agent, reason=self.reason) else DUPLICATE_EFFECT


def _dispatching_paused(town: Town) -> Skipped | None:
    """Why dispatching is paused; None if it is not. This repeats the check of the rules."""
    if town.tick.draining:
        return Skipped("draining")
    return Skipped("breaker open") if town.tick.breaker.open else None


def _start_whoever_fits(town: Town, bead: Bead, rig_id: str | None) -> ActionOutcome:
    if rig_id is None or not rigs.exists(town, rig_id):
        return Failed("no rig")
    unhookable = hooks.why_unhookable(bead)
    if unhookable is not None:
        return Failed(unhookable)
    role = Role.REFINERY if bead.type is BeadType.MERGE_REQUEST else Role.POLECAT
    agent = lookup.agent(town, agents.get_or_create(town, role, rig_id))
    if agent is None or agent.status is not AgentStatus.IDLE or agent.hook not in (None, bead.id):
        return MOVED_ON
    refused = hooks.hook(town, agent.id, bead.id)
    return _start(town, agent, bead, rig_id) if refused is None else Failed(refused)


def _start(town: Town, agent: Agent, bead: Bead, rig_id: str | None) -> ActionOutcome:
    leases.revoke(town, agent.id, reason=leases.SUCCEEDED)
    generation = agent.generation + 1
    bead = branches.with_branch(town, agent, bead, rig_id)
    order = start_context(town, agent, bead, generation=generation, rig_id=rig_id)
    outcome = outcome_of_request(town, order, agent.id, generation)
    if isinstance(outcome, Applied):
        beads.move(town, bead.id, BeadStatus.IN_PROGRESS, reason="dispatched")
        beads.count_attempt(town, bead.id, agent.id)
        agents.begin_dispatch(town, agent.id, bead.id)
    return outcome


def _questions(town: Town, request_ids: Sequence[str]) -> str:
    """The text of the batch: one line per request, because the polecat sees only this bead."""
    requests = [lookup.bead(town, request_id) for request_id in request_ids]
    return "\n".join(_question(request) for request in requests if request is not None)


def _question(request: Bead) -> str:
    title = line(request.title[:_TITLE_SHOWN])
    named = (
        ("type", TriageNotes.triage_type),
        ("agent", TriageNotes.agent_bead_id),
        ("bead", TriageNotes.hooked_bead_id),
    )
    said = ((word, note.of(request.metadata)) for word, note in named)
    about = [f"{word} {name(text)}" for word, text in said if text is not None]
    said_of = f" ({', '.join(about)})" if about else ""
    return f"- {name(request.id)}: {title}{said_of}"
