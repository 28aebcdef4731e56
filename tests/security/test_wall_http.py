"""What listens on a port, against callers that break HTTP, are slow, are many, send too much, or are web pages.

Every attack runs against the real control server and the local gateway, over sockets, and each ends with an honest request that
must be answered.
"""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import Response

from infra.agents.control_server import http as control_http
from infra.agents.control_server.http import ControlServer
from infra.agents.control_server.key import own_key
from infra.agents.control_server.server import Running
from infra.agents.control_server.settings import ControlServerSettings
from infra.devstack import gateway
from infra.listening.door import opened
from infra.listening.guard import Guard, Head, Request
from infra.listening.limits import Limits
from shared.adapters.clock import wait_for
from tests.control_servers import SLEEPER, START, Listener
from tests.patience import PATIENCE_SECONDS

KEY: Final = "a-long-secret"
QUICK: Final = Limits(connections=20, at_once=8, head_seconds=0.3, body_seconds=0.3, idle_seconds=1)


@dataclass
class Wall:
    """A server under attack. `done` is everything that it was made to do, `honest` a request that it must answer with 200."""

    port: int
    honest: bytes
    done: Callable[[], int]

    def send(self, *parts: bytes) -> bytes:
        """Everything that is answered to these bytes until the server closes the connection; we close it to write first."""
        with self.connected() as line:
            with suppress(OSError):
                for part in parts:
                    line.sendall(part)
            answer = b""
            with suppress(OSError):
                while part := line.recv(65536):
                    answer += part
            return answer

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def answers_honest_requests(self) -> bool:
        return self.send(self.honest).startswith(b"HTTP/1.1 200 ")


class Echo:
    """Answers with the length of what came, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        self.asked.append(f"{method} {target}")
        return {"statusCode": 200, "headers": {}, "body": str(len(body))}


class Counting(ControlServer):
    """A control server that counts the requests that came through to its routes."""

    routed = 0

    def answer(self, request: Request) -> Response:
        self.routed += 1
        return super().answer(request)


class Quick(Counting):
    """The same with little patience."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, limits=QUICK, **named)


def control_settings(root: Path, **more: Any) -> ControlServerSettings:
    return ControlServerSettings("t1", SLEEPER, root, "instance-1", **{"port": 0, "key": KEY, "look_every": 60, **more})


@contextmanager
def control_server(root: Path, *, door: type[Counting] = Counting, **more: Any) -> Iterator[tuple[Wall, Running]]:
    running = Running(control_settings(root, **more), Listener(), door=door)
    assert isinstance(running.door, door)
    counting = running.door
    honest = (
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a-long-secret\r\nConnection: close\r\n\r\n"
    )
    try:
        yield Wall(counting.port, honest, lambda: counting.routed), running
    finally:
        running.kill()


@contextmanager
def local_gateway() -> Iterator[Wall]:
    echo = Echo()
    with gateway.serving(echo) as url:
        honest = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        yield Wall(int(url.rsplit(":", 1)[1]), honest, lambda: len(echo.asked))


@pytest.fixture(scope="module", params=["control server", "gateway"])
def wall(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wall]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(gateway, "_LIMITS", replace(QUICK, body=1 << 20))
        if request.param == "gateway":
            yield stack.enter_context(local_gateway())
        else:
            yield stack.enter_context(control_server(tmp_path_factory.mktemp("control"), door=Quick))[0]


HEADERS: Final = b"Host: localhost\r\nAuthorization: Bearer a-long-secret\r\nContent-Type: application/json\r\n"
BEGINNING: Final = b"POST /agents/a1/stop HTTP/1.1\r\n" + HEADERS
SMUGGLED: Final = b"POST /refresh-token HTTP/1.1\r\n" + HEADERS + b"Content-Length: 13\r\n\r\n" + b'{"token":"x"}'

