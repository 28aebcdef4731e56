"""The queue of the wakes under faults: the honest FIFO queue of `tests.queues`, which loses, doubles, delays and reorders.

Of a town nothing overtakes anything, as a message group promises; across towns everything may. The checkers see who hands
over what, and which messages are taken for done.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any

from shared.ports.queue import Delivery, Wake
from tests.queues import FifoQueue, Message
from tests.simulation.ground import Ground
from tests.simulation.processes import Process
from tests.simulation.scheduler import SECOND, SkewedClock


class SimulatedQueue(FifoQueue):
    """The Queue port, and the event source behind it. `on_change` is called when a message may have become visible."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(SkewedClock(ground.scheduler, 0))
        self._ground = ground
        self._random = Random(f"{ground.random.random()} queue")
        self._handed_over: dict[tuple[Process, str], Any] = {}
        self.on_change: Callable[[], None] = lambda: None

    # the port

    def send(self, wakes: Sequence[Wake]) -> tuple[Wake, ...]:
        happens = self._ground.plan.happens
        self.refuses = {wake.town_id for wake in wakes if happens("message_refused")}
        refused = super().send(wakes)
        for wake in wakes:
            self._offered(wake, taken=wake not in refused)
        self._look_soon(self._random.randrange(50, 500))
        return refused

    def put_back(self, receipts: Mapping[str, timedelta]) -> None:
        super().put_back(receipts)
        for wait in receipts.values():
            self._look_soon(int(wait.total_seconds() * SECOND))

    def _offered(self, wake: Wake, *, taken: bool) -> None:
        """What the queue has taken from a dispatcher is not handed over by it again in the same minute.

        Of a call that is made twice the second answer counts.
        """
        driver = self._ground.driver
        if driver.running is None or not wake.watched:
            return
        key = (driver.running.root, wake.repeat_key)
        made = self._handed_over.get(key)
        if made is not None and made is not driver.making:
            self._ground.checks.fail("handed over twice", f"{key[0].name} sends {wake.repeat_key} again")
        if taken:
            self._handed_over[key] = driver.making
        elif made is driver.making:
            del self._handed_over[key]

    # what happens to a message

    def put(self, body: str, *, group: str = "anybody") -> None:
        happens = self._ground.plan.happens
        if happens("message_lost"):
            return
        for _ in range(2 if happens("message_doubled") else 1):
            super().put(body, group=group)
            if happens("message_late"):
                late = self._random.randrange(300 * SECOND)
                self.messages[-1].visible_at = self.clock.now() + timedelta(milliseconds=late)
                self._ground.arrives(late)
                self._look_soon(late)

    def receive(self, limit: int = 10) -> list[Message]:
        if self._ground.plan.happens("messages_reordered"):
            groups = sorted({message.group for message in self.messages})
            self._random.shuffle(groups)
            self.messages.sort(key=lambda message: groups.index(message.group))  # stable: of a town none overtakes
        batch = super().receive(limit)
        if batch:
            self._look_soon(int(self.visibility.total_seconds() * SECOND))
        return batch

    def done(self, batch: Sequence[Message], again: Collection[str], *, failed: Collection[str]) -> None:
        """A worker has answered; `failed` are the towns whose run failed in it: their messages must come again."""
        for message in self.settle(batch, again):
            self._ground.checks.figures["messages done"] += 1
            if message.group in failed:
                self._ground.checks.fail(
                    "acknowledged", f"the wake {message.message_id} of {message.group} is gone, and its run has failed"
                )

    def _look_soon(self, milliseconds: int) -> None:
        self._ground.scheduler.after(milliseconds + 1, self.on_change)


def delivery_of(message: Message, wake: Wake) -> Delivery:
    """The message as a worker gets it."""
    return Delivery(message.message_id, message.receipt, message.receives, wake)
