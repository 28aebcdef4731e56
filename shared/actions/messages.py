"""Actions that send messages: to agents, to the mayor, to the journal and the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from shared.actions.base import Action, outcome_of_request
from shared.actions.start_context import mayor_context
from shared.domain import limits
from shared.domain.mail import in_subject, message_id_of, nudge_id_of
from shared.domain.notes import BeadNotes, ConvoyNotes
from shared.domain.orders import MayorOrder, NudgeOrder
from shared.domain.outcomes import ALREADY, MISSING, MOVED_ON, ActionOutcome, Applied
from shared.domain.states import SYSTEM, Role
from shared.town import lookup
from shared.town.town import Town
from shared.town.writing import agents, beads, mail, nudges

Tier = Literal["warn", "escalate", "force_stop"]
Mode = Literal["wait-idle", "immediate", "queue"]
Urgency = Literal["normal", "urgent"]

RESPAWN_SUPPRESSED: Final = "reconciler.respawn_suppressed"
_FAILED_BLOCKER: Final = "failed_blocker:"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendNudge(Action):
    """Send a running agent a short text. A tier sets mode, priority, source and expiry. `mail` is the message that it delivers."""

    type: ClassVar[str] = "send_nudge"

    agent_id: str
    message: str
    tier: Tier | None = None
    source: str | None = None
    mode: Mode | None = None
    priority: Urgency | None = None
    mail: str | None = None

    def apply(self, town: Town) -> ActionOutcome:
        """Store the nudge, and request its delivery. Mail has one nudge, whose delivery may be requested several times."""
        if not agents.exists(town, self.agent_id):
            return MISSING
        message = None if self.mail is None else mail.open_message(town, self.mail)
        if self.mail is not None and message is None:
            return MOVED_ON
        mode, priority = ("immediate", "urgent") if self.tier else (self.mode or "wait-idle", self.priority or "normal")
        nudge_id = nudges.create(
            town,
            self.agent_id,
            self.message,
            mode=mode,
            priority=priority,
            source=f"reconciler:{self.tier}" if self.tier else self.source or SYSTEM,
            expires_at=town.tick.now + limits.NUDGE_LIFE if self.tier else None,
            nudge_id=None if message is None else nudge_id_of(town.tick.town_id, message.id),
        )
        order = NudgeOrder(
            town_id=town.tick.town_id,
            agent_id=self.agent_id,
            nudge_id=nudge_id,
            message=self.message,
            mode=mode,
            priority=priority,
        )
        if message is None:
            return outcome_of_request(town, order, nudge_id, 0)
        mail.note_request(town, message)
        return outcome_of_request(town, order, nudge_id, town.tick.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpireNudge(Action):
    """Expire a nudge that was not delivered in time."""

    type: ClassVar[str] = "expire_nudge"

    nudge_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Mark it as delivered, which ends it, unless it was delivered before."""
        if nudges.agent_of(town, self.nudge_id) is None:
            return MISSING
        return Applied() if nudges.deliver(town, self.nudge_id) else ALREADY


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyMayor(Action):
    """Send the mayor a message. `subject` is the subject of the effect, such as `escalation:<bead>`; `mail:<bead>` is mail."""

    type: ClassVar[str] = "notify_mayor"

    subject: str
    message: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request it, with all that a runtime needs to start a mayor that is not running. A town that has lost its mayor gets one.

        Mark a failed blocker as reported, and count a request to deliver mail.
        """
        mail_id = in_subject(self.subject)
        letter = None if mail_id is None else mail.open_message(town, mail_id)
        if mail_id is not None and letter is None:
            return MOVED_ON
        mayor = lookup.agent(town, agents.get_or_create(town, Role.MAYOR, None))
        order = MayorOrder(
            town_id=town.tick.town_id,
            agent_id=None if mayor is None else mayor.id,
            subject=self.subject,
            message=self.message,
            message_id=None if letter is None else message_id_of(letter.id),
            start=None if mayor is None else mayor_context(town, mayor),
        )
        outcome = outcome_of_request(town, order, self.subject, town.tick.number)
        if isinstance(outcome, Applied) and self.subject.startswith(_FAILED_BLOCKER):
            beads.note(town, self.subject.removeprefix(_FAILED_BLOCKER), BeadNotes.failed_blocker_notified.to(True))
        if letter is not None:
            mail.note_request(town, letter)
        return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitEvent(Action):
    """Note a business event for the journal and the log."""

    type: ClassVar[str] = "emit_event"

    event_name: str
    data: Mapping[str, Any]

    def apply(self, town: Town) -> ActionOutcome:
        """Note it. Also note a suppressed landing attempt on its convoy, so that it is reported only once."""
        town.business_event(self.event_name, dict(self.data))
        if self.event_name == RESPAWN_SUPPRESSED:
            attempt = self.data["suppressedAttempt"]
            beads.note(town, self.data["convoyId"], ConvoyNotes.respawn_suppressed_attempt.to(attempt))
        return Applied()
