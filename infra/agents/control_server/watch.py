"""Observes every agent periodically: says that agents live, reports how agents end, and stops agents that are only waiting.

The town hears that an agent lives when it asks for its status. A heartbeat says the same to a town that does not ask, or that does
not say that it took the answer (POST /agents/heard): as long as a town takes the answers, no heartbeat is posted. Both carry the
time of the agent's last activity. Output counts as activity, so the town recognizes an agent whose process runs but makes no
progress. The driver of a coding agent notes what its program did last: then only this note counts.
"""

import contextlib
import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from infra.agents.activity import ACTIVITY, activity_in
from infra.agents.control_server.log import say
from infra.agents.control_server.log_reports import LogReports
from infra.agents.control_server.reporter import Reporter
from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.posting import PostedEvent
from infra.agents.town_agent.order import SPOKE, WAITING
from shared.adapters import local_supervisor as supervisor
from shared.adapters.local_processes import LocalProcessRuntime
from shared.adapters.local_state import GenerationFiles
from shared.domain import limits, strict_json, times
from shared.domain.processes import SignOfLife

IDLE_EXIT: Final = {"polecat": timedelta(minutes=2), "refinery": timedelta(minutes=10)}
_IDLE_EXIT_DRAINING: Final = timedelta(seconds=10)
_LONGEST_NOTE: Final = 4096
EVICTED: Final = "container eviction"


@dataclass(slots=True)
class Session:
    """One running generation, as it was last observed."""

    agent_id: str
    generation: int
    role: str
    active_at: datetime
    doing: str = "started"
    signs: tuple[int, int] = (0, 0)
    said: str = ""
    waiting_since: datetime | None = None
    tools: tuple[str, ...] = ()
    sign: SignOfLife | None = None
    beat_at: datetime | None = None
    beat_arrived: bool = False
    taken_at: datetime | None = None

    def is_quiet(self, now: datetime) -> bool:
        """Whether no heartbeat is wanted, because the town has lately taken what the server answered about this agent."""
        return _is_within(limits.UNHEARD_AFTER, self.taken_at, now=now)

    def is_due(self, now: datetime) -> bool:
        """Whether its next heartbeat is due. The first one after a silence of the town has little time: it is repeated soon."""
        in_haste = not self.beat_arrived and _is_within(limits.HEARTBEAT_LOST_AFTER, self.taken_at, now=now)
        pause = limits.UNHEARD_RETRY if in_haste else limits.HEARTBEAT_CADENCE
        return not _is_within(pause, self.beat_at, now=now)


