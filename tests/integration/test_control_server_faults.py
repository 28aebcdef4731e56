"""The control server adapter when the server is slow, broken, gone or lying: every answer is typed, nothing raises."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.control_server import CallSeconds, ControlServerRuntime
from shared.adapters.http_json import Answered, call
from shared.adapters.town_containers import FixedAddresses
from shared.domain import wire
from shared.domain.errors import Terminal
from shared.domain.orders import ModelOrder, StartOrder, TokenOrder
from shared.domain.processes import ProcessStatus
from shared.ports.runtime import Done, NotDone, Started, StartRejected, StartUnknown
from tests.control_servers import (
    PATIENT,
    DropAnswer,
    DropRequest,
    Fail,
    Garble,
    Late,
    Slow,
    TestServer,
    Twice,
    a_control_server,
)
from tests.patience import PATIENCE_SECONDS

BRIEF = CallSeconds(start=1, status=1, health=1, other=1)
REPOSITORY = "https://example.com/acme/work.git"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TestServer]:
    with a_control_server(tmp_path) as server:
        yield server


def adapter(server: TestServer, seconds: CallSeconds = PATIENT, **more: Any) -> ControlServerRuntime:
    return ControlServerRuntime(
        FixedAddresses(server.address), key_of=lambda _: server.settings.key, seconds=seconds, **more
    )


def order(generation: int = 1, agent_id: str = "a1", **more: Any) -> StartOrder:
    return wire.read(
        StartOrder,
        {
            "town_id": "t1",
            "organization_id": "org-1",
            "agent_id": agent_id,
            "role": "polecat",
            "identity": "Toast-polecat-rig-1@t1",
            "generation": generation,
            "rig": None,
            "bead": {"id": "b1", "title": "Do it"},
            "prompt_kind": "work",
            "model": None,
            **more,
        },
    )


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fail(503), StartRejected),
        (Fail(429), StartRejected),
        (Fail(400), StartRejected),
        (Fail(302), StartRejected),
        (Fail(500), StartUnknown),
        (Fail(502), StartUnknown),
        (Fail(504), StartUnknown),
        (Garble(), StartUnknown),
        (DropRequest(), StartUnknown),
        (DropAnswer(), StartUnknown),
        (Late(), StartUnknown),
    ],
    ids=str,
)
def test_a_start_is_rejected_only_if_nothing_can_have_been_started(server: TestServer, fault: Any, kind: type) -> None:
    server.faults.add("/agents/start", fault)
    answer = adapter(server, BRIEF if fault == Late() else PATIENT).start(order(), effect_id="e1")
    assert type(answer) is kind
    assert getattr(answer, "reason", "")
    if kind is StartRejected:
        assert server.generations() == []


def test_a_retry_finds_a_start_whose_answer_was_lost(server: TestServer) -> None:
    server.faults.add("/agents/start", DropAnswer())
    runtime = adapter(server)
    assert isinstance(runtime.start(order(), effect_id="e1"), StartUnknown)
    assert isinstance(runtime.start(order(), effect_id="e1"), Started)
    assert server.generations() == [1]


def test_a_start_that_arrives_twice_at_once_is_one_process(server: TestServer) -> None:
    server.faults.add("/agents/start", Twice())
    assert isinstance(adapter(server).start(order(), effect_id="e1"), Started)
    assert server.generations() == [1]


def test_an_unreachable_server_rejects_the_start_and_the_status_is_unknown() -> None:
    with socket.socket() as bound:  # and not listening, so nobody else can listen there meanwhile
        bound.bind(("127.0.0.1", 0))
        runtime = ControlServerRuntime(FixedAddresses(f"http://127.0.0.1:{bound.getsockname()[1]}"), seconds=PATIENT)
        answer = runtime.start(order(), effect_id="e1")
        assert answer == StartRejected("the control server cannot be reached: NewConnectionError")
        assert runtime.status("t1", "a1").status == "unknown"
        refused = runtime.stop("t1", "a1", generation=1, effect_id="s1")
        assert isinstance(refused, NotDone)
        assert refused.passing
        assert runtime.message("t1", "a1", message_id="m1", text="hi", mode="queue") == NotDone(
            "the control server did not answer: NewConnectionError", passing=True
        )


def test_a_town_without_a_configured_server_is_rejected_without_a_program_for_its_agents() -> None:
    runtime = ControlServerRuntime(FixedAddresses(exceptions={"t2": "http://127.0.0.1:1"}))
    assert runtime.start(order(), effect_id="e1") == StartRejected(
        "no control server is configured for town t1", kind="no_agent_program"
    )
    assert runtime.status("t1", "a1") == ProcessStatus("not_found")


@pytest.mark.parametrize("fault", [Fail(500), Garble(), DropRequest(), Slow()], ids=str)
def test_a_status_that_is_not_answered_is_unknown(server: TestServer, fault: Any) -> None:
    adapter(server).start(order(), effect_id="e1")
    server.faults.add("/status", fault)
    assert adapter(server, BRIEF if fault == Slow() else PATIENT).status("t1", "a1").status == "unknown"
    found = adapter(server).status("t1", "a1")
    assert (found.status, found.generation) == ("running", 1)


@pytest.mark.parametrize(("status", "passing"), [(500, True), (503, True), (429, True), (400, False), (401, False)])
def test_a_failed_call_says_whether_it_may_succeed_later(server: TestServer, status: int, passing: bool) -> None:
    runtime = adapter(server)
    for route in ("/stop", "/message"):
        server.faults.add(route, Fail(status))
    for answer in (
        runtime.stop("t1", "a1", generation=1, effect_id="s1"),
        runtime.message("t1", "a1", message_id="m1", text="hi", mode="queue"),
    ):
        assert isinstance(answer, NotDone)
        assert answer.passing is passing
        assert "as planned" in answer.error


def test_a_message_whose_answer_was_lost_is_delivered_once(server: TestServer) -> None:
    runtime = adapter(server)
    runtime.start(order(), effect_id="e1")
    server.faults.add("/message", DropAnswer())
    assert isinstance(runtime.message("t1", "a1", message_id="m1", text="hi", mode="queue"), NotDone)
    assert runtime.message("t1", "a1", message_id="m1", text="hi", mode="queue") == Done()
    assert len(list((server.runtime.newest("t1", "a1").directory / "messages").iterdir())) == 1


def test_a_slow_answer_does_not_exceed_the_time_of_a_call() -> None:
    """One byte of the answer every 50 ms, forever: the call still ends when its time is over."""
    ended = threading.Event()
    with _a_dripping_server(ended) as address:
        answer = ControlServerRuntime(FixedAddresses(address), seconds=BRIEF).start(order(), effect_id="e1")
    assert isinstance(answer, StartUnknown)
    assert ended.is_set()


@contextmanager
def _a_dripping_server(ended: threading.Event) -> Iterator[str]:
    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                for _ in range(2000):
                    connection.sendall(b"H")
                    if ended.wait(0.05):
                        return
            except OSError:
                ended.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(timeout=PATIENCE_SECONDS)


def test_a_caller_without_the_key_gets_no_answer(server: TestServer) -> None:
    stranger = ControlServerRuntime(FixedAddresses(server.address), key_of=lambda _: "guessed", seconds=PATIENT)
    answer = stranger.start(order(), effect_id="e1")
    assert isinstance(answer, StartRejected)
    assert "401" in answer.reason
    assert stranger.status("t1", "a1").status == "unknown"
    assert server.generations() == []


def test_a_start_contains_every_field_of_the_contract(server: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body that is sent for an order with every field set."""
    sent: list[Any] = []
    start = server.running.sessions.start

    def watched(body: Any, *, effect_id: str) -> Any:
        sent.append(body)
        return start(body, effect_id=effect_id)

    monkeypatch.setattr(server.running.sessions, "start", watched)
    rig = {"id": "rig-1", "name": "work", "git_url": REPOSITORY, "default_branch": "trunk"}
    given = order(rig=rig, prompt_kind="triage", feature_branch="convoy/x/head", rigs=[rig], model="large")
    runtime = adapter(server, mint=_minted, api="https://api.example.com", small_model="tiny")
    assert isinstance(runtime.start(given, effect_id="e1"), Started)
    [body] = sent
    shown = body.model_dump(by_alias=True)
    environment = shown.pop("envVars")
    assert {**shown, "prompt": "", "systemPrompt": ""} == {
        "agentId": "a1",
        "rigId": "rig-1",
        "townId": "t1",
        "role": "polecat",
        "name": "Toast",
        "identity": "Toast-polecat-rig-1@t1",
        "prompt": "",
        "systemPrompt": "",
        "model": "large",
        "smallModel": "tiny",
        "gitUrl": REPOSITORY,
        "branch": "gt/toast/b1",
        "defaultBranch": "trunk",
        "startPoint": "convoy/x/head",
        "lightweight": True,
        "organizationId": "org-1",
        "rigs": [rig],
    }
    assert wire.read(StartOrder, json.loads(environment.pop("TOWN_AGENT_ORDER"))) == given
    assert environment == {
        "TOWN_AGENT_GENERATION": "1",
        "TOWN_TOKEN": "coordinator t1 a1 1",  # triage
        "TOWN_API": "https://api.example.com",
    }


