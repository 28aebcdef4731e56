"""`make sam-local`: what `sam local invoke` gives to functions, and that each documented call is answered with it."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from infra.devstack.containers_of_sam import HERE, OF_DESKTOP, Containers, forwarded, invoked, reaching
from infra.devstack.s3_servers import S3Server, free_ports
from infra.devstack.sam_local import Call, LocalServers, calls, emulated_calls, invocations, local_servers, write_env
from shared.domain.errors import Refused, Terminal
from tests.contracts.deployments import SETTINGS

ANSWERS = {
    "events-put-town": 201,
    "events-post": 202,
    "worker": {"batchItemFailures": []},
    "events-list-towns": 200,
    "redrive": 404,  # no event of the new town is poisoned
    "debug-health": 200,
    "debug-status": 200,
    "debug-ticks": 200,
    "debug-bead": 200,
    "debug-dry-run": 200,
    "debug-replay": 400,  # the town is younger than the window
    "authorizer": {"isAuthorized": False},
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServers]:
    with local_servers(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture(scope="module")
def documented(servers: LocalServers, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """The documented calls, with an env.json of these servers."""
    path = tmp_path_factory.mktemp("build") / "env.json"
    write_env(path, servers.settings(HERE))
    return [replace(call, env=str(path)) for call in calls()]


@pytest.fixture(scope="module")
def found(servers: LocalServers, documented: list[Call]) -> list[dict[str, Any]]:
    """What `sam` gives to their functions in a shell that has settings of its own."""
    shell = {"SENTRY_DSN": "none", "STAGE": "prod", "ECS": "{}", "TOWN_BUCKET": "another"}
    return invocations(documented, credentials=servers.credentials | shell)


@pytest.mark.slow
def test_every_documented_call_is_answered(documented: list[Call], found: list[dict[str, Any]], tmp_path: Path) -> None:
    answers = {}
    for outcome in emulated_calls(documented, found, tmp_path):
        assert not outcome.failed, outcome.answer
        answers[Path(outcome.call.event).stem] = outcome.answer.get("statusCode", outcome.answer)
    assert answers.pop("tick")["late"] is True  # the minute of the sample event is long past
    retained = answers.pop("retention")
    assert (retained["failed"], retained["left"]) == ({}, 0)
    assert answers == ANSWERS


@pytest.mark.slow
def test_sam_gives_every_server_to_a_function_and_hides_the_settings_of_the_callers_shell(
    found: list[dict[str, Any]],
) -> None:
    """It passes only variables that the template declares, and the endpoints were not among them."""
    for one in found:
        settings = SETTINGS[one["function"]].from_environment(one["environment"])
        assert settings.stage == "local"
        assert settings.places
        assert all(str(url).startswith(f"http://{HERE}:") for url in settings.places.values())
        assert one["environment"]["SENTRY_DSN"] == ""
        assert one["environment"]["TOWN_BUCKET"] == "towns"


@pytest.mark.slow
def test_a_function_with_the_developers_credentials_stops_before_its_first_request(
    servers: LocalServers, documented: list[Call]
) -> None:
    one_of_each = list({call.function: call for call in documented}.values())
    credentials = servers.credentials | {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}
    for one in invocations(one_of_each, credentials=credentials):
        with pytest.raises(Terminal, match="are those of an AWS account"):
            SETTINGS[one["function"]].from_environment(one["environment"])


@dataclass(frozen=True, slots=True)
class Two:
    """Two servers, for the containers of `sam`."""

    store: S3Server
    services: S3Server


@pytest.fixture
def two() -> Iterator[Two]:
    ports = free_ports(2)
    listeners = [socket.create_server((HERE, port)) for port in ports]
    for listener in listeners:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
    yield Two(*(S3Server(f"http://{HERE}:{port}") for port in ports))
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def echo(listener: socket.socket) -> None:
    try:
        while True:
            taken, _ = listener.accept()
            taken.sendall(b"heard " + taken.recv(100))
            taken.close()
    except OSError:
        return


def said(host: str, url: str) -> bytes:
    with socket.create_connection((host, int(url.rpartition(":")[2])), timeout=10) as asked:
        asked.sendall(b"this")
        return asked.recv(100)


Engine = Callable[[str, str], None]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Installs a program of this name that runs containers, as far as its description of its network goes."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def installed(name: str, gateway: str) -> None:
        (tmp_path / name).write_text(f'#!/bin/sh\n[ "$1" = info ] || echo "{gateway}"\n')
        (tmp_path / name).chmod(0o755)

    return installed


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_containers_reach_the_servers_at_this_machines_address_in_their_network(
    name: str, two: Two, engine: Engine
) -> None:
    engine(name, "127.0.0.2")
    with reaching(two) as containers:
        assert containers == Containers(name, "127.0.0.2")
        assert said("127.0.0.2", two.store.endpoint_url) == b"heard this"
        assert said("127.0.0.2", two.services.endpoint_url) == b"heard this"
    with pytest.raises(OSError, match="refused"):
        said("127.0.0.2", two.store.endpoint_url)


def test_containers_in_a_virtual_machine_reach_the_machine_around_it_by_its_name(two: Two, engine: Engine) -> None:
    engine("docker", "192.0.2.1")  # not an address of this machine
    with reaching(two) as containers:
        assert containers == Containers("docker", OF_DESKTOP)


def test_where_no_engine_runs_there_are_no_containers(two: Two, engine: Engine) -> None:
    with reaching(two) as containers:
        assert containers == Containers(None, HERE)


def test_a_server_that_is_gone_closes_the_connection(two: Two) -> None:
    [port] = free_ports(1)
    with forwarded(HERE, 0, to=(HERE, port)) as opened, socket.create_connection((HERE, opened), timeout=10) as asked:
        assert asked.recv(10) == b""


@pytest.mark.parametrize(
    ("program", "answer"),
    [("echo 'a line of the log'; echo '{\"statusCode\": 200}'", {"statusCode": 200}), ("exit 1", None), ("true", None)],
    ids=["answers", "fails", "says nothing"],
)
def test_the_answer_of_sam_is_its_last_line(program: str, answer: Any, tmp_path: Path) -> None:
    sam = tmp_path / "sam"
    sam.write_text(f"#!/bin/sh\n{program}\n")
    sam.chmod(0o755)
    if answer is not None:
        assert invoked(str(sam), ["TickFunction"], dict(os.environ)) == answer
        return
    with pytest.raises(Refused, match="sam local invoke TickFunction failed"):
        invoked(str(sam), ["TickFunction"], dict(os.environ))
