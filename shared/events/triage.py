"""The event that answers a triage request (spec/actions.md section 8)."""

from dataclasses import dataclass
from typing import ClassVar, Final

from shared.actions import NotifyMayor, SendNudge, StopAgent
from shared.actions.base import Action
from shared.domain.notes import EscalationNotes, TriageNotes
from shared.domain.outcomes import MISSING, Applied, Skipped
from shared.domain.quoting import block, line
from shared.domain.states import SYSTEM, BeadStatus, BeadType, Label
from shared.events import speakers
from shared.events.base import Event, EventResult
from shared.events.cancelling import end_reviews
from shared.events.fields import FreeText, NonEmptyText
from shared.town import lookup
from shared.town.inbox import Fact
from shared.town.rows import Agent, Bead
from shared.town.town import Town
from shared.town.writing import audit, beads, escalations, hooks
from shared.town.writing.beads import Failure

_RESTARTS: Final = ("RESTART", "REASSIGN_BEAD", "RESTART_WITH_BACKOFF")
_ESCALATES: Final = ("ESCALATE", "ESCALATE_TO_MAYOR")


@dataclass(frozen=True, slots=True)
class _Question:
    """A triage request, with the present state of the agent and the bead that it is about."""

    request: Bead
    agent: Agent | None
    bead: Bead | None

    @property
    def on_it(self) -> bool:
        """Whether the agent is still hooked to the bead."""
        return self.agent is not None and self.bead is not None and self.agent.hook == self.bead.id


class TriageResolved(Event):
    """Somebody answered a triage request. A text that is not a known action only closes the request."""

    event_type: ClassVar[str] = "triage_resolved"
    needs = ("bead_id",)
    senders = frozenset({"coordinator", "operator"})

    action: NonEmptyText
    notes: FreeText | None = None
    by: FreeText | None = None

    @property
    def creates(self) -> int:
        """An escalation, if it asks for one."""
        return int(self.action in _ESCALATES)

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Do what the answer says, and close the request."""
        request = lookup.bead(town, fact.bead_id)
        if request is None:
            return EventResult(MISSING)
        if Label.TRIAGE_REQUEST not in request.labels or request.status is not BeadStatus.OPEN:
            return EventResult(Skipped("not open"))
        refused = speakers.triage_refusal(fact, request.id, town)
        if refused is not None:
            return EventResult(refused)
        question = _Question(
            request,
            lookup.agent(town, TriageNotes.agent_bead_id.of(request.metadata)),
            lookup.bead(town, TriageNotes.hooked_bead_id.of(request.metadata)),
        )
        returns = self._answer(town, question)
        self._close(town, request, by=speakers.by(fact, self.by))
        return EventResult(Applied(), returns=returns)

    def _answer(self, town: Town, question: _Question) -> tuple[Action, ...]:
        if self.action in _RESTARTS:
            returns = _take_off(town, question)
            _release(town, question.bead)
            if self.action == "RESTART_WITH_BACKOFF" and question.bead is not None and question.bead.live:
                beads.note_attempt_time(town, question.bead.id)
            return returns
        if self.action == "CLOSE_BEAD":
            return (*_take_off(town, question), *self._close_bead(town, question.bead))
        if self.action in _ESCALATES:
            return (self._escalate(town, question),)
        if self.action == "NUDGE" and question.agent is not None and question.agent.status.busy:
            return (self._nudge(question.agent, question.request),)
        return ()

    def _close_bead(self, town: Town, bead: Bead | None) -> tuple[Action, ...]:
        """Fail the bead. It may have gone to review since the question was asked: then its review ends with it."""
        if bead is None:
            return ()
        message = self.notes or "closed by triage"
        failure = Failure("triage_close", message, "triage")
        if beads.move(town, bead.id, BeadStatus.FAILED, reason=message, failure=failure) != "moved":
            return ()
        return end_reviews(town, bead.id, failure, actor=SYSTEM, reason=message).stops

    def _escalate(self, town: Town, question: _Question) -> Action:
        bead_id = escalations.escalate(
            town,
            question.request.title,
            severity="high",
            body=self.notes,
            rig_id=None if question.bead is None else question.bead.rig_id,
            about=(EscalationNotes.triage_request_id.to(question.request.id),),
        )
        message = f"Triage asks for a person: {line(question.request.title)}"
        if self.notes:
            message += f"\nIts notes:\n{block(self.notes)}"
        return NotifyMayor(subject=f"escalation:{bead_id}", message=message)

    def _nudge(self, agent: Agent, request: Bead) -> Action:
        return SendNudge(
            agent_id=agent.id,
            message=f"Triage answers a question about you, {line(request.title)}:\n{block(self.notes or self.action)}",
            source="triage",
            mode="immediate",
            priority="normal",
        )

    def _close(self, town: Town, request: Bead, *, by: str) -> None:
        beads.move(town, request.id, BeadStatus.CLOSED, actor=by, reason=f"triage: {self.action}")
        beads.note(
            town,
            request.id,
            TriageNotes.resolution_action.to(self.action),
            TriageNotes.resolution_notes.to(self.notes),
            TriageNotes.resolved_by.to(by),
        )
        audit.record(town, request.id, "triage_resolved", new=self.action, metadata={"by": by})
        linked = TriageNotes.escalation_bead_id.of(request.metadata)
        if linked is not None:
            beads.move(town, linked, BeadStatus.CLOSED, actor=by, reason="triage resolved")
        town.keys.change_triage(fruitless=0)


def _take_off(town: Town, question: _Question) -> tuple[Action, ...]:
    """Unhook the agent, if it is still hooked to the bead; a running agent is stopped."""
    if not question.on_it or question.agent is None:
        return ()
    hooks.unhook(town, question.agent.id)
    if not question.agent.status.busy:
        return ()
    return (StopAgent(agent_id=question.agent.id, reason="triage"),)


def _release(town: Town, bead: Bead | None) -> None:
    """Reopen an issue to which no agent is hooked; if it has no attempts left, fail it."""
    if bead is None or bead.type is not BeadType.ISSUE or lookup.agents_hooked_to(town, bead.id):
        return
    if bead.status not in (BeadStatus.OPEN, BeadStatus.IN_PROGRESS):
        return
    if bead.dispatch_attempts >= town.settings(bead.rig_id).max_dispatch_attempts:
        message = f"max dispatch attempts exhausted ({bead.dispatch_attempts})"
        failure = Failure("max_dispatch_attempts", message, "triage")
        beads.move(town, bead.id, BeadStatus.FAILED, reason=message, failure=failure)
        return
    beads.move(town, bead.id, BeadStatus.OPEN, reason="released by triage")
    beads.clear_assignee(town, bead.id)
