"""The server's voice: events for the town, in order, until they are taken. Signs of life are said once."""

import queue
import threading
from collections.abc import Mapping
from typing import Any

from infra.agents.posting import Event, NotPosted, Poster
from shared.adapters.clock import wait_for
from shared.domain import times
from shared.ports.clock import Clock

_RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class Reporter:
    """Posts from a thread of its own, so that no caller waits for the town."""

    def __init__(self, poster: Poster, clock: Clock) -> None:
        self._poster = poster
        self._clock = clock
        self._waiting: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._unsaid = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._post_all, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin to post."""
        self._thread.start()

    def fact(self, event: Event) -> None:
        """Say something that must arrive; it is repeated under its id until the town has it, or refuses it for good."""
        self._unsaid += 1
        self._waiting.put(event)

    def sign_of_life(self, event: Event) -> None:
        """Say something that the next such event says again; once, in the caller's thread."""
        try:
            self._poster.post([event])
        except NotPosted as error:
            print(f"control server: a sign of life was not taken: {error}", flush=True)

    def event(
        self, event_type: str, event_id: str, payload: Mapping[str, Any], *, agent_id: str | None = None
    ) -> dict[str, Any]:
        """An event as the town takes it."""
        found: dict[str, Any] = {
            "event_id": event_id,
            "event_type": event_type,
            "payload": dict(payload),
            "occurred_at": times.to_text(self._clock.now()),
        }
        return found if agent_id is None else found | {"agent_id": agent_id}

    def finish(self, *, seconds: float) -> bool:
        """Wait until everything was taken, for at most so many real seconds; whether it was. Nothing is said after it."""
        said = wait_for(lambda: self._unsaid == 0, seconds=seconds)
        self._ended.set()
        self._waiting.put(None)
        return said

    def _post_all(self) -> None:
        while (event := self._waiting.get()) is not None:
            tries = 0
            while not self._ended.is_set():
                try:
                    self._poster.post([event])
                except NotPosted as error:
                    if error.final:  # else it would hold up everything behind it for ever
                        print(f"control server: {event['event_type']} was refused for good: {error}", flush=True)
                        self._unsaid -= 1
                        break
                    print(f"control server: {event['event_type']} was not taken yet: {error}", flush=True)
                    self._ended.wait(_RETRY_SECONDS[min(tries, len(_RETRY_SECONDS) - 1)])
                    tries += 1
                else:
                    self._unsaid -= 1
                    break
