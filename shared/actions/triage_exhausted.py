"""The action that asks a person when triage brings no answer (rule H2)."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action
from shared.domain.outcomes import ALREADY, ActionOutcome, Applied
from shared.town.town import Town
from shared.town.writing import escalations


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalateTriage(Action):
    """Create one escalation for the open triage requests that several batches did not answer."""

    type: ClassVar[str] = "escalate_triage"

    requests: int
    batches: int

    def apply(self, town: Town) -> ActionOutcome:
        """Create it once, until the event triage_resolved or a new request allows batches again."""
        if town.keys.triage.escalated:
            return ALREADY
        escalations.escalate(
            town,
            f"{self.requests} triage requests are open after {self.batches} fruitless batches",
            severity="high",
            category="triage_exhausted",
        )
        town.keys.change_triage(escalated=True)
        return Applied()
