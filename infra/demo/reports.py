"""The events that a demo agent posts: heartbeats, a status line, and the end of its work.

An event id consists of agent, generation and purpose only. So if a retry, or a second process of the same generation, repeats a
report, the event is the same, and the town processes it once.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from infra.agents.posting import NotPosted, PostedEvent, Poster, patiently
from infra.demo.order import Order
from shared.domain import times
from shared.domain.limits import FIELD_SIZE, HEARTBEAT_CADENCE, STATUS_MESSAGE
from shared.ports.clock import Clock

_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9_.:-]")


class Reports:
    """Posts the agent's events. Facts are retried and raise NotPosted; heartbeats and status lines are posted once."""

    def __init__(self, order: Order, poster: Poster, clock: Clock) -> None:
        self._order = order
        self._poster = poster
        self._clock = clock
        self._beats = 0
        self._lines = 0

    def heartbeat(self) -> None:
        """Report that this generation is alive."""
        self._beats += 1
        now = times.to_text(self._clock.now())
        payload = {"last_event_type": "tool_use", "last_event_at": now, "active_tools": ["git"]}
        self._once(self._event("agent_heartbeat", f"heartbeat-{self._beats}", payload, fenced=True))

    def says(self, line: str) -> None:
        """Report in one line what the agent is doing."""
        self._lines += 1
        message = {"message": line.strip()[:STATUS_MESSAGE]}
        self._once(self._event("agent_status", f"status-{self._lines}", message, fenced=False))

    def done(self, branch: str, *, summary: str | None = None, pr_url: str | None = None) -> None:
        """Report that the work of this order is done, with its pull request if there is one."""
        self._patiently([self._done(branch, summary, pr_url)])

    def done_by_another_generation(self, branch: str) -> None:
        """Report work for another generation. The town must reject it because of its generation number."""
        wrong = self._order.generation - 1 or self._order.generation + 1
        lie = self._event("agent_done", "lie", {"branch": branch, "generation": wrong}, fenced=False)
        self._patiently([self._about(self._order.bead.id, lie)])

    def asks_for_changes(self, feedback: str, *, files: Sequence[str], branch: str) -> None:
        """Request changes and end the review, in this order and in one batch."""
        payload = {"feedback": feedback[: FIELD_SIZE // 4], "files": list(files)}
        asked = self._event("changes_requested", "changes", payload, fenced=True)
        self._patiently([asked, self._done(branch, None)])

    def answers_triage(self, request_ids: Sequence[str], *, branch: str) -> None:
        """Answer every request of a triage batch with RESTART, and end the batch."""
        answer = {"action": "RESTART", "by": self._order.agent_id}
        answers = [
            self._about(request, self._event("triage_resolved", f"triage-{request}", answer, fenced=False))
            for request in request_ids
        ]
        self._patiently([*answers, self._done(branch, None)])

    def _done(self, branch: str, summary: str | None, pr_url: str | None = None) -> PostedEvent:
        payload = {"branch": branch}
        if pr_url is not None:
            payload["pr_url"] = pr_url
        if summary is not None:
            payload["summary"] = summary[: FIELD_SIZE // 4]
        return self._about(self._order.bead.id, self._event("agent_done", "done", payload, fenced=True))

    def _about(self, bead_id: str, event: dict[str, Any]) -> dict[str, Any]:
        """The event with its bead."""
        return {**event, "bead_id": bead_id}

    def _event(self, event_type: str, purpose: str, payload: Mapping[str, Any], *, fenced: bool) -> dict[str, Any]:
        generation = self._order.generation
        event_id = f"{self._order.agent_id}:{generation}:{purpose}"
        return {
            "event_id": _NOT_IN_IDS.sub("_", event_id)[:128],
            "event_type": event_type,
            "agent_id": self._order.agent_id,
            "payload": {**payload, "generation": generation} if fenced else dict(payload),
            "occurred_at": times.to_text(self._clock.now()),
        }

    def _patiently(self, events: Sequence[PostedEvent]) -> None:
        patiently(lambda: self._poster.post(events), clock=self._clock)

    def _once(self, event: PostedEvent) -> None:
        try:
            self._poster.post([event])
        except NotPosted as error:
            print(f"demo agent: {event['event_type']} was not posted and will not be retried: {error}", flush=True)


class Heart:
    """Posts a heartbeat every 30 seconds of the town's clock, in a thread of its own."""

    def __init__(self, reports: Reports, clock: Clock) -> None:
        self._reports = reports
        self._clock = clock
        self._stopped = threading.Event()

    def start(self) -> None:
        """Post the first heartbeat now, and then one every 30 seconds."""
        threading.Thread(target=self._beat, name="heart", daemon=True).start()

    def stop(self) -> None:
        """Post no more heartbeats."""
        self._stopped.set()

    def _beat(self) -> None:
        while not self._stopped.is_set():
            self._reports.heartbeat()
            self._clock.sleep(HEARTBEAT_CADENCE.total_seconds())
