"""The base of all actions. An action is an intended change, and its `apply` checks whether the change still fits the town."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from shared.domain.orders import Order
from shared.domain.outcomes import ALREADY, MISSING, MOVED_ON, TERMINAL, ActionOutcome, Applied, Skipped
from shared.town import outbox
from shared.town.town import Town
from shared.town.writing.beads import Moved

Want = tuple[tuple[str, str], str]
"""A row, as (kind, id), and the state that the action wants for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Base of all actions. Actions are compared by value, and each is applied in its own savepoint."""

    type: ClassVar[str] = ""

    def apply(self, town: Town) -> ActionOutcome:
        """Change the town, if the action still fits its state. Unless this returns Applied, its savepoint is rolled back."""
        raise NotImplementedError

    def wants(self) -> tuple[Want, ...]:
        """The states that this action wants for rows. Two actions of a pass that want different states for a row conflict."""
        return ()

    def as_json(self) -> dict[str, object]:
        """The action in its wire form, as the journal and the answers show it."""
        shown: dict[str, object] = {"type": self.type}
        for name, value in self.parts():
            shown[name.rstrip("_")] = list(value) if isinstance(value, tuple) else value
        return shown

    def parts(self) -> Iterator[tuple[str, object]]:
        """Its fields by name, in order. They are the slots of its class, because no action has fields of another one."""
        name: str
        for name in self.__slots__:
            yield name, getattr(self, name)


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


def outcome_of_request(town: Town, order: Order, subject: str, generation: int) -> ActionOutcome:
    """Request an effect. A duplicate is skipped, which undoes everything else that the action has changed."""
    return Applied() if outbox.request(town, order, subject, generation) else DUPLICATE_EFFECT