MALFORMED: Final = {
    "no length of a chunk": BEGINNING + b"Transfer-Encoding: chunked\r\n\r\n\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk's length that is no number": BEGINNING
    + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"
    + SMUGGLED,
    "a negative chunk": BEGINNING + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk with a prefix": BEGINNING + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk longer than it says": BEGINNING + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "a huge chunk": BEGINNING + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "both framings": BEGINNING
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    + SMUGGLED,
    "both framings, short": BEGINNING + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "another coding": BEGINNING + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "an unknown coding": BEGINNING + b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": BEGINNING + b"Content-Length: 2\r\nContent-Length: 30\r\n\r\n{}" + SMUGGLED,
    "two lengths in one": BEGINNING + b"Content-Length: 2, 30\r\n\r\n{}" + SMUGGLED,
    "a length with a sign": BEGINNING + b"Content-Length: +2\r\n\r\n{}" + SMUGGLED,
    "a negative length": BEGINNING + b"Content-Length: -2\r\n\r\n{}" + SMUGGLED,
    "a length of many digits": BEGINNING + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}" + SMUGGLED,
    "a space before a colon": BEGINNING + b"Content-Length : 2\r\n\r\n{}" + SMUGGLED,
    "a header without a name": BEGINNING + b": x\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "a NUL in a header": BEGINNING + b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "a bare CR in a header": BEGINNING + b"X: a\rb\r\nContent-Length: 2\r\n\r\n{}" + SMUGGLED,
    "a NUL in the target": b"GET /a\0b HTTP/1.1\r\n" + HEADERS + b"\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\n" + HEADERS + b"\r\n",
    "an absolute target": b"GET http://localhost/health HTTP/1.1\r\n" + HEADERS + b"\r\n",
    "a target of another machine": b"GET http://evil.example.com/health HTTP/1.1\r\n" + HEADERS + b"\r\n",
    "a tunnel": b"CONNECT localhost:22 HTTP/1.1\r\n" + HEADERS + b"\r\n" + SMUGGLED,
    "no host": b"GET /health HTTP/1.1\r\nAuthorization: Bearer a-long-secret\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: evil.example.com\r\n" + HEADERS + b"\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.7": b"GET /health HTTP/3.7\r\n" + HEADERS + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    "nothing but lines": b"\r\n" * 5000,
    "a long request line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HEADERS + b"\r\n",
    "a long header": b"GET /health HTTP/1.1\r\n" + HEADERS + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "a long header that does not end": b"GET /health HTTP/1.1\r\n" + HEADERS + b"X: " + b"a" * 1_000_000,
    "many headers": b"GET /health HTTP/1.1\r\n" + HEADERS + b"X: a\r\n" * 1000 + b"\r\n",
    "a body larger than allowed": BEGINNING + b"Content-Length: 1048577\r\n\r\n" + b" " * 1_048_577,
    "chunks larger than allowed": BEGINNING
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 40
    + b"0\r\n\r\n",
    "a head that does not end": b"GET /health HTTP/1.1\r\n" + HEADERS,
    "a body that does not end": BEGINNING + b"Content-Length: 10\r\n\r\n{}",
    "a chunk that does not end": BEGINNING + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{}",
    "nothing at all": b"",
}


