"""The base of all events. An event is a fact with a wire name, a strict payload and an `apply`.

The class is the payload model; the envelope's `agent_id` and `bead_id` are in the `Fact` that is passed to `apply`. `needs`
lists the envelope fields that the type requires, `senders` the scopes of town tokens that may send it.
"""

from collections.abc import Mapping
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
    """The result of applying an event: its outcome and the actions that follow from it.

    `transient` means that the event's row is deleted once the event is applied (spec/events.md 3.1).
    """

    outcome: EventOutcome
    returns: tuple[Action, ...] = ()
    transient: bool = False


class Event(BaseModel):
    """Base of all events. Payloads are strict: no coercion, no unknown field."""

    # Each validator is built on first use: most event types never arrive during the life of a Lambda environment.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    event_type: ClassVar[str] = ""
    needs: ClassVar[tuple[Literal["agent_id", "bead_id"], ...]] = ()
    senders: ClassVar[frozenset[Scope]]
    """Every event must define it. With no senders, only the town itself makes the event, and ingest refuses it from producers."""
    mayor_only: ClassVar[bool] = False
    """Whether the holder of an agent's token must be the mayor. Tokens do not name roles, so this is judged when it is applied."""
    asks: ClassVar[str] = "let an operator send it, with an operator's token"
    """What the sender of a forbidden value can do instead."""
    over_budget: ClassVar[Literal["refused", "applied"]] = "refused"
    """What happens to it beyond the budget of its sender. `applied`: the town must know it in any case."""
    transient: ClassVar[bool] = False
    is_own_report: ClassVar[bool] = False
    """Whether an agent reports with it about itself and its own work; it judges by itself what counts behind the end of a lease."""
    is_farewell: ClassVar[bool] = False
    """Whether the event says that its agent's process has ended: then no lease is over that the process would have to respect."""
    counts_late: ClassVar[bool] = False
    """Whether it says what was spent, which a superseded generation may still say: it judges by itself what counts."""
    ages: ClassVar[bool] = False
    """Whether `occurred_at` only says how old a time in the payload is (spec/events.md 1, rule 11): it is never too old."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a class that does not define `senders`, so that nobody may send an event by accident."""
        super().__init_subclass__(**options)
        if cls.event_type and not hasattr(cls, "senders"):
            raise TypeError(
                f"{cls.__module__}.{cls.__name__} needs `senders = frozenset({{...}})`: the scopes that may send it"
            )

    @classmethod
    def forbidden(cls, payload: Mapping[str, object], scope: Scope) -> str | None:  # noqa: ARG003 - most events forbid nothing
        """The part of a payload that a town token of this scope may not send; None if it may send all of it."""
        return None

    @property
    def creates(self) -> int:
        """How many beads and escalations it asks for, at most."""
        return 0

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Change the town. If this raises, the savepoint is rolled back and later ticks retry the event."""
        raise NotImplementedError
