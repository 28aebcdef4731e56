"""Actions on the budgets that people have set: a person is told, and it is noted since when a budget is spent."""

from dataclasses import dataclass
from typing import ClassVar, Final

from shared.actions.base import Action
from shared.domain.outcomes import ALREADY, ActionOutcome, Applied
from shared.town import lookup
from shared.town.town import Town
from shared.town.writing import escalations, usage

_HELP: Final = (
    "When all of it is used, no more work is started {here}; agents that work go on to their end. "
    "The setting budget.per_{kind} raises it."
)
_HERE: Final = {"day": "on this day (UTC)", "convoy": "in this convoy", "bead": "for this bead, its reviews included"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WarnOfBudget(Action):
    """Tell a person that most of a budget is used."""

    type: ClassVar[str] = "warn_of_budget"

    kind: str
    subject: str
    limit: str
    message: str

    def apply(self, town: Town) -> ActionOutcome:
        """Raise an escalation, once for each limit of a day, convoy or bead."""
        if not usage.note_told(town, self.kind, self.subject, self.limit):
            return ALREADY
        bead = None if self.kind == "day" else lookup.bead(town, self.subject)
        named = self.subject if bead is None else bead.title
        escalations.escalate_once(
            town,
            f"budget_spent:{self.kind} {self.subject}",
            f"Budget of the {self.kind} {named}: {self.message}",
            category="budget_spent",
            body=_HELP.format(here=_HERE[self.kind], kind=self.kind),
            rig_id=None if bead is None else bead.rig_id,
        )
        return Applied()


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkBudget(Action):
    """Note since when a budget is spent, or that it is not spent any more."""

    type: ClassVar[str] = "mark_budget"

    kind: str
    subject: str
    spent: bool

    def apply(self, town: Town) -> ActionOutcome:
        """Set or remove the time."""
        since = town.tick.now if self.spent else None
        return Applied() if usage.note_spent(town, self.kind, self.subject, since) else ALREADY
