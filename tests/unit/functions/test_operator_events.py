"""Events of an operator who signs, without a town token: stored with the request as their sender, if the rules allow it."""

from typing import Any

import pytest

from functions.events import app as events
from tests import apis
from tests.cloud import Cloud, a_cloud
from tests.http_events import OPERATOR, Answer, Context, request
from tests.towns import a_town
from tests.worlds import a_world

PATH = "/api/towns/one/operator/events"
PAUSED = {"event_id": "paused-0001", "event_type": "town_paused", "payload": {"by": "ann"}}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = a_cloud(a_world(a_town("one").bead("b1")))
    apis.deploy(made, monkeypatch)
    return made


def ask(body: Any, *, path: str = PATH, caller: str | None = OPERATOR, **claims: str) -> Answer:
    asked = request("POST", path, body, caller=caller, claims=claims or None)
    return Answer.of(events.lambda_handler(asked, Context()))


def test_the_next_tick_applies_it_and_the_town_keeps_the_request_that_brought_it(cloud: Cloud) -> None:
    said = ask(PAUSED)
    assert (said.status, said.document["accepted"]) == (202, ["paused-0001"])
    cloud.world.run(town_id="one")
    [arrived] = cloud.world.journal("one")[-1]["inputs"]["new_events"]
    assert (arrived["event_id"], arrived["sender"]) == ("paused-0001", {"scope": "operator", "request": "request-1"})
    assert cloud.world.journal("one")[-1]["outputs"]["events"][0]["outcome"] == "applied"


def test_it_can_be_repeated(cloud: Cloud) -> None:
    assert [ask(PAUSED).status for _ in range(2)] == [202, 202]
    cloud.world.run(town_id="one")
    outcomes = [each["outcome"] for each in cloud.world.journal("one")[-1]["outputs"]["events"]]
    assert outcomes == ["applied"]


@pytest.mark.parametrize("verbs", [("read",), ("read", "debug", "delete")])
def test_only_callers_with_the_verb_write_may_post(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, verbs: Any) -> None:
    apis.deploy(cloud, monkeypatch, verbs=verbs)
    assert ask(PAUSED).status == 403
    assert cloud.world.inbox("one") == ()


def test_no_town_token_opens_this_way(cloud: Cloud) -> None:
    claims = {"town": "one", "scope": "operator", "expires": "99999999999"}
    assert ask(PAUSED, caller=None, **claims).status == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"event_id": "back-00001", "event_type": "town_brought_back", "payload": {}}, 400),
        ({**PAUSED, "payload": {"by": "system"}}, 403),
        ({**PAUSED, "payload": {"force": True}}, 400),
        ([], 400),
    ],
    ids=["of the town itself", "in the town's name", "an unknown field", "nothing"],
)
def test_what_no_operator_may_say_is_refused(cloud: Cloud, body: Any, status: int) -> None:
    refused = ask(body)
    assert (refused.status, bool(refused.document["hint"])) == (status, True)
    assert cloud.world.inbox("one") == ()