def _minted(town_id: str, *, scope: str, agent_id: str | None = None, generation: int | None = None) -> str:
    return " ".join(str(part) for part in (scope, town_id, agent_id, generation) if part is not None)


def test_tokens_reach_the_container_and_every_agent_and_nobody_else(server: TestServer) -> None:
    runtime = adapter(server, mint=_minted)
    runtime.start(order(), effect_id="e1")
    token_file = server.settings.root / "tokens" / "a1.1"
    assert token_file.read_text() == "agent t1 a1 1"
    token_file.write_text("old")
    assert runtime.refresh_token(TokenOrder(town_id="t1"), effect_id="r1") == Done()
    assert token_file.read_text() == "agent t1 a1 1"
    assert (server.settings.root / "token").read_text() == "container t1"
    assert {path.stat().st_mode & 0o777 for path in (token_file, server.settings.root / "token")} == {0o600}
    written = [path for path in server.settings.root.rglob("*") if path.is_file() and b"agent t1" in path.read_bytes()]
    assert written == [token_file]


def test_a_late_token_for_an_older_generation_does_not_replace_the_newer_one(server: TestServer) -> None:
    """Both kept their token in one file; a repeated start of the older one, or a refresh that began before the newer one,
    put a token there with which the API refuses every report of the newer one.
    """
    runtime = adapter(server, mint=_minted)
    runtime.start(order(), effect_id="e1")
    runtime.start(order(2), effect_id="e2")
    assert isinstance(runtime.start(order(), effect_id="e1"), Started | StartRejected)
    late = {"token": "c", "agentTokens": [{"agentId": "a1", "generation": 1, "token": "agent t1 a1 1"}]}
    headers = {"Authorization": f"Bearer {server.settings.key}"}
    answer = call("POST", f"{server.address}/refresh-token", body=late, headers=headers, seconds=PATIENCE_SECONDS)
    assert isinstance(answer, Answered)
    assert answer.ok
    [agent] = server.runtime.running()
    environment = Path(f"/proc/{agent.pid}/environ").read_text().split("\0")
    [token_file] = [each.removeprefix("TOWN_TOKEN_FILE=") for each in environment if each.startswith("TOWN_TOKEN_FILE")]
    assert agent.generation == 2
    assert Path(token_file).read_text() == "agent t1 a1 2"


