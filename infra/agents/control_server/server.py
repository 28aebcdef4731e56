"""A running control server, assembled from its parts, which a process or a test starts and ends."""

from datetime import datetime
from typing import Final

from infra.agents.control_server.eviction import announce_ready, evict, leave
from infra.agents.control_server.http import ControlServer
from infra.agents.control_server.key import KEY_FILE, own_key
from infra.agents.control_server.log_reports import LogReports
from infra.agents.control_server.reporter import Reporter
from infra.agents.control_server.sessions import Sessions
from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.control_server.watch import Watch
from infra.agents.log_keeping import LogKeeper
from infra.agents.posting import Poster
from infra.listening.callers import Callers
from shared.adapters.git_prover import REMOTE_PROTOCOLS, GitProver, git_variables
from shared.domain.processes import SignOfLife

_LAST_REPORTS_SECONDS: Final = 10.0


class Running:
    """A running control server at `address`. End it with `evict`, `leave`, `finish` or `kill`."""

    def __init__(
        self,
        settings: ControlServerSettings,
        poster: Poster,
        *,
        keeper: LogKeeper | None = None,
        door: type[ControlServer] = ControlServer,
    ) -> None:
        settings.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings.users is not None:
            settings.root.chmod(0o711)  # agents pass through it to what is their own, and see nothing else
        self.settings = settings
        self.reporter = Reporter(poster, settings.clock)
        self.sessions = Sessions(
            settings,
            started=self._started,
            failed_late=self._failed_late,
            sign_of=self._sign_of,
            taken=self._taken,
        )
        self.logs = LogReports(keeper)
        self.watch = Watch(settings, self.sessions.runtime, self.reporter, self.logs)
        self.made_key = None if settings.key else settings.root / KEY_FILE
        """The file with the key, if the platform gave none."""
        self.door = door(
            (settings.host, settings.port),
            self.sessions,
            key=settings.key or own_key(settings.root),
            callers=Callers(hosts=settings.hosts),
        )
        git = git_variables(settings.environment)
        allowed = git.get("GIT_ALLOW_PROTOCOL", REMOTE_PROTOCOLS)
        self.door.prover = GitProver(settings.root / "proofs", protocols=allowed, environment=git, user=settings.keeper)
        self.reporter.start()
        self.logs.start()
        announce_ready(settings, self.reporter)
        self.watch.start()
        self.door.open()

    @property
    def address(self) -> str:
        """The base URL."""
        return self.door.address

    def evict(self) -> list[str]:
        """Shut down as the container of a town. Returns one line per agent about its work."""
        lines = evict(self.settings, self.sessions, self.watch, self.reporter)
        self._close()
        return lines

    def leave(self) -> list[str]:
        """Shut down as the container of a single agent. Returns the same lines."""
        lines = leave(self.settings, self.sessions, self.watch, self.reporter)
        self._close()
        return lines

    def finish(self) -> None:
        """Shut down after the only agent has ended, and report its end."""
        self.watch.look()
        self.reporter.finish(seconds=_LAST_REPORTS_SECONDS)
        self._close()

    def kill(self) -> None:
        """End abruptly, as after a power failure: the agents die, and nothing is reported."""
        self.watch.draining = True
        self.reporter.finish(seconds=0)
        self._close()
        self.sessions.runtime.stop_all(self.settings.town_id)

    def _close(self) -> None:
        self.watch.finish()
        self.logs.finish(seconds=_LAST_REPORTS_SECONDS)
        self.door.close()
        self.sessions.close()

    def _started(self, agent_id: str, generation: int) -> None:
        self.watch.meet(agent_id, generation)

    def _sign_of(self, agent_id: str, generation: int) -> SignOfLife | None:
        return self.watch.sign_of(agent_id, generation)

    def _taken(self, agent_id: str, generation: int, at: datetime) -> None:
        self.watch.taken(agent_id, generation, at)

    def _failed_late(self, agent_id: str, generation: int, reason: str) -> None:
        self.watch.report_end(agent_id, generation, f"could not be started: {reason}")
