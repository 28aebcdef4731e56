"""Reports what agents print: once a minute while it grows, and when an agent has ended.

A report takes long if the town does not answer, so a thread of its own makes it. A report that fails is made again with the next
one: each contains the newest part of the whole log.
"""

import queue
import threading
from dataclasses import dataclass
from typing import Final

from infra.agents.control_server.log import say
from infra.agents.log_keeping import LogKeeper
from infra.agents.posting import NotPosted
from shared.adapters.clock import Budget, wait_for
from shared.adapters.local_logs import KINDS, written
from shared.adapters.local_state import GenerationFiles
from shared.ports.agent_logs import LogKind, LogName

_EVERY_SECONDS: Final = 60.0
_WAITING_AT_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class _Grown:
    """A start of an agent whose logs are to be reported."""

    agent_id: str
    files: GenerationFiles


class LogReports:
    """Reports the logs of a container's agents. Thread-safe."""

    def __init__(self, keeper: LogKeeper | None, *, every_seconds: float = _EVERY_SECONDS) -> None:
        self._keeper = keeper
        self._every = every_seconds
        self._waiting: queue.Queue[_Grown | None] = queue.Queue(_WAITING_AT_MOST)
        self._budgets: dict[tuple[str, int], Budget] = {}
        self._reported: dict[tuple[str, int, LogKind], object] = {}
        self._thread = threading.Thread(target=self._report_all, name="log-reports", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        if self._keeper is not None:
            self._thread.start()

    def runs(self, agent_id: str, files: GenerationFiles) -> None:
        """Report the logs of an agent that runs, if the last report was long enough ago."""
        key = (agent_id, files.number)
        if key not in self._budgets or self._budgets[key].left() == 0:
            self._budgets[key] = Budget(self._every)
            self._put(_Grown(agent_id, files))

    def ended(self, agent_id: str, files: GenerationFiles) -> None:
        """Report the logs of an agent that has ended."""
        self._budgets.pop((agent_id, files.number), None)
        self._put(_Grown(agent_id, files))

    def finish(self, *, seconds: float) -> bool:
        """Wait at most `seconds` real seconds for the reports that are waiting. Returns whether all are made."""
        if self._keeper is None or not self._thread.is_alive():
            return True
        self._put(None)
        return wait_for(lambda: not self._thread.is_alive(), seconds=seconds)

    def _put(self, grown: _Grown | None) -> None:
        if self._keeper is not None:
            try:
                self._waiting.put_nowait(grown)
            except queue.Full:
                say("logs of agents are not reported: the town does not take them fast enough")

    def _report_all(self) -> None:
        while (grown := self._waiting.get()) is not None:
            for kind in KINDS:
                self._report(grown, kind)

    def _report(self, grown: _Grown, kind: LogKind) -> None:
        found = written(grown.files, kind)
        key = (grown.agent_id, grown.files.number, kind)
        if found is None or self._keeper is None or self._reported.get(key) == found[2]:
            return
        try:
            self._keeper.keep(LogName(*key, by="container"), found[0].decode(errors="replace"))
        except NotPosted as error:
            say(f"the {kind} of {grown.agent_id} could not be reported: {error}")
        else:
            self._reported[key] = found[2]
