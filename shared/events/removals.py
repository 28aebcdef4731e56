"""Events that remove something for good: a bead that is over, a rig without work (spec/events.md 4.3f and 4.6d)."""

from typing import ClassVar, Final

from shared.domain.outcomes import MISSING, Applied, Rejected
from shared.domain.states import BeadType
from shared.events.base import Event, EventResult
from shared.events.fields import FreeText, IdText
from shared.town import belonging, inbox, lookup, referring
from shared.town.inbox import Fact
from shared.town.town import Town
from shared.town.writing import beads, rigs

_NAMED: Final = 3


class BeadDeleted(Event):
    """A bead that is over must be forgotten, with its reviews and parts."""

    event_type: ClassVar[str] = "bead_deleted"
    needs = ("bead_id",)
    senders = frozenset({"operator"})

    by: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Delete its rows, unless something still needs them."""
        bead_id = fact.bead_id or ""
        bead_type = belonging.type_of(town, bead_id)
        if bead_type is None:
            return EventResult(MISSING)
        refusal = _why_not(town, bead_id, bead_type)
        if refusal is not None:
            return EventResult(Rejected(refusal))
        inbox.mark_processed(town, fact, "applied")  # before the pending events about the bead end as deleted
        below = referring.belongings(town, bead_id)
        for each in (*reversed(below), bead_id):
            if belonging.type_of(town, each) is not None:  # it may have gone as a part of another one
                beads.delete(town, each)
        town.business_event("bead.deleted", {"bead_id": bead_id, "with": below, "by": self.by})
        return EventResult(Applied())


class RigRemoved(Event):
    """A repository is no longer worked on. Its beads stay, without a rig."""

    event_type: ClassVar[str] = "rig_removed"
    senders = frozenset({"operator"})

    rig_id: IdText
    by: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:  # noqa: ARG002 - the signature of every event
        """Delete the rig and its agents, unless it has work."""
        if not rigs.exists(town, self.rig_id):
            return EventResult(MISSING)
        live = referring.live_in_rig(town, self.rig_id, limit=_NAMED + 1)
        if live:
            more = " and others" if len(live) > _NAMED else ""
            return EventResult(
                Rejected(f"it has live work, {', '.join(live[:_NAMED])}{more}: finish or cancel it first")
            )
        busy = referring.busy_in_rig(town, self.rig_id)
        if busy is not None:
            return EventResult(Rejected(f"its agent {busy} is at work: reset it first"))
        rigs.remove(town, self.rig_id)
        return EventResult(Applied())


def _why_not(town: Town, bead_id: str, bead_type: str) -> str | None:
    """Why a bead must stay; None if nothing needs it."""
    if bead_type == BeadType.AGENT:
        return "agents are not deleted: an idle one is forgotten after a day"
    both = [bead_id, *referring.belongings(town, bead_id)]
    if (live := referring.first_live(town, both)) is not None:
        return f"{live[0]} is {live[1]}: cancel it first"
    if (convoy := lookup.convoy_of(town, bead_id)) is not None:
        return f"it is in the convoy {convoy[0]}: take it out there first"
    if (member := referring.first_member(town, bead_id)) is not None:
        return f"{member} is in it: take it out first"
    if (dependent := referring.first_dependent(town, both)) is not None:
        return f"{dependent[0]} needs {dependent[1]}: cancel or change it first"
    if (kept := referring.first_kept(town, both) or referring.first_unfinished_effect(town, both)) is not None:
        return f"the town has something to do about {kept}: try again later"
    if (copied := next((each for each in both if each in town.keys.back_from_archive), None)) is not None:
        return f"{copied} has been in the archive, where nothing is deleted"
    return None
