"""Results of messages, of calls about the container and of model changes (spec/actions.md sections 7 and 9)."""

from typing import ClassVar, Literal

from shared.domain.mail import in_subject
from shared.domain.notice_orders import NoticeOrder
from shared.domain.orders import ContainerStopOrder, MayorOrder, ModelOrder
from shared.domain.outcomes import MISSING, Applied, Skipped
from shared.domain.states import AgentStatus, EffectKind
from shared.events.attempts import AttemptReport, SettledAttempt, settle_attempt
from shared.events.base import EventResult
from shared.events.fields import FreeText, IdText
from shared.town import lookup
from shared.town.inbox import Fact
from shared.town.town import Town
from shared.town.writing import agents, audit, mail, nudges


class NudgeResult(AttemptReport):
    """Whether a nudge was delivered. If not, it stays undelivered until it is acknowledged or expires."""

    event_type: ClassVar[str] = "nudge_result"

    nudge_id: IdText
    delivered: bool
    error: FreeText | None = None
    passing: bool = False

    def apply(self, fact: Fact, town: Town) -> EventResult:  # noqa: ARG002 - the signature of every event
        """Note the first delivery, and close the mail that it delivered; record a final failure."""
        recorded = settle_attempt(town, self, EffectKind.SEND_NUDGE, success=self.delivered, passing=self.passing)
        if isinstance(recorded, Skipped):
            return EventResult(recorded)
        agent_id = nudges.agent_of(town, self.nudge_id)
        if agent_id is None:
            return EventResult(MISSING)
        if recorded.ended == "done":
            nudges.deliver(town, self.nudge_id)
            mail.nudge_delivered(town, self.nudge_id, agent_id)
        elif recorded.ended == "failed":
            notes = {"nudge_id": self.nudge_id, "reason": self.error or "not delivered"}
            audit.record(town, agent_id, "notification_failed", agent_id=agent_id, metadata=notes)
        return EventResult(Applied())


class MayorNotified(AttemptReport):
    """Whether a message to the mayor was delivered."""

    event_type: ClassVar[str] = "mayor_notified"

    delivered: bool
    error: FreeText | None = None
    passing: bool = False

    def apply(self, fact: Fact, town: Town) -> EventResult:  # noqa: ARG002 - the signature of every event
        """Record the delivery, after which mail is closed and the mayor is working; or record a final failure."""
        recorded = settle_attempt(town, self, EffectKind.NOTIFY_MAYOR, success=self.delivered, passing=self.passing)
        if isinstance(recorded, Skipped):
            return EventResult(recorded)
        mayor = lookup.mayor(town)
        if mayor is None:
            return EventResult(MISSING)
        order = recorded.effect.order(MayorOrder)
        subject = {"subject": None if order is None else order.subject}
        mail_id = None if order is None else in_subject(order.subject)
        if recorded.ended == "done" and mail_id is not None:
            mail.delivered(town, mail_id)
        if recorded.ended == "done":
            audit.record(town, mayor.id, "mail_sent", agent_id=mayor.id, metadata=subject)
            if mayor.status in (AgentStatus.WAITING, AgentStatus.IDLE):
                agents.move(town, mayor.id, AgentStatus.WORKING)
        elif recorded.ended == "failed":
            notes = {**subject, "reason": self.error or "not delivered"}
            audit.record(town, mayor.id, "notification_failed", agent_id=mayor.id, metadata=notes)
        return EventResult(Applied())


class EffectDone(AttemptReport):
    """The result of a token refresh, a container stop, a model change or a notice to people."""

    event_type: ClassVar[str] = "effect_result"

    kind: Literal["refresh_token", "stop_container", "update_model", "send_notice"]
    ok: bool
    error: FreeText | None = None
    passing: bool = False

    def apply(self, fact: Fact, town: Town) -> EventResult:  # noqa: ARG002 - the signature of every event
        """Note a success. A failure changes nothing except its outbox row."""
        recorded = settle_attempt(town, self, EffectKind(self.kind), success=self.ok, passing=self.passing)
        if isinstance(recorded, Skipped):
            return EventResult(recorded)
        if recorded.effect.kind is EffectKind.SEND_NOTICE:
            _note_notice(town, recorded, self.error)
        elif recorded.ended == "done":
            _note_success(town, recorded)
        return EventResult(Applied())


def _note_notice(town: Town, recorded: SettledAttempt, error: str | None) -> None:
    """Note on its bead, if it has one, that people were told, or that they could not be told."""
    order = recorded.effect.order(NoticeOrder)
    if order is None or recorded.ended == "retry" or order.bead_id is None or not lookup.exists(town, order.bead_id):
        return
    about: dict[str, object] = {"channel": order.channel, "notice": order.notice}
    if recorded.ended == "done":
        audit.record(town, order.bead_id, "mail_sent", metadata=about)
    else:
        audit.record(town, order.bead_id, "notification_failed", metadata={**about, "reason": error or "not delivered"})


def _note_success(town: Town, recorded: SettledAttempt) -> None:
    effect = recorded.effect
    if effect.kind is EffectKind.REFRESH_TOKEN:
        town.keys.last_token_refresh_at = town.tick.now
    elif effect.kind is EffectKind.STOP_CONTAINER:
        town.keys.last_idle_stop_at = town.tick.now
        stop = effect.order(ContainerStopOrder)
        town.business_event("container.idle_stop", {"reason": None if stop is None else stop.reason})
    elif lookup.exists(town, effect.subject):
        order = effect.order(ModelOrder)
        new = None if order is None else order.model
        audit.record(
            town, effect.subject, "fields_updated", agent_id=effect.subject, new=new, metadata={"field": "model"}
        )
