"""What an action is: an intended change with a wire name, fields, and an `apply` that checks whether it still fits."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from shared.domain.outcomes import ALREADY, MISSING, MOVED_ON, TERMINAL, ActionOutcome, Applied, Skipped
from shared.domain.states import EffectKind
from shared.town import outbox
from shared.town.town import Town
from shared.town.writing.beads import Moved

Want = tuple[tuple[str, str], str]
"""A row, as (kind, id), and the state in which the action wants it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Base of all actions. Actions are compared by value, and each is applied in its own savepoint."""

    type: ClassVar[str] = ""

    def apply(self, town: Town) -> ActionOutcome:
        """Change the town, if the action still fits its state. If this raises, its savepoint is rolled back."""
        raise NotImplementedError

    def wants(self) -> tuple[Want, ...]:
        """The states in which this action wants rows. Two actions that want a row in different states in one pass conflict."""
        return ()

    def as_json(self) -> dict[str, Any]:
        """The action as the journal and the answers show it, with the names of the wire format."""
        shown: dict[str, Any] = {"type": self.type}
        for field in fields(self):
            value = getattr(self, field.name)
            shown[field.name.rstrip("_")] = list(value) if isinstance(value, tuple) else value
        return shown


_OUTCOME: dict[Moved, ActionOutcome] = {
    "moved": Applied(),
    "already": ALREADY,
    "terminal": TERMINAL,
    "moved_on": MOVED_ON,
    "missing": MISSING,
}


def outcome_of(moved: Moved) -> ActionOutcome:
    """The outcome of an action that consists of one status change."""
    return _OUTCOME[moved]


DUPLICATE_EFFECT = Skipped("duplicate effect")


def outcome_of_request(
    town: Town, kind: EffectKind, subject: str, generation: int, payload: Mapping[str, Any]
) -> ActionOutcome:
    """Request an effect. A duplicate is skipped; so an action requests its effect first and changes the town afterwards."""
    return Applied() if outbox.request(town, kind, subject, generation, payload) else DUPLICATE_EFFECT
