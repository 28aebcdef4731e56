"""The queue port: wakes on their way from the dispatcher to workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Wake:
    """A request to run one town.

    - `due`: the due markers that led to it, in whole seconds. The worker deletes them once a tick has dealt with them.
    - `repeat_key`: the idempotency key. Of several wakes with the same key within five minutes only the first is delivered.
    - `alone`: a process that ran the town died, so this run is counted (`shared.runner.neighbours`).
    - `watched`: the sender checks the due markers again within seconds, so the worker need not wait for a tick that is due soon.
    """

    town_id: str
    due: tuple[datetime, ...]
    repeat_key: str
    watched: bool = False
    alone: bool = False


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
    """Delivers wakes to workers: in order and one at a time for each town, at least once.

    A wake is a hint. A lost wake costs only time: its due marker stays until a tick has dealt with it, and the
    dispatcher finds the marker again. A worker therefore checks whether the town is really due.

    Both methods may raise QueueUnavailable (some of the request may have been carried out; repeating it is harmless) and
    AccessDenied. Each takes at most about 20 seconds for every ten wakes.
    """

    def send(self, wakes: Sequence[Wake]) -> tuple[Wake, ...]:
        """Send wakes; returns those that the queue did not accept. The caller may leave them to the next dispatcher pass."""
        ...

    def put_back(self, receipts: Mapping[str, timedelta]) -> None:
        """Make delivered wakes, by receipt, visible again after a delay, ahead of all later wakes of their towns.

        A wake that is neither put back nor acknowledged becomes visible again when its visibility timeout ends. A receipt
        that is no longer valid is ignored: another worker has the wake.
        """
        ...