@pytest.mark.parametrize("attack", MALFORMED)
def test_what_is_not_http_does_nothing_and_the_next_request_is_answered(
    wall: Wall, attack: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Chunked bodies were read as a second request; a wrong length was a traceback; nobody closed a slow connection."""
    done = wall.done()
    answer = wall.send(MALFORMED[attack])
    statuses = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert all(line[9:10] in b"45" for line in statuses), answer
    assert len(statuses) <= 1
    assert wall.done() == done
    assert wall.answers_honest_requests()
    assert capfd.readouterr().err == ""


def test_requests_in_one_packet_are_answered_one_by_one(wall: Wall) -> None:
    done = wall.done()
    chunks = b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
    answer = wall.send(BEGINNING + chunks + BEGINNING + b"Content-Length: 2\r\n\r\n{}" + wall.honest)
    assert answer.count(b"HTTP/1.1 ") == 3
    assert wall.done() == done + 3


_VALID: Final = BEGINNING + b"Content-Length: 2\r\n\r\n{}"
_CHUNKED: Final = BEGINNING + b"Transfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n"
_PIECES: Final = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"0", b"-", b"\xff", b"chunked", b"\r\n\r\n"]
)
_PLACE: Final = st.integers(0, len(_CHUNKED))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    valid=st.sampled_from([_VALID, _CHUNKED]),
    changes=st.lists(st.tuples(_PLACE, _PLACE, _PIECES | st.binary(max_size=4)), min_size=1, max_size=4),
    junk=st.binary(max_size=64),
)
def test_no_mutation_of_a_request_brings_the_server_down(
    wall: Wall, valid: bytes, changes: list[tuple[int, int, bytes]], junk: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    mutated = valid
    for start, length, piece in changes:
        mutated = mutated[:start] + piece + mutated[start + length % 8 :]
    with wall.connected() as line, suppress(OSError):
        line.sendall(mutated + junk)
        line.shutdown(socket.SHUT_WR)
        line.recv(1024)
    assert wall.answers_honest_requests()
    assert capfd.readouterr().err == ""


# many and slow --------------------------------------------------------------------------------------


def test_idle_connections_keep_nobody_out(wall: Wall) -> None:
    """201 idle connections stopped the ticks of `townctl serve`."""
    with ExitStack() as idle:
        lines = [idle.enter_context(wall.connected()) for _ in range(10 * QUICK.connections)]
        for line in lines[::2]:
            with suppress(OSError):
                line.sendall(b"GET / HT")
        assert wall.answers_honest_requests()


def test_whoever_sends_a_byte_now_and_then_is_cut_off(wall: Wall) -> None:
    """Uvicorn alone gives a head all the time in the world."""
    with wall.connected() as line:
        line.settimeout(0.02)

        def drip() -> bool:
            try:
                line.sendall(b"GET / HTTP/1.1\r\nX: a"[:1])
                return line.recv(1024) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        assert wait_for(drip, seconds=PATIENCE_SECONDS, every=0.01)
    assert wall.answers_honest_requests()


def test_a_connection_that_is_kept_open_is_closed_when_nothing_comes(wall: Wall) -> None:
    with wall.connected() as line:
        line.sendall(wall.honest.replace(b"Connection: close\r\n", b""))
        answer = b""
        while part := line.recv(4096):
            answer += part
    assert answer.count(b"HTTP/1.1 200 ") == 1


def test_whoever_reads_no_answers_does_not_keep_others_from_them(wall: Wall) -> None:
    with ExitStack() as deaf:
        for _ in range(5):
            line = deaf.enter_context(wall.connected())
            line.setblocking(False)
            with suppress(OSError):
                while True:
                    line.send(wall.honest.replace(b"Connection: close\r\n", b"") * 100)
        assert wall.answers_honest_requests()


class Waits:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)

    def admit(self, head: Head) -> None: ...

    def answer(self, request: Request) -> Response:
        self.begun.release()
        self.go_on.wait(PATIENCE_SECONDS)
        return Response("done")


def test_more_requests_than_can_be_answered_at_once_are_told_to_come_back() -> None:
    waits, limits = Waits(), Limits(at_once=2, turn_seconds=0.05, connections=3)
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with opened(Guard(waits, limits), limits=limits) as door, ThreadPoolExecutor() as callers:
        wall = Wall(door.port, request, lambda: 0)
        slow = [callers.submit(wall.send, request) for _ in range(2)]
        for _ in slow:
            assert waits.begun.acquire(timeout=PATIENCE_SECONDS)
        assert wall.send(request).startswith(b"HTTP/1.1 503 ")
        waits.go_on.set()
        assert [each.result(PATIENCE_SECONDS)[-4:] for each in slow] == [b"done", b"done"]


def test_two_hundred_requests_at_once_are_all_answered_although_few_are_at_the_same_time() -> None:
    waits, limits = Waits(), Limits(at_once=2, turn_seconds=PATIENCE_SECONDS)
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with opened(Guard(waits, limits), limits=limits) as door, ThreadPoolExecutor(200) as callers:
        wall = Wall(door.port, request, lambda: 0)
        answers = [callers.submit(wall.send, request) for _ in range(200)]
        for _ in range(2):
            assert waits.begun.acquire(timeout=PATIENCE_SECONDS)
        assert not waits.begun.acquire(timeout=0.05)
        waits.go_on.set()
        assert {each.result(PATIENCE_SECONDS)[-4:] for each in answers} == {b"done"}


def test_bodies_are_held_up_to_a_sum() -> None:
    limits = Limits(body=1000, held=1500)
    waits = Waits()
    request = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
    with opened(Guard(waits, limits), limits=limits) as door, ThreadPoolExecutor() as callers:
        wall = Wall(door.port, request, lambda: 0)
        first = callers.submit(wall.send, request)
        assert waits.begun.acquire(timeout=PATIENCE_SECONDS)
        assert wall.send(request).startswith(b"HTTP/1.1 503 ")
        waits.go_on.set()
        assert first.result(PATIENCE_SECONDS).startswith(b"HTTP/1.1 200 ")
        assert wall.send(request).startswith(b"HTTP/1.1 200 ")


def test_a_server_is_closed_although_a_request_does_not_end() -> None:
    waits, limits = Waits(), Limits(ending_seconds=0.05)
    with opened(Guard(waits, limits), limits=limits) as door:
        line = socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE_SECONDS)
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert waits.begun.acquire(timeout=PATIENCE_SECONDS)
    with line:
        assert not line.recv(100)
    waits.go_on.set()


FLOODED: Final = """
import sys, threading, pathlib
from infra.agents.control_server.server import Running
from tests.control_servers import Listener
from tests.security.test_wall_http import control_settings
running = Running(control_settings(pathlib.Path(sys.argv[1])), Listener())
print(running.door.port, flush=True)
sys.stdin.readline()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024)
running.kill()
"""
FLOOD: Final = b"x" * (1 << 20)


@pytest.mark.skipif(sys.platform != "linux", reason="measures with /proc")
@pytest.mark.parametrize("authorization", [b"", b"Authorization: Bearer a-long-secret\r\n"], ids=["no key", "the key"])
def test_a_flood_of_bodies_costs_no_memory(tmp_path: Path, authorization: bytes) -> None:
    """400 MiB were buffered before any token was asked for."""
    process = subprocess.Popen(
        [sys.executable, "-c", FLOODED, str(tmp_path / "control")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    wall = Wall(int(process.stdout.readline()), b"", lambda: 0)
    head = b"POST /sync-config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + authorization
    announced = head + b"Content-Length: 419430400\r\n\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    largest = head + b"Connection: close\r\nContent-Length: 1048576\r\n\r\n"
    pieces = [b"100000\r\n" + FLOOD + b"\r\n"] * 50
    with ThreadPoolExecutor(60) as callers:
        floods = [callers.submit(wall.send, announced, *[FLOOD] * 50) for _ in range(20)]
        floods += [callers.submit(wall.send, chunked, *pieces) for _ in range(20)]
        floods += [callers.submit(wall.send, largest, FLOOD) for _ in range(20)]
        answers = [each.result(PATIENCE_SECONDS) for each in floods]
    assert {answer[:12] for answer in answers if answer} <= {
        b"HTTP/1.1 401",
        b"HTTP/1.1 413",
        b"HTTP/1.1 400",
        b"HTTP/1.1 503",
    }
    said, _ = process.communicate("\n", timeout=PATIENCE_SECONDS)
    assert int(said) < 256


# web pages ------------------------------------------------------------------------------------------


@pytest.fixture
def open_control(tmp_path: Path) -> Iterator[tuple[Wall, Running]]:
    """A control server that was given no key."""
    with control_server(
        tmp_path / "control", key=None, hosts=frozenset({"t1.agents.example.com", "*.lan:8080"})
    ) as found:
        yield found


def post(wall: Wall, body: Any, key: str | None, **headers: str) -> bytes:
    content = json.dumps(body).encode()
    sent = {"Host": f"127.0.0.1:{wall.port}", "Content-Type": "application/json", **headers}
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in sent.items())
    head = f"POST /agents/start HTTP/1.1\r\n{lines}Connection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    return wall.send(head.encode("latin-1") + content)


def test_a_control_server_without_a_key_makes_one_and_wants_it(open_control: tuple[Wall, Running]) -> None:
    """A page of another site sent text/plain with BASH_ENV=$(...), and the developer's machine ran it."""
    wall, running = open_control
    key = own_key(running.settings.root)
    assert (running.settings.root / "control-key").stat().st_mode & 0o777 == 0o600
    assert len(key) > 40
    evil = {**START, "envVars": {"BASH_ENV": "$(touch /tmp/evil)"}}
    assert post(wall, evil, None, Content_Type="text/plain").startswith(b"HTTP/1.1 401 ")
    assert post(wall, evil, key).startswith(b"HTTP/1.1 400 ")
    assert post(wall, START, key, Content_Type="text/plain").startswith(b"HTTP/1.1 415 ")
    assert running.sessions.runtime.running() == ()
    assert post(wall, START, key).startswith(b"HTTP/1.1 200 ")
    assert len(running.sessions.runtime.running()) == 1


