"""What every action is: an intended change with a wire name, fields and an `apply` that is guarded."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from shared.domain.outcomes import ALREADY, MISSING, MOVED_ON, TERMINAL, ActionOutcome, Applied, Skipped
from shared.domain.states import EffectKind
from shared.town import outbox
from shared.town.town import Town
from shared.town.writing.beads import Moved

Want = tuple[tuple[str, str], str]
"""A row, as (kind, id), and the state that the action wants it in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Base of all actions. Compared by value; applied inside a savepoint of its own."""

    type: ClassVar[str] = ""

    def apply(self, town: Town) -> ActionOutcome:
        """Change the town as far as the action's guard allows. May raise; then its savepoint is undone."""
        raise NotImplementedError

    def wants(self) -> tuple[Want, ...]:
        """The states that this action wants for rows; two different ones for a row in one pass are a conflict."""
        return ()

    def as_json(self) -> dict[str, Any]:
        """The action as the journal and the answers show it: wire name and wire field names."""
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
    """The outcome of an action that is one guarded move."""
    return _OUTCOME[moved]


DUPLICATE_EFFECT = Skipped("duplicate effect")


def outcome_of_request(
    town: Town, kind: EffectKind, subject: str, generation: int, payload: Mapping[str, Any]
) -> ActionOutcome:
    """Ask for an effect; the same one twice is skipped, so an action asks first and changes the town afterwards."""
    return Applied() if outbox.request(town, kind, subject, generation, payload) else DUPLICATE_EFFECT
