"""Actions on escalations that a rule raises and closes: each has a cause, `<reason>:<subject>`."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action, outcome_of
from shared.domain.notes import BeadNotes, EscalationNotes
from shared.domain.obstacles import waited_text
from shared.domain.outcomes import ALREADY, MISSING, TERMINAL, ActionOutcome, Applied
from shared.domain.states import BeadStatus, BeadType
from shared.town import lookup
from shared.town.town import Town
from shared.town.writing import beads, escalations


@dataclass(frozen=True, slots=True, kw_only=True)
class RaiseEscalation(Action):
    """Ask a person about a bead that waits too long for a reason that only a person can end."""

    type: ClassVar[str] = "raise_escalation"

    bead_id: str
    reason: str
    episode: str
    message: str

    def apply(self, town: Town) -> ActionOutcome:
        """Raise it once in this episode of waiting, unless one about the same cause is live."""
        bead = lookup.bead(town, self.bead_id)
        if bead is None:
            return MISSING
        if not bead.live:
            return TERMINAL
        if BeadNotes.voiced.of(bead.metadata) == self.episode:
            return ALREADY
        beads.note(town, bead.id, BeadNotes.voiced.to(self.episode))
        is_review = bead.type is BeadType.MERGE_REQUEST
        escalations.escalate_once(
            town,
            f"{self.reason}:{bead.id}",
            f"{bead.title} has waited for {waited_text(self.reason)}: {self.message}",
            category=self.reason,
            rig_id=bead.rig_id,
            about=(EscalationNotes.mr_bead_id.to(bead.id),) if is_review else (),
        )
        return Applied()


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseEscalation(Action):
    """Close an escalation whose cause has ended, and the triage requests about it."""

    type: ClassVar[str] = "close_escalation"

    bead_id: str
    reason: str

    def apply(self, town: Town) -> ActionOutcome:
        """Close it, if it is live."""
        bead = lookup.bead(town, self.bead_id)
        if bead is None or bead.type is not BeadType.ESCALATION:
            return MISSING
        moved = beads.move(town, bead.id, BeadStatus.CLOSED, reason=self.reason)
        for request_id in lookup.requests_about(town, bead.id):
            beads.move(town, request_id, BeadStatus.CLOSED, reason=self.reason)
        return outcome_of(moved)


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalateReviewCap(Action):
    """Ask people to review a pull request that no refinery could review."""

    type: ClassVar[str] = "escalate_review_cap"

    bead_id: str
    attempts: int

    def apply(self, town: Town) -> ActionOutcome:
        """Raise it, unless one about the same review is live."""
        bead = lookup.bead(town, self.bead_id)
        if bead is None:
            return MISSING
        if not bead.live:
            return TERMINAL
        made = escalations.escalate_once(
            town,
            f"review_cap:{bead.id}",
            f"No refinery could review: {bead.title}",
            category="review_cap",
            body=f"{self.attempts} dispatches ended without a review. Its pull request is polled: review and merge it there.",
            rig_id=bead.rig_id,
            about=(EscalationNotes.mr_bead_id.to(bead.id),),
        )
        return ALREADY if made is None else Applied()