FOREIGN: Final = {
    "another name": {"Host": "evil.example.com"},
    "another name that points here": {"Host": "127.0.0.1.evil.example.com"},
    "another address": {"Host": "192.0.2.1"},
    "an address in another spelling": {"Host": "0x7f000001"},
    "a number": {"Host": "2130706433"},
    "a user": {"Host": "localhost@evil.example.com"},
    "a name with a dot": {"Host": "localhost."},
    "a name below": {"Host": "evil.localhost"},
    "an empty name": {"Host": ""},
    "a port that was not named": {"Host": "x.lan:9090"},
    "two names below": {"Host": "x.y.lan:8080"},
    "the name above": {"Host": "lan:8080"},
    "any address": {"Host": "0.0.0.0"},
    "a page": {"Origin": "https://evil.example.com"},
    "a page of a file": {"Origin": "null"},
    "a page of this machine": {"Origin": "http://localhost:3000"},
    "an extension": {"Origin": "chrome-extension://abc"},
    "an empty origin": {"Origin": ""},
    "a link": {"Sec_Fetch_Site": "cross-site"},
    "a site beside this one": {"Sec_Fetch_Site": "same-site"},
}


@pytest.mark.parametrize("how", FOREIGN)
def test_no_web_page_reaches_the_control_server_even_with_the_key(open_control: tuple[Wall, Running], how: str) -> None:
    wall, running = open_control
    answer = post(wall, START, own_key(running.settings.root), **FOREIGN[how])
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert wall.done() == 0


