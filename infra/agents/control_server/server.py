"""All parts of a control server put together, to be started and ended by a process or by a test."""

import threading
from typing import Final

from infra.agents.control_server.eviction import announce_ready, evict, leave
from infra.agents.control_server.http import ControlServer
from infra.agents.control_server.reporter import Reporter
from infra.agents.control_server.sessions import Sessions
from infra.agents.control_server.settings import Settings
from infra.agents.control_server.watch import Watch
from infra.agents.posting import Poster

_LAST_REPORTS_SECONDS: Final = 10.0


class Running:
    """A control server that runs: `address` is where. End it with `evict`, `leave` or `kill`."""

    def __init__(self, settings: Settings, poster: Poster, *, door: type[ControlServer] = ControlServer) -> None:
        settings.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.settings = settings
        self.reporter = Reporter(poster, settings.clock)
        self.sessions = Sessions(settings, started=self._started, failed_late=self._failed_late)
        self.watch = Watch(settings, self.sessions.runtime, self.reporter)
        self.door = door((settings.host, settings.port), self.sessions, key=settings.key)
        self._thread = threading.Thread(
            target=self.door.serve_forever, kwargs={"poll_interval": 0.05}, name="door", daemon=True
        )
        self.reporter.start()
        announce_ready(settings, self.reporter)
        self.watch.start()
        self._thread.start()

    @property
    def address(self) -> str:
        """The base URL."""
        return self.door.address

    def evict(self) -> list[str]:
        """End in order; what became of each agent's work."""
        told = evict(self.settings, self.sessions, self.watch, self.reporter)
        self._close()
        return told

    def leave(self) -> list[str]:
        """End in order as the container of one agent, which is not the town's."""
        told = leave(self.settings, self.sessions, self.watch, self.reporter)
        self._close()
        return told

    def finish(self) -> None:
        """End where nothing is left to do: what was seen last is told."""
        self.watch.look()
        self.reporter.finish(seconds=_LAST_REPORTS_SECONDS)
        self._close()

    def kill(self) -> None:
        """End as a container that lost its power does: agents die, nobody is told."""
        self.watch.draining = True
        self.reporter.finish(seconds=0)
        self._close()
        self.sessions.runtime.stop_all(self.settings.town_id)

    def _close(self) -> None:
        self.watch.finish()
        self.door.shutdown()
        self.door.server_close()
        self.sessions.close()

    def _started(self, agent_id: str, generation: int) -> None:
        self.watch.meet(agent_id, generation)

    def _failed_late(self, agent_id: str, generation: int, reason: str) -> None:
        self.watch.report_end(agent_id, generation, f"could not be started: {reason}")
