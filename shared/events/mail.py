"""Mail of agents, and what the mayor says to people (spec/events.md section 4.1)."""

from typing import Annotated, Final

from pydantic import Field

from shared.domain.notes import MailNotes, known
from shared.domain.outcomes import MISSING, Applied, Rejected
from shared.domain.states import BeadStatus, BeadType, Role
from shared.events import speakers
from shared.events.base import Event, EventResult
from shared.events.fields import BodyText, FreeText, IdText
from shared.town import belonging, lookup, new_ids
from shared.town.inbox import Fact
from shared.town.rows import Agent
from shared.town.town import Town
from shared.town.writing import beads, mail

_TITLE_AT_MOST: Final = 120


class MayorSaid(Event):
    """The mayor says something, perhaps in reply to a message."""

    event_type = "mayor_said"
    senders = frozenset({"coordinator", "operator"})
    is_own_report = True

    text: Annotated[BodyText, Field(min_length=1)]
    in_reply_to: IdText | None = None

    @property
    def creates(self) -> int:
        """One bead."""
        return 1

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Keep it as a closed message bead. A message that is answered has been delivered."""
        mayor = lookup.mayor(town) if fact.agent_id is None else lookup.agent(town, fact.agent_id)
        if mayor is None:
            return EventResult(MISSING)
        if mayor.role is not Role.MAYOR:
            return EventResult(Rejected("not the mayor"))
        if self.in_reply_to is not None:
            answered = lookup.bead(town, self.in_reply_to)
            if answered is None or answered.type is not BeadType.MESSAGE:
                return EventResult(Rejected("unknown message"))
            mail.delivered(town, answered.id)
        said = beads.create(
            town,
            beads.NewBead(
                id=new_ids.for_bead(town),
                type=BeadType.MESSAGE,
                title=_title_of(self.text),
                body=self.text,
                metadata=known((MailNotes.in_reply_to.to(self.in_reply_to),)),
                created_by=mayor.id,
            ),
        )
        beads.move(town, said, BeadStatus.CLOSED, actor=mayor.id, reason="said")
        return EventResult(Applied())


class MailSent(Event):
    """Somebody writes to the mayor or to an agent."""

    event_type = "mail_sent"
    senders = frozenset({"agent", "coordinator", "operator"})

    to: IdText
    text: Annotated[BodyText, Field(min_length=1)]
    subject: Annotated[FreeText, Field(min_length=1, max_length=_TITLE_AT_MOST)] | None = None
    in_reply_to: IdText | None = None

    @property
    def creates(self) -> int:
        """One bead."""
        return 1

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Keep it as an open message bead until its delivery is confirmed."""
        if speakers.is_unknown(fact, town):
            return EventResult(MISSING)
        mayor = lookup.mayor(town)
        addressee = mayor if self.to == Role.MAYOR else lookup.agent(town, self.to)
        if addressee is None and self.to != Role.MAYOR:
            return EventResult(Rejected("unknown addressee"))
        worker = speakers.worker(fact, town)
        if worker is not None and addressee is not None and not _may_write(town, worker, addressee):
            return EventResult(Rejected("not a neighbour: write to the mayor"))
        if self.in_reply_to is not None:
            answered = lookup.bead(town, self.in_reply_to)
            writer = speakers.named(fact, None)
            if answered is None or answered.type is not BeadType.MESSAGE or answered.assignee != writer:
                return EventResult(Rejected("unknown message"))
            mail.delivered(town, answered.id)
        beads.create(
            town,
            beads.NewBead(
                id=new_ids.for_bead(town),
                type=BeadType.MESSAGE,
                title=self.subject or _title_of(self.text),
                body=self.text,
                assignee=self.to if addressee is None else addressee.id,
                metadata=known((MailNotes.in_reply_to.to(self.in_reply_to),)),
                created_by=speakers.named(fact, None),
            ),
        )
        return EventResult(Applied())


def _may_write(town: Town, worker: Agent, addressee: Agent) -> bool:
    """Whether an agent that is not the mayor may write to this one: to the mayor, and to who works on the same task or convoy."""
    if addressee.role is Role.MAYOR:
        return True
    own, its = (lookup.bead(town, each.hook) for each in (worker, addressee))
    return own is not None and its is not None and belonging.are_neighbours(town, own, its)


def _title_of(text: str) -> str:
    """The first line that is not blank, cut to the length of a title."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return first[:_TITLE_AT_MOST] or "(blank)"
