"""Logs of agents, as containers report and operators read them: one for each start and writer, without secrets."""

import json
from datetime import timedelta
from typing import Any

import pytest

from functions.debug import app as debug
from functions.events import app as events
from shared.ports.logged_texts import MOST_KEPT, MOST_SENT
from shared.ports.steps import drive
from shared.storage import keys
from shared.storage.restore import KeptPast
from shared.storage.retention import Keep, forget
from tests.apis import deploy
from tests.cloud import Cloud, a_cloud
from tests.http_events import OPERATOR, Answer, Context, request
from tests.towns import a_town
from tests.unit.functions.test_events import sender
from tests.worlds import a_world

LOG = "/api/towns/one/agents/toast/log"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    town = a_town("one").bead("b", status="in_progress").agent("toast", hook="b", generation=3, status="working")
    made = a_cloud(a_world(town, a_town("two")))
    deploy(made, monkeypatch)
    return made


def put(text: str | bytes, claims: dict[str, str], path: str = LOG, **query: str) -> Answer:
    body = text if isinstance(text, bytes) else text.encode()
    asked = request("PUT", path, body, claims=claims, query=query, headers={"content-type": "text/plain"}, encoded=True)
    return Answer.of(events.lambda_handler(asked, Context()))


def get(path: str = LOG, **query: str) -> Answer:
    return Answer.of(debug.lambda_handler(request("GET", path, caller=OPERATOR, query=query), Context()))


def agent(generation: str = "3", **more: str) -> dict[str, str]:
    return sender("agent", agent="toast", generation=generation, **more)


def test_what_an_agent_reports_is_read_back(cloud: Cloud) -> None:
    answered = put("12 tests passed\n", agent())
    assert answered.status == 200
    assert answered.document == {"agentId": "toast", "generation": 3, "kind": "log", "keptBytes": 16, "cut": False}
    found = get()
    assert found.status == 200
    assert (found.document["text"], found.document["generation"], found.document["by"]) == (
        "12 tests passed\n",
        3,
        "agent",
    )


def test_a_later_report_replaces_the_earlier_one(cloud: Cloud) -> None:
    put("one\n", agent())
    put("one\ntwo\n", agent())
    assert get().document["text"] == "one\ntwo\n"
    assert len(cloud.world.objects.list(keys.logs_of("one")).keys) == 1


def test_a_container_reports_for_each_of_its_agents_and_is_believed_first(cloud: Cloud) -> None:
    put("what the agent says that it did", agent())
    assert put("what it did", sender(), generation="3").status == 200
    found = get().document
    assert (found["text"], found["by"], found["others"]) == ("what it did", "container", [])


def test_a_container_must_name_the_generation(cloud: Cloud) -> None:
    answered = put("text", sender())
    assert (answered.status, answered.document["path"]) == (422, "generation")


@pytest.mark.parametrize(
    ("claims", "query", "path"),
    [
        (sender("agent", agent="other", generation="3"), {}, LOG),
        (agent(), {"generation": "4"}, LOG),
        (sender("operator"), {"generation": "3"}, LOG),
        (sender("coordinator", agent="mayor", generation="1"), {}, LOG),
    ],
    ids=["another agent's token", "another generation", "an operator", "the mayor, for a polecat"],
)
def test_nobody_reports_for_another(cloud: Cloud, claims: dict[str, str], query: dict[str, str], path: str) -> None:
    assert put("text", claims, path, **query).status == 403
    assert cloud.world.objects.list(keys.logs_of("one")).keys == ()


def test_a_token_of_another_town_reports_nothing(cloud: Cloud) -> None:
    assert put("text", agent(town="two")).status == 404
    assert put("text", agent(town="nowhere"), "/api/towns/nowhere/agents/toast/log").status == 404


def test_a_log_of_a_mebibyte_is_taken_and_a_longer_one_refused(cloud: Cloud) -> None:
    line = "a line of the log\n"
    longest = (line * (MOST_SENT // len(line) + 1))[-MOST_SENT:]
    answered = put(longest, agent())
    assert answered.status == 200
    assert answered.document["cut"] is True
    assert MOST_KEPT - len(line) < answered.document["keptBytes"] <= MOST_KEPT
    assert put(longest + "x", agent()).status == 413
    assert get().document["cut"] is True


def test_no_secret_reaches_the_store(cloud: Cloud) -> None:
    put("export TOKEN=ghp_0123456789abcdefghijKLMNOPQRSTUVWXYZ\nnext\nfine\n", agent())
    [key] = cloud.world.objects.list(keys.logs_of("one")).keys
    stored = cloud.world.objects.get(key)
    assert stored is not None
    assert b"ghp_0123" not in stored.body
    assert json.loads(stored.body)["text"].endswith("fine\n")


def test_bytes_that_are_no_text_are_shown_as_such(cloud: Cloud) -> None:
    put(b"\xff\xfe binary\n", agent())
    assert get().document["text"] == "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} binary\n"


def test_a_transcript_is_kept_beside_the_log(cloud: Cloud) -> None:
    put("printed\n", agent())
    put('{"said": "hello"}\n', agent(), kind="transcript")
    assert get().document["text"] == "printed\n"
    assert get(kind="transcript").document["text"] == '{"said": "hello"}\n'


def test_the_log_of_a_generation_and_of_a_bead(cloud: Cloud) -> None:
    for generation in (1, 2, 3):
        put(f"start {generation}\n", agent(str(generation)))
    assert get(generation="2").document["text"] == "start 2\n"
    assert [each["generation"] for each in get().document["others"]] == [2, 1]
    missing = get(generation="9")
    assert (missing.status, missing.document["path"]) == (404, "generation")
    assert "3, 2, 1" in missing.document["hint"]
    of_the_bead = get("/api/towns/one/beads/b/log").document
    assert (of_the_bead["agentId"], of_the_bead["generation"]) == ("toast", 3)


@pytest.mark.parametrize(
    "path", ["/api/towns/one/agents/nobody/log", "/api/towns/one/beads/b/log", "/api/towns/one/beads/x/log"]
)
def test_what_is_not_kept_is_said(cloud: Cloud, path: str) -> None:
    answered = get(path)
    assert answered.status == 404
    assert answered.is_problem


def test_ids_that_look_like_paths_stay_in_their_town(cloud: Cloud) -> None:
    for number, agent_id in enumerate(("../../two/head", "a/b", ".", "..", "Ä 🦊", "%2e", "x" * 64)):
        asked: dict[str, Any] = request(
            "PUT",
            f"/api/towns/one/agents/{number}/log",
            b"text",
            claims=sender("agent", agent=agent_id, generation="1"),
            route="/api/towns/{townId}/agents/{agentId}/log",
            parameters={"townId": "one", "agentId": agent_id},
            encoded=True,
        )
        assert Answer.of(events.lambda_handler(asked, Context())).status == 200, agent_id
    stored = cloud.world.objects.list(keys.logs_of("one")).keys
    assert len(stored) == 7
    assert all(key.count("/") == 4 and ".." not in key for key in stored)


def test_logs_go_after_fourteen_days_and_nothing_else_with_them(cloud: Cloud) -> None:
    put("text", agent())
    objects: Any = cloud.world.objects
    kept = KeptPast(objects, objects, "one")
    [state] = objects.versions(keys.logs_of("one") + "toast/0000000003-log.agent.json")
    drive(forget(kept, Keep(), now=state.at + timedelta(days=14)))
    assert get().status == 200
    gone = drive(forget(kept, Keep(), now=state.at + timedelta(days=14, milliseconds=1)))
    assert [each.key for each in gone.doomed if "/logs/" in each.key] != []
    assert get().status == 404
