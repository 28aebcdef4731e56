"""The event convoy_changed: beads join a convoy or leave it, and its title, details or mode change (spec/events.md 4.4)."""

from typing import Literal

from shared.domain.notes import ConvoyNotes
from shared.domain.outcomes import MISSING, Applied, EventOutcome, Rejected
from shared.domain.states import BeadStatus, BeadType, MergeMode
from shared.events import speakers
from shared.events.base import Event, EventResult
from shared.events.convoys import new_feature_branch
from shared.events.fields import BodyText, FreeText, Ids, IdText, NonEmptyText
from shared.town import belonging, lookup
from shared.town.inbox import Fact
from shared.town.rows import Bead
from shared.town.town import Town
from shared.town.writing import audit, beads, convoys, membership


class ConvoyChanged(Event):
    """Somebody put beads into a convoy, took some out, or changed what the convoy says of itself."""

    event_type = "convoy_changed"
    senders = frozenset({"coordinator", "operator"})
    mayor_only = True

    convoy_id: IdText
    add: Ids = ()
    remove: Ids = ()
    title: NonEmptyText | None = None
    body: BodyText | None = None
    merge_mode: Literal["review-then-land", "review-and-merge"] | None = None
    by: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Take out the removed beads, let the added ones join, in the given order, and edit the convoy; or reject all of it."""
        convoy = lookup.bead(town, self.convoy_id)
        if convoy is None or convoy.type is not BeadType.CONVOY:
            return EventResult(MISSING)
        refusal = self._refusal(town, convoy)
        if refusal is not None:
            return EventResult(refusal)
        self._edit(fact, town, convoy)
        for bead_id in dict.fromkeys(self.remove):
            membership.leave(town, bead_id, convoy.id, why="convoy_changed", actor=speakers.named(fact, self.by))
        for bead_id in dict.fromkeys(self.add):
            if not belonging.tracks(town, bead_id, convoy.id):
                membership.join(town, bead_id, convoy)
        return EventResult(Applied())

    def _refusal(self, town: Town, convoy: Bead) -> EventOutcome | None:
        edits = [each for each in (self.title, self.body, self.merge_mode) if each is not None]
        if not self.add and not self.remove and not edits:
            return Rejected("nothing to change")
        if edits and not convoy.live:
            return Rejected(f"the convoy is {convoy.status}")
        if self._changes_mode(town) and not convoys.is_staged(town, convoy.id):
            return Rejected("its work has begun, so its merge_mode stays")
        both = [bead_id for bead_id in self.add if bead_id in self.remove]
        if both:
            return Rejected(f"{both[0]} cannot be added and removed at once")
        for bead_id in self.remove:
            if not belonging.tracks(town, bead_id, convoy.id):
                return Rejected(f"{bead_id} is not in the convoy {convoy.id}")
        rig_id = self._rig_of(town, convoy)
        for bead_id in self.add:
            bead = lookup.bead(town, bead_id)
            refusal = f"{bead_id} does not exist" if bead is None else _why_not(town, bead, convoy, rig_id)
            if refusal is not None:
                return Rejected(refusal)
            rig_id = rig_id or (None if bead is None else bead.rig_id)
        return None

    def _changes_mode(self, town: Town) -> bool:
        return self.merge_mode is not None and self.merge_mode != convoys.mode_of(town, self.convoy_id)

    def _edit(self, fact: Fact, town: Town, convoy: Bead) -> None:
        fields = {name: value for name, value in (("title", self.title), ("body", self.body)) if value is not None}
        beads.set_fields(town, convoy.id, fields)
        changed = sorted(fields)
        if self._changes_mode(town):
            mode, branch, rig_id = MergeMode(self.merge_mode or ""), None, self._rig_of(town, convoy)
            if mode is MergeMode.REVIEW_THEN_LAND:
                branch = new_feature_branch(town, convoy.id, self.title or convoy.title, rig_id or "")
            convoys.set_mode(town, convoy.id, mode, branch)
            beads.note(town, convoy.id, ConvoyNotes.feature_branch.to(branch))
            changed.append("merge_mode")
        if changed:
            actor = speakers.named(fact, self.by)
            audit.record(town, convoy.id, "fields_updated", agent_id=actor, metadata={"fields": changed})

    def _rig_of(self, town: Town, convoy: Bead) -> str | None:
        """The rig in which the convoy works once the removed beads are gone; None if it has none yet."""
        stay = [bead for bead in lookup.tracked_issues(town, convoy.id) if bead not in self.remove]
        return next((bead.rig_id for bead in (lookup.bead(town, each) for each in stay) if bead and bead.rig_id), None)


def _why_not(town: Town, bead: Bead, convoy: Bead, rig_id: str | None) -> str | None:
    """Why a bead cannot join a convoy; None if it can."""
    other = lookup.convoy_of(town, bead.id)
    if bead.type is not BeadType.ISSUE:
        return f"{bead.id} is a bead of type {bead.type}, and a convoy consists of issues"
    if not bead.live:
        reopen = ": reopen it first" if bead.status is BeadStatus.FAILED else ""
        return f"{bead.id} is {bead.status}{reopen}"
    if other is not None and other[0] != convoy.id:
        return f"{bead.id} is in the convoy {other[0]}: take it out there first"
    if rig_id is not None and bead.rig_id is not None and bead.rig_id != rig_id:
        return f"{bead.id} belongs to the rig {bead.rig_id}, and the convoy to {rig_id}"
    if beads.closes_cycle(town, convoy.id, bead.id):
        return f"cycle: {bead.id} waits for the convoy {convoy.id}"
    return None
