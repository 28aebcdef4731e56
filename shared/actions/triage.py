"""Actions that ask for triage or a person."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTriageRequest(Action):
    """Ask what to do about an agent."""

    type: ClassVar[str] = "create_triage_request"

    agent_id: str
    triage_type: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BumpEscalation(Action):
    """Raise an escalation that nobody acknowledged."""

    type: ClassVar[str] = "bump_escalation"

    bead_id: str
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalateTriage(Action):
    """Ask for a person where triage batch after triage batch brought no answer (rule H2)."""

    type: ClassVar[str] = "escalate_triage"

    requests: int
    batches: int