def test_not_even_its_own_page_does(open_control: tuple[Wall, Running]) -> None:
    wall, running = open_control
    own = {"Origin": f"http://127.0.0.1:{wall.port}", "Sec_Fetch_Site": "same-origin"}
    assert post(wall, START, own_key(running.settings.root), **own).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:80", "t1.agents.example.com:443", "x.lan:8080"]
)
def test_it_answers_to_its_names(open_control: tuple[Wall, Running], host: str) -> None:
    wall, running = open_control
    answer = post(wall, {}, own_key(running.settings.root), Host=host)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"agentId" in answer


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/json; charset=utf-7"],
)
def test_a_body_is_json_or_nothing(open_control: tuple[Wall, Running], kind: str) -> None:
    wall, running = open_control
    assert post(wall, START, own_key(running.settings.root), Content_Type=kind).startswith(b"HTTP/1.1 415 ")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000,
        b'{"a":' * 100_000,
        b'{"agentId": 1e999}',
        b'{"agentId": NaN}',
        b'{"a": 1, "a": 2}',
        b"9" * 100_000,
        b"\xff",
    ],
    ids=["deep", "deep objects", "a large number", "not a number", "a key twice", "many digits", "no text"],
)
def test_a_hostile_json_body_is_a_bad_request(open_control: tuple[Wall, Running], body: bytes) -> None:
    wall, running = open_control
    key = own_key(running.settings.root).encode()
    head = b"POST /agents/start HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    head += b"Authorization: Bearer " + key + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert wall.send(head + body).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("how", ["readable by others", "a link", "empty"])
def test_a_key_that_others_may_know_is_not_used(tmp_path: Path, how: str) -> None:
    file = tmp_path / "control-key"
    if how == "a link":
        (tmp_path / "elsewhere").write_text("known")
        file.symlink_to(tmp_path / "elsewhere")
    else:
        file.write_text("" if how == "empty" else "known")
        file.chmod(0o600 if how == "empty" else 0o644)
    with pytest.raises(OSError, match="control-key"):
        own_key(tmp_path)


def test_the_key_is_kept_for_the_next_start(tmp_path: Path) -> None:
    assert own_key(tmp_path) == own_key(tmp_path)


@pytest.mark.parametrize("how", FOREIGN)
def test_no_foreign_page_and_no_foreign_name_reaches_the_local_gateway(how: str) -> None:
    with local_gateway() as wall:
        assert post(wall, {}, None, **FOREIGN[how]).startswith(b"HTTP/1.1 403 ")
        assert wall.done() == 0


def test_the_gateways_own_pages_may_call_it() -> None:
    with local_gateway() as wall:
        own = {"Origin": f"http://127.0.0.1:{wall.port}", "Sec_Fetch_Site": "same-origin"}
        assert post(wall, {}, None, **own).startswith(b"HTTP/1.1 200 ")


def test_the_limits_of_the_control_server_are_those_that_were_tested() -> None:
    """The attacks above run with shorter times; the sizes are the real ones."""
    assert (control_http.LIMITS.body, control_http.LIMITS.head) == (QUICK.body, QUICK.head)
