"""How fast `townctl serve` accepts events, and how soon they act: `python -m tests.benchmarks.serve`.

Beside it, in the same run and with the same clients, stands a baseline: one Starlette route (the base of FastAPI) that inserts each
event into a SQLite table (WAL, synchronous=FULL). So a figure is a ratio on this machine, whatever else it does. The two take turns
in short rounds, and the figure is the median of the rounds' ratios.

What else the machine does shows less in the processor time of a request, of the servers and of the clients, which are threads of
this process: a figure for which the clients need most of a core says little about a server. `strace`, if it is installed, counts
the forced writes, in a round of its own, because it slows the server down.
"""

import argparse
import http.client
import json
import math
import os
import re
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import uvicorn
from rich.console import Console
from rich.table import Table
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from shared.adapters.clock import wait_for

TOWN: Final = "bench"
REPOSITORY: Final = Path(__file__).parents[2]
_URL: Final = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(frozen=True, slots=True)
class Load:
    """What clients saw: events a second, milliseconds of the median and of the slowest of a hundred, and failed requests.

    `server_ms` and `client_ms` are the processor time of one request in the server and in the clients.
    """

    rate: float
    p50: float
    p99: float
    failed: int
    server_ms: float
    client_ms: float


def body_of(name: str) -> bytes:
    """One event that changes nothing but is stored and applied."""
    return json.dumps({"events": [{"event_id": name, "event_type": "town_started", "payload": {}}]}).encode()


def loaded(server: "Server", *, clients: int, seconds: float, name: str = "") -> Load:
    """So many clients, each on a connection of its own, post one event after the other."""
    url, path, token = server.url, server.path, server.token
    took: list[float] = []
    failed: list[str] = []
    until = time.monotonic() + seconds

    def client(number: int) -> None:
        connection, count = _connection(url), 0
        while time.monotonic() < until:
            count += 1
            begun = time.perf_counter()
            try:
                status = _post(connection, path, token, body_of(f"{name}{clients}-{number}-{count:06}"))
            except OSError as error:
                failed.append(type(error).__name__)
                connection = _connection(url)
                continue
            took.append(time.perf_counter() - begun)
            if status != 202:
                failed.append(str(status))

    own, served = time.process_time(), _cpu_seconds(server.pid)
    _all_at_once(client, clients)
    own, served = time.process_time() - own, _cpu_seconds(server.pid) - served
    ordered, count = sorted(took), len(took)
    p50, p99 = statistics.median(ordered) * 1e3, ordered[int(count * 0.99)] * 1e3
    return Load(count / seconds, p50, p99, len(failed), served / count * 1e3, own / count * 1e3)


def _cpu_seconds(pid: int) -> float:
    """The processor time of a process, its children not counted; NaN where the system does not say it in /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def forced_writes(server: "Server", *, clients: int, seconds: float) -> float | None:
    """The forced writes of one request under load, as `strace` counts them, ticks included; None where it is not installed."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile() as out:
        words = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", out.name, "-p", str(server.pid)]
        with subprocess.Popen(words, stderr=subprocess.DEVNULL) as tracer:
            time.sleep(1)
            load = loaded(server, clients=clients, seconds=seconds, name="traced-")
            tracer.send_signal(signal.SIGINT)
        lines = Path(out.name).read_text().splitlines()
    counted = [line.split() for line in lines if line.endswith(("fsync", "fdatasync"))]
    return sum(int(fields[3]) for fields in counted) / (load.rate * seconds)


@dataclass(frozen=True, slots=True)
class Server:
    """A server under load: where events are posted, with which token, and its process."""

    url: str
    path: str
    token: str
    pid: int


def failures_at_once(url: str, path: str, token: str, *, connections: int) -> int:
    """How many of so many requests on connections that are opened at the same time get no answer."""
    failed: list[int] = []
    ready = threading.Barrier(connections)

    def client(number: int) -> None:
        connection = _connection(url)
        ready.wait()
        try:
            if _post(connection, path, token, body_of(f"once-{number:06}")) != 202:
                failed.append(number)
        except OSError:
            failed.append(number)

    _all_at_once(client, connections)
    return len(failed)


def waits_for_commit(url: str, path: str, token: str, data: Path, *, samples: int) -> list[float]:
    """Seconds from the start of a POST to the commit of the tick that took the event, for events that come one by one."""
    head, found = data / "towns" / TOWN / "head", []
    connection = _connection(url)
    for number in range(samples):
        time.sleep(5.5 + number % 7 / 10)
        before, begun = _identity(head), time.perf_counter()
        _post(connection, path, token, body_of(f"single-{number:06}"))
        while _identity(head) == before:
            time.sleep(0.002)
        found.append(time.perf_counter() - begun)
        connection.close()
    return sorted(found)


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def _connection(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)


