"""Actions on the status and the assignee of a bead."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action, Want, outcome_of
from shared.domain.outcomes import ALREADY, MISSING, TERMINAL, ActionOutcome, Applied
from shared.domain.states import SYSTEM, BeadStatus
from shared.town import lookup
from shared.town.town import Town
from shared.town.writing import agents, beads, hooks
from shared.town.writing.beads import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionBead(Action):
    """Change a bead's status, if it still has the one that the rule saw."""

    type: ClassVar[str] = "transition_bead"

    bead_id: str
    from_: BeadStatus | None = None
    to: BeadStatus
    reason: str
    actor: str = SYSTEM

    def apply(self, town: Town) -> ActionOutcome:
        """Change it. A change to failed stores the reason, with the scheduler as its source."""
        failure = Failure("reconciler", self.reason, "scheduler") if self.to is BeadStatus.FAILED else None
        moved = beads.move(
            town,
            self.bead_id,
            self.to,
            from_=self.from_,
            actor=self.actor,
            reason=self.reason,
            failure=failure,
        )
        return outcome_of(moved)

    def wants(self) -> tuple[Want, ...]:
        """The bead in its new status."""
        return ((("bead", self.bead_id), self.to.value),)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignBead(Action):
    """Make an agent the assignee of a live bead."""

    type: ClassVar[str] = "assign_bead"

    bead_id: str
    agent_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Assign it, and record it in the audit trail."""
        bead = lookup.bead(town, self.bead_id)
        if bead is None or not agents.exists(town, self.agent_id):
            return MISSING
        if not bead.live:
            return TERMINAL
        if bead.assignee == self.agent_id:
            return ALREADY
        beads.assign(town, self.bead_id, self.agent_id)
        return Applied()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearBeadAssignee(Action):
    """Remove a bead's assignee and every hook on it."""

    type: ClassVar[str] = "clear_bead_assignee"

    bead_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Remove both; a bead that has neither is not changed."""
        if not lookup.exists(town, self.bead_id):
            return MISSING
        hooked = lookup.hooked_agent_ids(town, self.bead_id)
        for agent_id in hooked:
            hooks.unhook(town, agent_id)
        cleared = beads.clear_assignee(town, self.bead_id)
        if hooked and not cleared:
            beads.touch(town, self.bead_id)
        return Applied() if cleared or hooked else ALREADY
