"""A person's voice over HTTP: what somebody says reaches the mayor as mail, and the conversation is read back."""

import pytest

from functions.debug import app as debug
from functions.events import app as events
from shared.domain.limits import BODY_SIZE
from tests.apis import ask, deploy
from tests.cloud import Cloud, a_cloud
from tests.scenarios.table import scenario
from tests.towns import a_town
from tests.worlds import a_world

PATH = "/api/towns/one/mayor/messages"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = a_cloud(a_world(a_town("one").update("agent_metadata", "mayor", status="working", generation=1)))
    deploy(made, monkeypatch)
    return made


@scenario(546)
def test_what_a_person_says_reaches_the_mayor_under_the_name_of_who_signed(cloud: Cloud) -> None:
    said = ask(events, "POST", PATH, {"text": "Plan a parser.\nStart it."})
    assert said.status == 202
    cloud.world.run(town_id="one")
    [letter] = ask(debug, "GET", PATH).document["messages"]
    assert (letter["beadId"], letter["from"], letter["to"]) == (said.document["messageId"], "somebody", "mayor")
    assert (letter["title"], letter["text"]) == ("Plan a parser.", "Plan a parser.\nStart it.")
    [(_, told)] = cloud.world.runtime.messages.values()
    assert "person:somebody" in told
    assert "> Plan a parser." in told


@scenario(546)
def test_the_answer_of_the_mayor_is_in_the_conversation_and_delivers_the_message(cloud: Cloud) -> None:
    ask(events, "POST", PATH, {"text": "Plan a parser.", "messageId": "message-001"})
    cloud.world.run(town_id="one")
    answer = {
        "event_id": "said-0001",
        "event_type": "mayor_said",
        "payload": {"text": "It runs.", "in_reply_to": "message-001"},
    }
    assert ask(events, "POST", "/api/towns/one/events", answer).status == 202
    cloud.world.clock.move(seconds=5)
    cloud.world.run(town_id="one")
    found = ask(debug, "GET", PATH).document["messages"]
    assert {(each["from"], each["to"], each["text"], each["inReplyTo"], each["delivered"]) for each in found} == {
        ("somebody", "mayor", "Plan a parser.", None, True),
        ("mayor", "people", "It runs.", "message-001", True),
    }


def test_the_same_request_can_be_repeated_and_says_it_once(cloud: Cloud) -> None:
    for _ in range(2):
        assert ask(events, "POST", PATH, {"text": "Plan a parser.", "messageId": "message-001"}).status == 202
        cloud.world.run(town_id="one")
    assert len(ask(debug, "GET", PATH).document["messages"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        ({}, 422, "text"),
        ({"text": ""}, 422, "text"),
        ({"text": " \n "}, 422, "text"),
        ({"text": "x", "from": "mayor"}, 422, "from"),
        ({"text": "x", "messageId": "mayor"}, 422, "messageId"),
        ({"text": "x" * (BODY_SIZE + 1)}, 413, "text"),
    ],
)
def test_wrong_words_are_refused_with_the_place(cloud: Cloud, body: dict[str, str], status: int, path: str) -> None:
    answer = ask(events, "POST", PATH, body)
    assert (answer.status, answer.document["path"]) == (status, path)
    assert answer.is_problem


@scenario(546)
def test_a_town_without_a_mayor_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    town = a_town("one")
    town.rows("DELETE FROM agent_metadata WHERE role = 'mayor'")
    deploy(a_cloud(a_world(town)), monkeypatch)
    assert ask(debug, "GET", PATH).document["mayor"] is None