def _post(connection: http.client.HTTPConnection, path: str, token: str, body: bytes) -> int:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _all_at_once(client: Callable[[int], None], clients: int) -> None:
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def served(data: Path) -> Iterator[Server]:
    """A `townctl serve` over a directory with one town, and an operator's token."""
    townctl = [sys.executable, "-m", "infra.townctl.main"]
    environment = {**os.environ, "TOWNCTL_DATA": str(data)}

    def call(*words: str) -> str:
        done = subprocess.run(
            [*townctl, *words], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    call("town", "create", TOWN)
    log = data / "serve.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*townctl, "serve", "--port", "0"], env=environment, cwd=REPOSITORY, stdout=out, stderr=out
        )
    try:
        wait_for(lambda: _URL.search(log.read_text()) is not None, seconds=60)
        url = _URL.search(log.read_text())
        assert url is not None, log.read_text()
        time.sleep(2)  # the first pass creates the mayor
        token = call("token", TOWN, "--scope", "operator")
        yield Server(url[0], f"/api/towns/{TOWN}/events", token, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def baseline(place: str) -> None:
    """The server of the baseline, in this process; it prints its URL."""
    local = threading.local()

    def insert(body: bytes) -> None:
        if not hasattr(local, "sql"):
            local.sql = sqlite3.connect(place, timeout=30, isolation_level=None)
            local.sql.execute("PRAGMA journal_mode=WAL")
            local.sql.execute("PRAGMA synchronous=FULL")
            local.sql.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, body TEXT NOT NULL)")
        for event in json.loads(body)["events"]:
            local.sql.execute("INSERT OR IGNORE INTO events VALUES (?, ?)", (event["event_id"], json.dumps(event)))

    async def post(request: Request) -> JSONResponse:
        await run_in_threadpool(insert, await request.body())
        return JSONResponse({"accepted": True}, 202)

    # Bound here, so that the port is known: a connection that comes before the server is ready waits in the backlog.
    with socket.create_server(("127.0.0.1", 0), backlog=256) as door:
        print(f"http://127.0.0.1:{door.getsockname()[1]}", flush=True)
        app = Starlette(routes=[Route("/events", post, methods=["POST"])])
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[door])


@contextmanager
def baseline_served(place: Path) -> Iterator[Server]:
    """The baseline in a process of its own."""
    words = [sys.executable, "-m", "tests.benchmarks.serve", "--baseline", str(place)]
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Server(process.stdout.readline().strip(), "/events", "", process.pid)
        finally:
            process.terminate()


def _rate_bar(clients: int, ours: Sequence[Load], theirs: Sequence[Load]) -> tuple[str, str, bool]:
    """The bar of events a second: the median of the rounds' ratios, and how far the rounds are apart."""
    ratios = sorted(mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True))
    median = statistics.median(ratios)
    measured = f"{median:.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return f"events/s at {clients} clients >= 0.5 x the baseline", measured, median >= 0.5


def main() -> None:
    """Print the figures and say of each bar whether it is held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--baseline", help="be the server of the baseline, with its table in this file")
    given = parser.parse_args()
    if given.baseline:
        baseline(given.baseline)
        return
    rows: list[tuple[int, list[Load], list[Load]]] = []
    # on the disk of this checkout: the system's temporary directory may lie in memory
    with tempfile.TemporaryDirectory(dir=REPOSITORY / "build") as folder:
        data = Path(folder) / "data"
        data.mkdir()
        with served(data) as ours, baseline_served(Path(folder) / "baseline.db") as theirs:
            waits = waits_for_commit(ours.url, ours.path, ours.token, data, samples=given.samples)
            for clients in (1, 8, 32):
                turns: list[tuple[Load, Load]] = []
                for turn in range(given.rounds):
                    loads = [
                        loaded(each, clients=clients, seconds=given.seconds, name=f"{turn}-") for each in (ours, theirs)
                    ]
                    turns.append((loads[0], loads[1]))
                rows.append((clients, [mine for mine, _ in turns], [other for _, other in turns]))
            forced = {clients: forced_writes(ours, clients=clients, seconds=given.seconds) for clients in (1, 8, 32)}
            lost = failures_at_once(ours.url, ours.path, ours.token, connections=200)
    table = Table(title="Events posted one by one over kept connections, medians of the rounds")
    for heading in ("clients", "server", "events/s", "p50 ms", "p99 ms", "server ms", "client ms", "failed", "forced"):
        table.add_column(heading, justify="right")
    for clients, mine, others in rows:
        for name, loads in (("townctl serve", mine), ("baseline", others)):
            figures = [
                statistics.median(getattr(load, each) for load in loads)
                for each in ("rate", "p50", "p99", "server_ms", "client_ms")
            ]
            writes = forced[clients] if loads is mine else None
            table.add_row(
                str(clients),
                name,
                *(f"{figure:,.2f}" for figure in figures),
                str(sum(load.failed for load in loads)),
                "" if writes is None else f"{writes:.2f}",
            )
    console = Console()
    console.print(table)
    p50, p99 = statistics.median(waits), waits[-1]
    bars = [_rate_bar(clients, mine, others) for clients, mine, others in rows if clients > 1]
    bars += [
        (f"forced writes a POST at {clients} clients <= 2", f"{writes:.2f}", writes <= 2)
        for clients, writes in forced.items()
        if writes is not None
    ]
    bars += [
        ("POST to commit, p50 <= 0.3 s", f"{p50:.2f} s", p50 <= 0.3),
        (f"POST to commit, slowest of {len(waits)} <= 1 s", f"{p99:.2f} s", p99 <= 1),
        ("no request fails on 200 connections", str(lost), lost == 0),
    ]
    held = Table(title="Bars")
    for heading in ("bar", "measured", "held"):
        held.add_column(heading)
    for bar, figure, holds in bars:
        held.add_row(bar, figure, "yes" if holds else "NO")
    console.print(held)


if __name__ == "__main__":
    main()
