"""What the mayor says to people (spec/events.md section 4.1)."""

from typing import Annotated, Final

from pydantic import Field

from shared.domain.notes import MailNotes, known
from shared.domain.outcomes import MISSING, Applied, Rejected
from shared.domain.states import BeadStatus, BeadType, Role
from shared.events.base import Event, EventResult
from shared.events.fields import BodyText, IdText
from shared.town import lookup, new_ids
from shared.town.inbox import Fact
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


def _title_of(text: str) -> str:
    """The first line that is not blank, cut to the length of a title."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return first[:_TITLE_AT_MOST] or "(blank)"