def test_the_token_of_a_generation_ends_with_it_and_a_late_one_does_not_bring_it_back(server: TestServer) -> None:
    """In direct strategy the credential alone keeps a generation that lost its lease from pushing (docs/security.md)."""
    runtime = adapter(server, mint=_minted)
    runtime.start(order(), effect_id="e1")
    token_file = server.settings.root / "tokens" / "a1.1"
    assert token_file.exists()
    assert runtime.stop("t1", "a1", generation=1, effect_id="s1") == Done()
    assert not token_file.exists()
    late = {"token": "c", "agentTokens": [{"agentId": "a1", "generation": 1, "token": "agent t1 a1 1"}]}
    headers = {"Authorization": f"Bearer {server.settings.key}"}
    answer = call("POST", f"{server.address}/refresh-token", body=late, headers=headers, seconds=PATIENCE_SECONDS)
    assert isinstance(answer, Answered)
    assert answer.ok
    assert not token_file.exists()
    assert (server.settings.root / "token").read_text() == "c"


def test_no_start_is_sent_if_the_token_took_all_the_time(server: TestServer) -> None:
    """The time for the token was added to that for the start, so the answer came too late and the start counted as unknown."""
    server.faults.add("/refresh-token", Slow())
    answer = adapter(server, BRIEF, mint=_minted).start(order(), effect_id="e1")

    assert isinstance(answer, StartRejected)
    assert answer.kind == "no_capacity"
    assert ("POST", "/agents/start") not in server.faults.seen


def test_a_token_that_cannot_be_issued_rejects_the_start(server: TestServer) -> None:
    def broken(town_id: str, *, scope: str, agent_id: str | None = None, generation: int | None = None) -> str:
        raise Terminal("the signing key is gone")

    runtime = adapter(server, mint=broken)
    assert runtime.start(order(), effect_id="e1") == StartRejected(
        "no token can be had: the signing key is gone", kind="bad_configuration"
    )
    assert runtime.refresh_token(TokenOrder(town_id="t1"), effect_id="r1") == NotDone(
        "no token can be made: the signing key is gone", passing=True
    )


def test_every_model_is_sent_with_the_organization(server: TestServer) -> None:
    runtime = adapter(server)
    runtime.start(order(), effect_id="e1")
    new = ModelOrder(town_id="t1", agent_id="a1", model="small", organization_id="org-1")
    assert runtime.update_model(new, effect_id="u1") == Done()
    stored = json.loads((server.runtime.newest("t1", "a1").directory.parent / "model.json").read_text())
    assert (stored["model"], stored["organization_id"]) == ("small", "org-1")


def test_a_configuration_applies_to_later_starts(server: TestServer) -> None:
    runtime = adapter(server)
    assert runtime.sync_config("t1", {"rigs": [], "envVars": {"LANGUAGE": "en"}}, effect_id="c1") == Done()
    wrong = runtime.sync_config("t1", {"envVars": {"LD_PRELOAD": "x"}}, effect_id="c2")
    assert isinstance(wrong, NotDone)
    assert not wrong.passing
    unusable = runtime.sync_config("t1", {"envVars": {"LANGUAGE": "e\0n"}}, effect_id="c3")
    assert isinstance(unusable, NotDone)
    runtime.start(order(), effect_id="e1")
    [agent] = server.runtime.running()
    assert b"LANGUAGE=en" in Path(f"/proc/{agent.pid}/environ").read_bytes().split(b"\0")
