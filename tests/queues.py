"""An SQS FIFO queue with its contract: the model for crash tests, because moto keeps no such promises.

- Messages of a group come in order; while one of them is in flight, no other message of its group is handed out.
- A message that is not deleted comes again after the visibility time-out, before all later ones of its group.
- After `receives` deliveries it goes to the dead-letter queue, and its group goes on.
- Of messages with one deduplication id within five minutes only the first is taken, even if it was deleted meanwhile.
- A batch has at most ten messages. A Lambda that answers with partial failures has the others deleted; one that raises,
  or dies, has none deleted.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.adapters.sqs_queue import body_of, deduplication_id
from shared.domain.errors import QueueUnavailable
from shared.ports.clock import Clock
from shared.ports.queue import Wake

DEDUPLICATED_FOR = timedelta(minutes=5)


@dataclass
class Message:
    """One message and where it stands."""

    message_id: str
    group: str
    body: str
    receives: int = 0
    visible_at: datetime | None = None

    @property
    def receipt(self) -> str:
        """The handle of the newest delivery."""
        return f"handle-{self.message_id}-{self.receives}"

    def record(self) -> dict[str, Any]:
        """The message as a Lambda event source hands it over."""
        return {
            "messageId": self.message_id,
            "receiptHandle": self.receipt,
            "body": self.body,
            "attributes": {"MessageGroupId": self.group, "ApproximateReceiveCount": str(self.receives)},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:wakes.fifo",
            "awsRegion": "eu-west-1",
        }


@dataclass
class FifoQueue:
    """The queue, and the Queue port in front of it."""

    clock: Clock
    visibility: timedelta = timedelta(seconds=190)
    most_receives: int = 5
    messages: list[Message] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)
    sent: list[Wake] = field(default_factory=list)
    unavailable: bool = False
    refuses: set[str] = field(default_factory=set)
    _seen: dict[str, datetime] = field(default_factory=dict)
    _count: int = 0

    def send(self, wakes: Sequence[Wake]) -> tuple[Wake, ...]:
        if self.unavailable:
            raise QueueUnavailable("the queue does not answer")
        for wake in wakes:
            self.sent.append(wake)
            if wake.town_id not in self.refuses:
                self._take(wake)
        return tuple(wake for wake in wakes if wake.town_id in self.refuses)

    def put_back(self, receipts: Mapping[str, timedelta]) -> None:
        if self.unavailable:
            raise QueueUnavailable("the queue does not answer")
        for message in self.messages:
            wait = receipts.get(message.receipt)
            if wait is not None:
                message.visible_at = self.clock.now() + wait

    def put(self, body: str, *, group: str = "anybody") -> None:
        """A message that none of us wrote."""
        self._count += 1
        self.messages.append(Message(f"m{self._count}", group, body))

    def _take(self, wake: Wake) -> None:
        now, key = self.clock.now(), deduplication_id(wake)
        first = self._seen.get(key)
        if first is not None and now - first < DEDUPLICATED_FOR:
            return
        self._seen[key] = now
        self.put(body_of(wake), group=wake.town_id)

    def receive(self, limit: int = 10) -> list[Message]:
        """The next messages, at most ten; they are in flight from now on."""
        now = self.clock.now()
        for message in [each for each in self.messages if each.receives >= self.most_receives]:
            if message.visible_at is not None and message.visible_at <= now:
                self.messages.remove(message)
                self.dead.append(message)
        blocked = {each.group for each in self.messages if each.visible_at is not None and each.visible_at > now}
        batch = [each for each in self.messages if each.group not in blocked][: min(limit, 10)]
        for message in batch:
            message.receives += 1
            message.visible_at = now + self.visibility
        return batch

    def pump(self, handler: Callable[[dict[str, Any]], dict[str, Any]], *, limit: int = 10) -> int:
        """Hand one batch to a Lambda, as an event source mapping does; how many messages it had. Its errors are raised."""
        batch = self.receive(limit)
        if batch:
            answer = handler({"Records": [message.record() for message in batch]})
            self.settle(batch, {failure["itemIdentifier"] for failure in answer["batchItemFailures"]})
        return len(batch)

    def settle(self, batch: Sequence[Message], again: Collection[str]) -> list[Message]:
        """A batch was answered: all but these messages are done, and deleted; returns the deleted ones."""
        assert set(again) <= {message.message_id for message in batch}
        done = [message for message in batch if message.message_id not in again]
        for message in done:
            if message in self.messages:  # else its last delivery was taken for a failure meanwhile
                self.messages.remove(message)
        return done
