"""The queue port: wakes on their way to workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Wake:
    """A wish that somebody looks at a town, with the due markers that led to it, as whole seconds.

    `repeat_key` names the reason: of several wakes with one key within five minutes only the first is delivered.
    `watched`: its sender looks at due markers again within seconds, so the worker need not wait for what follows soon.
    """

    town_id: str
    due: tuple[datetime, ...]
    repeat_key: str
    watched: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as the queue hands it over, for the `receives`-th time. `wake` is None if its body is not a wake.

    The `receipt` stands for this delivery alone.
    """

    message_id: str
    receipt: str
    receives: int
    wake: Wake | None


class Queue(Protocol):
    """Wakes on their way to workers: in order and one at a time for each town, delivered at least once.

    A wake is a hint and never the truth. Who loses one loses time: the due marker stays until a tick has dealt with it.
    """

    def send(self, wakes: Sequence[Wake]) -> tuple[Wake, ...]:
        """Hand them over; returns those that were not taken. Raises QueueUnavailable, AccessDenied."""
        ...

    def put_back(self, receipts: Mapping[str, timedelta]) -> None:
        """Let delivered wakes, by receipt, come again after a while, before all later ones of their towns.

        Without that they come again when the queue gives their worker up. Raises QueueUnavailable, AccessDenied.
        """
        ...
