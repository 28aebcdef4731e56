"""Actions that ask for triage or for a person."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action
from shared.domain.outcomes import ALREADY, MISSING, MOVED_ON, TERMINAL, ActionOutcome, Applied, Skipped
from shared.domain.states import BeadType
from shared.town import lookup
from shared.town.town import Town
from shared.town.writing import agents, escalations


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTriageRequest(Action):
    """Ask what to do about an agent. The types are in spec/actions.md section 8."""

    type: ClassVar[str] = "create_triage_request"

    agent_id: str
    triage_type: str
    reason: str

    def apply(self, town: Town) -> ActionOutcome:
        """Open the request, unless the same one or too many others are open."""
        if not agents.exists(town, self.agent_id):
            return MISSING
        asked = escalations.open_triage_request(
            town, agent_id=self.agent_id, triage_type=self.triage_type, reason=self.reason
        )
        if asked == "already":
            return ALREADY
        return Skipped("cap") if asked == "cap" else Applied()


@dataclass(frozen=True, slots=True, kw_only=True)
class BumpEscalation(Action):
    """Raise an escalation that was not acknowledged."""

    type: ClassVar[str] = "bump_escalation"

    bead_id: str
    severity: str

    def apply(self, town: Town) -> ActionOutcome:
        """Raise severity and priority, and count it."""
        bead = lookup.bead(town, self.bead_id)
        if bead is None or bead.type is not BeadType.ESCALATION:
            return MISSING
        if not bead.live:
            return TERMINAL
        return Applied() if escalations.bump(town, bead.id, self.severity) else MOVED_ON
