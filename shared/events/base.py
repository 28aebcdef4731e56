"""What every event is: a fact with a wire name, a strict payload and an `apply`.

The class is the payload model; the envelope's `agent_id` and `bead_id` stand in the `Fact` that `apply` is given.
`needs` names the envelope fields that the type requires, `senders` the scopes of town tokens that may send it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from shared.actions.base import Action
from shared.domain.errors import UnreadableEvent
from shared.domain.outcomes import EventOutcome
from shared.domain.states import Scope
from shared.town.inbox import Fact
from shared.town.town import Town

__all__ = ["Event", "EventResult", "UnreadableEvent"]


@dataclass(frozen=True, slots=True)
class EventResult:
    """What applying gave: an outcome and the actions that the event returns.

    `transient` says that the event leaves no row once applied (spec/events.md 3.1).
    """

    outcome: EventOutcome
    returns: tuple[Action, ...] = ()
    transient: bool = False


class Event(BaseModel):
    """Base of all events. Payloads are strict: no coercion, no unknown field."""

    # Built when the first event of a type comes: most types never come while one Lambda environment lives.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    event_type: ClassVar[str] = ""
    needs: ClassVar[tuple[Literal["agent_id", "bead_id"], ...]] = ()
    senders: ClassVar[frozenset[Scope]]
    """Every event says it. An event without senders is made by the town itself and refused at ingest from producers."""
    transient: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a class that does not say who may send it: nobody is entitled by accident."""
        super().__init_subclass__(**options)
        if cls.event_type and not hasattr(cls, "senders"):
            raise TypeError(
                f"{cls.__module__}.{cls.__name__} needs `senders = frozenset({{...}})`: the scopes that may send it"
            )

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Change the town. May raise; then the savepoint is undone and the event is tried again by later ticks."""
        raise NotImplementedError