class Watch:
    """Observes the agents in a thread."""

    def __init__(
        self, settings: ControlServerSettings, runtime: LocalProcessRuntime, reporter: Reporter, logs: LogReports
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._reporter = reporter
        self._logs = logs
        self._sessions: dict[tuple[str, int], Session] = {}
        self._started: SimpleQueue[tuple[str, int]] = SimpleQueue()
        self._ended = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)
        self.draining = False

    def start(self) -> None:
        """Start observing."""
        self._thread.start()

    def finish(self) -> None:
        """Stop observing."""
        self._ended.set()
        self._thread.join()

    def meet(self, agent_id: str, generation: int) -> None:
        """Add a generation that was just started, so that its end is reported even if it ends before the next look."""
        self._started.put((agent_id, generation))

    def sign_of(self, agent_id: str, generation: int) -> SignOfLife | None:
        """What a heartbeat of this generation would say now; None if there would be none.

        There is none while draining: the town does not wait for agents that are about to end.
        """
        session = self._sessions.get((agent_id, generation))
        sign = None if session is None or self.draining else session.sign
        return None if sign is None else replace(sign, at=times.to_text(self._settings.clock.now()))

    def taken(self, agent_id: str, generation: int, at: datetime) -> None:
        """The town has taken the sign of life that was given at that time of our own clock."""
        session = self._sessions.get((agent_id, generation))
        if session is not None:
            session.taken_at = at

    def look(self) -> None:
        """Observe every agent once."""
        with self._looking:
            self._look_at_all()

    def drain(self) -> list[Session]:
        """Report the agents that have ended so far. Returns the others, whose ends the caller reports."""
        with self._looking:
            self._look_at_all(beats=False)  # a heartbeat now would delay the restart of an agent that is about to end
            self.draining = True
            return list(self._sessions.values())

    def report_end(self, agent_id: str, generation: int, reason: str, *, clean: bool = False) -> None:
        """Report to the town how a generation ended, and what it printed."""
        files = self._runtime.newest(self._settings.town_id, agent_id)
        if files is not None and files.number == generation:
            self._logs.ended(agent_id, files)
        event_id = f"{self._settings.instance_key}:end:{generation}:{as_part(agent_id)}"
        if clean:
            payload = {"status": "completed", "reason": reason[:1000], "generation": generation}
            self._reporter.fact(self._reporter.event("agent_completed", event_id, payload, agent_id=agent_id))
            return
        gone = {"status": "exited", "exit_reason": reason[:1000], "generation": generation}
        self._reporter.fact(self._reporter.event("container_status", event_id, gone, agent_id=agent_id))

    def _look_on(self) -> None:
        while not self._ended.wait(self._settings.look_every):
            try:
                self.look()
            except OSError as error:
                say(f"observing the agents failed: {error}")

    def _look_at_all(self, *, beats: bool = True) -> None:
        running = [(agent.agent_id, agent.generation) for agent in self._runtime.running(self._settings.town_id)]
        started = [self._started.get() for _ in range(self._started.qsize())]
        for key in running + started:
            if key not in self._sessions:
                self._sessions[key] = self._met(*key)
        alive: list[Session] = []
        for key, session in list(self._sessions.items()):
            seen = self._runtime.status(self._settings.town_id, session.agent_id)
            if seen.generation != session.generation:
                del self._sessions[key]  # superseded by a newer generation, which is reported instead
            elif seen.status == "running" and beats:
                alive += [session] if self._is_alive(session) else []
            elif seen.status == "exited":
                del self._sessions[key]
                self._over(session, seen.exit_reason or "ended")
        self._beat(alive)

    def _met(self, agent_id: str, generation: int) -> Session:
        newest = self._runtime.newest(self._settings.town_id, agent_id)
        order = None if newest is None else newest.context()
        return Session(agent_id, generation, "" if order is None else order.role, self._settings.clock.now())

    def _is_alive(self, session: Session) -> bool:
        """Note what a running agent has done. One that has only waited for too long is stopped, and does not count as alive."""
        now = self._settings.clock.now()
        newest = self._runtime.newest(self._settings.town_id, session.agent_id)
        if newest is None:
            return False
        self._notice(session, newest, now)
        self._logs.runs(session.agent_id, newest)
        if session.waiting_since is not None and now - session.waiting_since > self._patience(session.role):
            session.sign = None
            newest.explain("idle: it only waited")
            self._runtime.stop(
                self._settings.town_id, session.agent_id, generation=session.generation, effect_id="idle-exit"
            )
            return False
        session.sign = SignOfLife(
            at=times.to_text(now),
            last_event_type=session.doing,
            last_event_at=times.to_text(session.active_at),
            active_tools=session.tools or None,
            container_instance_id=self._settings.instance_id,
        )
        return True

    def _beat(self, alive: list[Session]) -> None:
        """If the beat of any agent is due, let all beat of whom the town does not hear otherwise.

        Every request costs the town's store as much as one of a single agent.
        """
        now = self._settings.clock.now()
        unheard = [each for each in alive if self.draining or not each.is_quiet(now)]
        if not any(each.is_due(now) for each in unheard):
            return
        for session in unheard:
            session.beat_at = now
        beats = [(session, self._beat_of(session, session.sign)) for session in unheard if session.sign is not None]
        arrived = self._reporter.signs_of_life([beat for _, beat in beats])
        for session, beat in beats:
            session.beat_arrived = beat["event_id"] in arrived

    def _beat_of(self, session: Session, sign: SignOfLife) -> PostedEvent:
        payload = {**sign.said(), "generation": session.generation}
        # Not a counter, which would restart with the server and repeat ids.
        at = int(self._settings.clock.now().timestamp() * 1000)
        event_id = f"{self._settings.instance_key}:beat:{session.generation}:{at}:{as_part(session.agent_id)}"
        if session.generation < 1:
            del payload["generation"]
        return self._reporter.event("agent_heartbeat", event_id, payload, agent_id=session.agent_id)

    def _over(self, session: Session, reason: str) -> None:
        if not self.draining:  # while draining, the eviction reports the end, after it has saved the work
            self.report_end(session.agent_id, session.generation, reason, clean=reason == "completed")

    def _patience(self, role: str) -> timedelta:
        """How long an agent may wait before it is stopped. Unless the container is draining, the mayor may wait forever."""
        if self.draining:
            return _IDLE_EXIT_DRAINING
        return IDLE_EXIT.get(role, timedelta.max)

    def _notice(self, session: Session, files: GenerationFiles, now: datetime) -> None:
        """Record what the agent has done since the last look: written output, called `town-agent`, or begun to wait."""
        said = files.written_by_agent(WAITING, most=_LONGEST_NOTE)
        told = activity_in(files.written_by_agent(ACTIVITY, most=_LONGEST_NOTE), now=now)
        if told is not None:
            if session.waiting_since is not None and told.at > session.waiting_since:
                session.waiting_since = None
            session.doing, session.active_at, session.tools = told.kind, told.at, told.tools
        else:
            signs = (_size(files.directory / supervisor.LOG), _touched(files.desk / SPOKE))
            if signs != session.signs:
                session.doing = "output" if signs[0] != session.signs[0] else "town-agent"
                session.signs, session.active_at, session.waiting_since = signs, now, None
        if said != session.said:
            session.said, session.waiting_since = said, _since(said)


def _is_within(span: timedelta, since: datetime | None, *, now: datetime) -> bool:
    """Whether so much time has not passed yet. A time ahead of the clock, which was set back then, says nothing."""
    return since is not None and timedelta(0) <= now - since < span


def _since(said: str) -> datetime | None:
    """The time in a note of `town-agent waiting`; None if the note is unreadable."""
    try:
        return times.from_text(strict_json.foreign(said, limit=_LONGEST_NOTE)["since"])
    except (ValueError, KeyError, TypeError):
        return None


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


def _touched(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_mtime_ns
    return 0


def as_part(text: str) -> str:
    """An agent's id as a part of an event id, with every character that is not allowed there replaced."""
    return "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "_" for each in text)[:64]
