"""The real control server, run for a test on loopback, and told what to do wrong.

    with a_control_server(tmp_path) as server:
        server.faults.add("/agents/start", DropAnswer())        # it is done, and the connection is cut
        server.faults.add("/agents/start", Fail(503), times=2)  # nothing is done, this is the answer

Faults are met at the door, by route, first planned first met. Everything behind the door is what a container runs.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.responses import Response

from infra.agents.control_server.http import ControlServer
from infra.agents.control_server.server import Running
from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.log_keeping import LogKeeper
from infra.agents.posting import NotPosted, PostedEvent
from infra.devstack.broken_answers import HangUp
from infra.listening.guard import Request, json_answer
from shared.adapters.clock import SystemClock, wait_for
from shared.adapters.control_server import CallSeconds
from shared.ports.clock import Clock
from tests.patience import PATIENCE_SECONDS

SLEEPER = ("sleep", "600")
START = {
    "agentId": "a1",
    "rigId": "",
    "townId": "t1",
    "role": "polecat",
    "name": "Toast",
    "identity": "Toast",
    "prompt": "go",
    "model": "m",
    "gitUrl": "",
    "branch": "b",
    "defaultBranch": "main",
}
"""A start request, as a control server receives it."""
PATIENT = CallSeconds(start=PATIENCE_SECONDS, status=PATIENCE_SECONDS, health=PATIENCE_SECONDS, other=PATIENCE_SECONDS)


@dataclass(frozen=True)
class Fail:
    """Nothing is done; this status is the answer."""

    status: int


@dataclass(frozen=True)
class Garble:
    """It is done; the answer is no JSON."""


@dataclass(frozen=True)
class DropRequest:
    """Nothing is done, and the connection is cut."""


@dataclass(frozen=True)
class DropAnswer:
    """It is done, and the connection is cut."""


@dataclass(frozen=True)
class Slow:
    """It is done only when the server ends, long after the caller has given up."""


@dataclass(frozen=True)
class Late:
    """It is done at once, and answered only when the server ends."""


@dataclass(frozen=True)
class Twice:
    """The request arrives twice at the same time."""


Fault = Fail | Garble | DropRequest | DropAnswer | Slow | Late | Twice


@dataclass
class Faults:
    """What is to go wrong, by the end of a route's path."""

    planned: list[tuple[str, Fault]] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, route: str, fault: Fault, *, times: int = 1) -> None:
        self.planned += [(route, fault)] * times

    def take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.seen.append((method, path))
            for number, (route, fault) in enumerate(self.planned):
                if path.endswith(route):
                    del self.planned[number]
                    return fault
        return None


class FaultyDoor(ControlServer):
    """A control server's door that meets its faults."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.faults = Faults()
        self.ends = threading.Event()

    def answer(self, request: Request) -> Response:
        fault = self.faults.take(request.head.method, request.head.target)
        if isinstance(fault, Fail):
            return json_answer(fault.status, {"error": "as planned"})
        if isinstance(fault, DropRequest):
            return HangUp()
        if isinstance(fault, Slow):
            self.ends.wait()
        if isinstance(fault, Twice):
            twin = threading.Thread(target=super().answer, args=(request,))
            twin.start()
            answer = super().answer(request)
            twin.join()
            return answer
        answer = super().answer(request)
        if isinstance(fault, DropAnswer):
            return HangUp()
        if isinstance(fault, Late):
            self.ends.wait()
        if isinstance(fault, Garble):
            return Response("<html", answer.status_code)
        return answer


@dataclass
class Listener:
    """A town that keeps what it is told; it can be deaf for a while, and refuse what one agent says for good."""

    events: list[PostedEvent] = field(default_factory=list)
    deaf: bool = False
    refuses: str | None = None
    posts: list[Sequence[PostedEvent]] = field(default_factory=list)

    def post(self, events: Sequence[PostedEvent]) -> None:
        self.posts.append(events)
        if self.deaf:
            raise NotPosted("nobody listens")
        if any(event.get("agent_id") == self.refuses for event in events if self.refuses is not None):
            raise NotPosted("not from that one", final=True)
        self.events.extend(events)

    def heard(self, event_type: str, agent_id: str | None = None) -> list[PostedEvent]:
        """Events of a type, in order."""
        return [
            event
            for event in self.events
            if event["event_type"] == event_type and agent_id in (None, event.get("agent_id"))
        ]


@dataclass
class TestServer:
    """One control server of a test. It can be replaced by a new instance on the same or on a new disk."""

    __test__ = False

    settings: ControlServerSettings
    town: Any
    running: Running
    is_closed: bool = False

    @property
    def address(self) -> str:
        return self.running.address

    @property
    def door(self) -> FaultyDoor:
        door = self.running.door
        assert isinstance(door, FaultyDoor)
        return door

    @property
    def faults(self) -> Faults:
        return self.door.faults

    @property
    def runtime(self) -> Any:
        """The processes behind the door."""
        return self.running.sessions.runtime

    def generations(self, agent_id: str = "a1") -> list[int]:
        """The generations of an agent of which a process lives."""
        return sorted(agent.generation for agent in self.runtime.running() if agent.agent_id == agent_id)

    def comes_to_run(self, agent_id: str, *generations: int) -> bool:
        """Whether exactly these generations come to live."""
        return wait_for(lambda: self.generations(agent_id) == list(generations), seconds=PATIENCE_SECONDS)

    def replaced(self, instance_id: str, *, root: Path | None = None) -> "TestServer":
        """A new instance at the same port, after this one has ended."""
        settings = replace(
            self.settings, instance_id=instance_id, root=root or self.settings.root, port=self.running.door.port
        )
        return started(settings, self.town)

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self.door.ends.set()
        self.running.kill()
        assert self.runtime.stop_all() == ()


def started(settings: ControlServerSettings, town: Any, keeper: LogKeeper | None = None) -> TestServer:
    """A control server with a faulty door, which has no faults yet."""
    return TestServer(settings, town, Running(settings, town, keeper=keeper, door=FaultyDoor))


@contextmanager
def a_control_server(
    root: Path,
    *,
    command: Sequence[str] = SLEEPER,
    town: Any = None,
    clock: Clock | None = None,
    key: str | None = "a-long-secret",
    keeper: LogKeeper | None = None,
    **more: Any,
) -> Iterator[TestServer]:
    """A control server of town t1 on a free port of loopback; nothing of it is left behind."""
    settings = ControlServerSettings(
        town_id="t1",
        command=tuple(command),
        root=root / "control",
        instance_id="instance-1",
        port=0,
        key=key,
        clock=clock or SystemClock(),
        look_every=0.05,
        answer_within=PATIENCE_SECONDS / 2,
        **more,
    )
    server = started(settings, town or Listener(), keeper)
    try:
        yield server
    finally:
        server.close()
