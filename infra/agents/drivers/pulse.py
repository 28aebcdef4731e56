"""The pulse of an agent: a thread that tells the town every 30 s what the program did last.

Only what the program itself does, and waiting for its model, moves the time of the last event. So a program that hangs shows as
silent although its driver beats, and the town's liveness rules see it. The same is written on the desk, where the control server
reads it.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from infra.agents.activity import ACTIVITY, LONGEST_NAME, Activity
from infra.agents.drivers.contract import Used
from infra.agents.drivers.reports import Reports
from infra.agents.drivers.scrubbing import Scrubber
from infra.agents.drivers.usage import LONGEST_MODEL, Meter, Usage
from shared.adapters.local_supervisor import write_atomically
from shared.domain import limits

STATUS_EVERY: Final = timedelta(seconds=30)
TOOL_COUNTS_FOR: Final = limits.GUPP_WARN_AFTER
"""A tool that runs longer is no longer named as running: running tools keep the town from warning, and this one may hang."""

_WAITS: Final = "waits_for_model"
_LOOK_SECONDS: Final = 0.1
_MOST_TOOLS: Final = 100
_LONGEST_ID: Final = 200


class Pulse:
    """What the town is told about the running program. Thread-safe."""

    def __init__(self, reports: Reports, desk: Path, say: Callable[[str], None], scrub: Scrubber) -> None:
        self._reports = reports
        self._note = desk / ACTIVITY
        self._say = say
        self._scrub = scrub
        self._guard = threading.Lock()
        self._kind, self._at = "started", reports.clock.now()
        self._tools: dict[str, tuple[str, datetime]] = {}
        self._status, self._posted_status = "", ""
        self._status_at: datetime | None = None
        self._beat_at: datetime | None = None
        self._noted: Activity | None = None
        self._meter = Meter()
        self._posting = threading.Lock()
        self._posted_usage: dict[str, Usage] = {}
        self._problem: str | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="pulse", daemon=True)

    def start(self) -> None:
        """Start beating, at once."""
        self._thread.start()

    def finish(self) -> None:
        """Stop beating, and post the usage that is not posted yet, and the status if one is due."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=1.0)
        self._post_usage()
        self._post_status(self._reports.clock.now())

    def happened(self, kind: str) -> None:
        """The program did something."""
        with self._guard:
            self._kind, self._at = self._scrub(kind, most=LONGEST_NAME), self._reports.clock.now()

    def waits_for_model(self) -> None:
        """The model is waited for, which is no silence of the program: whoever waits sees to it that it ends."""
        with self._guard:
            now = self._reports.clock.now()
            if self._kind != _WAITS or now - self._at >= limits.HEARTBEAT_CADENCE:
                self._kind, self._at = _WAITS, now

    def tool_began(self, call_id: str, tool: str) -> None:
        """A tool runs."""
        with self._guard:
            self._kind, self._at = "tool_began", self._reports.clock.now()
            self._tools[call_id[:_LONGEST_ID]] = (self._scrub(tool, most=LONGEST_NAME), self._at)
            if len(self._tools) > _MOST_TOOLS:
                del self._tools[next(iter(self._tools))]

    def tool_ended(self, call_id: str) -> None:
        """A tool has ended."""
        with self._guard:
            self._kind, self._at = "tool_ended", self._reports.clock.now()
            self._tools.pop(call_id[:_LONGEST_ID], None)

    def turn_over(self) -> None:
        """The program has ended: no tool runs, and the usage of the turn is final."""
        with self._guard:
            self._tools.clear()
            self._meter.turn_over()

    def status(self, text: str) -> None:
        """Show this line, as soon as the last one has been shown for 30 s. A newer line replaces one that still waits."""
        with self._guard:
            self._status = self._scrub(text, most=limits.STATUS_MESSAGE)

    def used(self, used: Used, *, model: str) -> None:
        """The program has used tokens."""
        with self._guard:
            self._meter.count(used, model=self._scrub(used.model or model, most=LONGEST_MODEL))

    def activity(self) -> Activity:
        """The last activity."""
        with self._guard:
            now = self._reports.clock.now()
            running = {tool for tool, since in self._tools.values() if now - since <= TOOL_COUNTS_FOR}
            return Activity(self._kind, self._at, tuple(sorted(running)))

    def look(self) -> None:
        """Write the note, and post whatever is due."""
        activity, now = self.activity(), self._reports.clock.now()
        if activity != self._noted:
            write_atomically(self._note, activity.note())
            self._noted = activity
        if self._beat_at is None or now - self._beat_at >= limits.HEARTBEAT_CADENCE:
            self._beat_at = now
            self._tell(self._reports.beat(activity))
            self._post_usage()
        self._post_status(now)

    def _go_on(self) -> None:
        while not self._ended.is_set():
            try:
                self.look()
            except OSError as error:
                self._tell(f"the note {ACTIVITY} cannot be written: {error}")
            self._ended.wait(_LOOK_SECONDS)

    def _post_status(self, now: datetime) -> None:
        with self._guard:
            text = self._status
        if not text or text == self._posted_status:
            return
        if self._status_at is None or now - self._status_at >= STATUS_EVERY:
            self._status_at, self._posted_status = now, text
            self._tell(self._reports.status(text))

    def _post_usage(self) -> None:
        """Post the totals that have changed: the town takes the same totals twice for two events of one id."""
        with self._posting:
            with self._guard:
                totals = self._meter.totals()
            changed = {model: used for model, used in totals.items() if used != self._posted_usage.get(model)}
            if changed:
                problem = self._reports.usage(changed)
                self._posted_usage |= changed if problem is None else {}
                self._tell(problem)

    def _tell(self, problem: str | None) -> None:
        """Say a problem once, until another one comes."""
        if problem is not None and problem != self._problem:
            self._say(f"a report did not reach the town: {problem}")
        self._problem = problem if problem is not None else self._problem
