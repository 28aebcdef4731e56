"""Posts the server's events to the town. Facts are posted in order and retried until the town accepts them; heartbeats are not
retried.
"""

import queue
import threading
from collections.abc import Mapping, Sequence

from infra.agents.control_server.log import say
from infra.agents.posting import NotPosted, PostedEvent, Poster
from shared.adapters.clock import wait_for
from shared.domain import limits, times
from shared.ports.clock import Clock

_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class Reporter:
    """Posts facts from a thread of its own, so that no caller waits for the town."""

    def __init__(self, poster: Poster, clock: Clock) -> None:
        self._poster = poster
        self._clock = clock
        self._waiting: queue.SimpleQueue[PostedEvent | None] = queue.SimpleQueue()
        self._unposted = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._post_all, name="reporter", daemon=True)

    def start(self) -> None:
        """Start the posting thread."""
        self._thread.start()

    def fact(self, event: PostedEvent) -> None:
        """Post an event that must arrive. It is retried under the same id until the town accepts it or refuses it for good."""
        self._unposted += 1
        self._waiting.put(event)

    def signs_of_life(self, events: Sequence[PostedEvent]) -> frozenset[str]:
        """Post heartbeats once, together, in the caller's thread: the next ones make them obsolete anyway.

        If the town refuses them for good, each is posted alone: no agent can keep the others from being heard. Returns the ids of
        the events that the town has.
        """
        there: set[str] = set()
        for start in range(0, len(events), limits.EVENTS_PER_BATCH):
            part = events[start : start + limits.EVENTS_PER_BATCH]
            try:
                self._poster.post(part)
            except NotPosted as error:
                say(f"heartbeats of {len(part)} agents could not be posted: {error}")
                if error.final and len(part) > 1:
                    for each in part:
                        there |= self.signs_of_life([each])
            else:
                there |= {each["event_id"] for each in part}
        return frozenset(there)

    def event(
        self, event_type: str, event_id: str, payload: Mapping[str, object], *, agent_id: str | None = None
    ) -> dict[str, object]:
        """An event as the town's inbox expects it."""
        found: dict[str, object] = {
            "event_id": event_id,
            "event_type": event_type,
            "payload": dict(payload),
            "occurred_at": times.to_text(self._clock.now()),
        }
        return found if agent_id is None else found | {"agent_id": agent_id}

    def finish(self, *, seconds: float) -> bool:
        """Wait at most `seconds` real seconds until every fact is posted, then stop posting. Returns whether all facts are."""
        all_posted = wait_for(lambda: self._unposted == 0, seconds=seconds)
        self._ended.set()
        self._waiting.put(None)
        return all_posted

    def _post_all(self) -> None:
        while (event := self._waiting.get()) is not None:
            tries = 0
            while not self._ended.is_set():
                try:
                    self._poster.post([event])
                except NotPosted as error:
                    if error.final:  # retrying this event would block all later ones forever
                        say(f"the town refused {event['event_type']} for good: {error}")
                        self._unposted -= 1
                        break
                    say(f"{event['event_type']} will be posted again: {error}")
                    self._ended.wait(_RETRY_SECONDS[min(tries, len(_RETRY_SECONDS) - 1)])
                    tries += 1
                else:
                    self._unposted -= 1
                    break
