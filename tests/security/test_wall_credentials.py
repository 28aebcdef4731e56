"""The wall around the credentials of forges: a generation gets one while the town lets it work, and nobody gets another one's.

In direct strategy nothing but the credential keeps a generation that lost its lease from pushing (decision T8). So every way to get
a credential for somebody else, or after the lease, is an attack; and so is every place where a credential can be read later.
"""

import json
from typing import Any

import pytest

from functions import wiring
from functions.credentials import app
from shared.domain.tick import Envelope
from tests.http_events import Answer
from tests.scenarios.table import scenario
from tests.towns import event
from tests.unit.functions.test_credentials import TOKEN, Asked, a_town_at_work, deployed


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return deployed(monkeypatch, a_town_at_work())


def assert_nothing(answer: Answer, status: int) -> None:
    assert (answer.status, answer.is_problem) == (status, True)
    assert TOKEN not in json.dumps(answer.document)


@scenario(540)
@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"town": "t2"}, 404),
        ({"agent": "other", "generation": "5"}, 403),
        ({"agent": "other", "generation": None}, 403),
        ({"generation": "4"}, 403),
        ({"generation": "6"}, 403),
        ({"generation": None}, 403),
        ({"scope": "operator", "agent": None, "generation": None}, 403),
        ({"scope": "coordinator", "agent": "mayor", "generation": "1"}, 403),
        ({"scope": "container", "town": "t2", "agent": None, "generation": None}, 404),
        ({"scope": "anything"}, 401),
        ({"expires": "1"}, 401),
        ({"expires": None}, 401),
    ],
    ids=str,
)
def test_whoever_is_not_that_generation_gets_nothing(asked: Asked, claims: dict[str, Any], status: int) -> None:
    assert_nothing(asked.ask(**claims), status)
    assert asked.secrets.asked == []


@scenario(540)
@pytest.mark.parametrize("named", [4, 6])
def test_neither_an_agent_nor_its_container_gets_the_credential_of_another_generation(asked: Asked, named: int) -> None:
    assert_nothing(asked.ask(named=named), 403)
    assert_nothing(asked.container_asks(named), 403)
    assert asked.secrets.asked == []


@scenario(540)
def test_what_an_older_generation_left_in_its_container_gets_nothing_once_the_next_one_is_dispatched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The container still saves the work of the old generation when the town starts the next one."""
    asked = deployed(monkeypatch, a_town_at_work().update("agent_metadata", "other", status="dead"))
    assert asked.container_asks(5).status == 200
    asked.world.post(event("agent_reset", agent="toast"), town_id="t1")
    asked.world.clock.move(seconds=5)
    asked.world.run(town_id="t1")
    assert asked.world.town("t1").one("agent_metadata", "toast", "generation", "current_hook_bead_id") == (6, "b1")
    assert_nothing(asked.container_asks(5), 403)
    assert asked.container_asks(6).document["forge"]["token"] == TOKEN


def test_a_signed_request_of_a_person_gets_nothing(asked: Asked) -> None:
    assert_nothing(asked.ask(caller="arn:aws:iam::123456789012:user/ann", town=None, scope=None), 401)


def test_a_town_that_does_not_exist_is_answered_as_a_foreign_one(asked: Asked) -> None:
    foreign = asked.ask(at="t2")
    unknown = asked.ask(at="nowhere")
    assert_nothing(foreign, 404)
    assert foreign == unknown


@scenario(540)
@pytest.mark.parametrize(
    "ends",
    [
        event("agent_done", {"branch": "gt/toast/b1"}, agent="toast"),
        event("bead_cancelled", bead="b1"),
        event("agent_completed", {"status": "failed", "reason": "gave up"}, agent="toast"),
    ],
    ids=lambda each: each.event_type,
)
def test_a_generation_loses_its_right_with_its_bead(asked: Asked, ends: Envelope) -> None:
    assert asked.ask().status == 200
    asked.world.post(ends, town_id="t1")
    asked.world.clock.move(seconds=5)
    asked.world.run(town_id="t1")
    assert_nothing(asked.ask(), 403)
    assert_nothing(asked.container_asks(5), 403)


def test_what_the_rig_says_of_its_upstream_gives_no_credential_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    town = a_town_at_work().update("rigs", "rig-1", config={"upstream": "victim/private"})
    asked = deployed(monkeypatch, town)
    asked.secrets.stored = {
        "agents/platform/forges/github.com": json.dumps({"token": TOKEN, "towns": {"t1": ["victim"]}})
    }
    assert asked.ask().document["forge"] is None


def test_the_token_stands_in_no_image_journal_inbox_log_or_audit_line(asked: Asked) -> None:
    assert asked.ask().document["forge"]["token"] == TOKEN
    asked.world.run(town_id="t1")
    assert asked.ask().status == 200
    objects = asked.world.objects
    bodies = [found.body for key in objects.list("").keys if (found := objects.get(key)) is not None]
    assert bodies
    assert not any(TOKEN.encode() in body for body in bodies)
    assert TOKEN.encode() not in asked.world.image("t1").image
    assert all(TOKEN not in line for line in asked.lines)
    assert TOKEN not in repr(asked.world.alerts)


def test_an_unexpected_error_shows_neither_the_token_nor_a_text(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException] = []

    def broken(*_: object) -> None:
        raise ValueError(TOKEN)

    monkeypatch.setattr(app, "answer_of", broken)
    monkeypatch.setattr(wiring, "tell_bug", told.append)
    assert_nothing(asked.ask(), 500)
    assert [type(each) for each in told] == [ValueError]
    assert all(TOKEN not in line for line in asked.lines)


def test_a_credential_shows_no_token_as_text(asked: Asked) -> None:
    issued = app.deployment().issuing.credential_for("t1", "toast", 5)
    assert TOKEN not in repr(issued)
    assert TOKEN not in repr(app.answer_of(issued))
