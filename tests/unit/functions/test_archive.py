"""Whole towns over the API: archived, listed, brought back and deleted, by operators with the verb delete, and by nobody else."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from functions.access import Access
from functions.archive import app as archive
from functions.settings import AccessRule, Verb
from shared.ports.steps import drive
from shared.storage import keys
from shared.storage.listing import all_keys
from shared.storage.put_away import KEPT
from tests import apis
from tests.cloud import Cloud, a_cloud
from tests.http_events import OPERATOR, Answer, Context, request
from tests.towns import a_town, event
from tests.worlds import a_world

ONE = "/api/towns/one"
PERSON = OPERATOR.rpartition("/")[2]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = a_cloud(a_world(a_town("one").key("paused", True).bead("b1"), a_town("two").key("paused", True)))
    apis.deploy(made, monkeypatch)
    return made


def ask(method: str, path: str, body: Any = None, *, caller: str | None = OPERATOR, **claims: str) -> Answer:
    return Answer.of(
        archive.lambda_handler(request(method, path, body, caller=caller, claims=claims or None), Context())
    )


def with_verbs(monkeypatch: pytest.MonkeyPatch, *verbs: Verb, towns: tuple[str, ...] = ("one",)) -> list[str]:
    """Let every caller have these verbs on these towns, and no others; the audit lines of the decisions."""
    lines: list[str] = []
    access = Access((AccessRule(callers=("*",), towns=towns, verbs=verbs),), lines.append)
    there = replace(archive.deployment(), access=access)
    monkeypatch.setattr(archive, "deployment", lambda: there)
    return lines


def test_a_town_is_archived_listed_with_who_and_why_and_brought_back(cloud: Cloud) -> None:
    put = ask("POST", f"{ONE}/archive", {"confirm": "one", "reason": "the project has ended"})
    assert put.status == 200
    said = {name: put.document[name] for name in ("townId", "txid", "by", "reason", "deleting")}
    assert said == {"townId": "one", "txid": 1, "by": PERSON, "reason": "the project has ended", "deleting": False}
    assert drive(cloud.world.store.towns()) == ("two",)
    assert ask("GET", "/api/archived-towns").document == {"towns": [put.document]}
    back = ask("POST", f"{ONE}/bring-back")
    assert (back.status, back.document) == (200, put.document)
    assert drive(cloud.world.store.towns()) == ("one", "two")
    assert ask("GET", "/api/archived-towns").document == {"towns": []}


def test_the_audit_line_of_a_return_names_the_person_and_the_event_that_tells_the_town(
    cloud: Cloud, capfd: pytest.CaptureFixture[str]
) -> None:
    ask("POST", f"{ONE}/archive", {"confirm": "one"})
    ask("POST", f"{ONE}/bring-back")
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines() if "audit.request" in line]
    assert [(line["caller"], line["route"], line["town_id"], line["status"]) for line in told] == [
        (OPERATOR, f"POST {ONE}/archive", "one", 200),
        (OPERATOR, f"POST {ONE}/bring-back", "one", 200),
    ]
    cloud.world.run(town_id="one")
    [arrived] = cloud.world.journal("one")[-1]["inputs"]["new_events"]
    assert [arrived["event_id"]] == told[1]["events"]
    assert json.loads(arrived["payload"])["by"] == PERSON


def test_a_town_is_deleted_for_good_after_thirty_days_or_at_once_if_that_is_asked(cloud: Cloud) -> None:
    for town in ("one", "two"):
        ask("POST", f"/api/towns/{town}/archive", {"confirm": town})
    early = ask("POST", f"{ONE}/delete", {"confirm": "one"})
    assert (early.status, "is kept until" in early.document["detail"]) == (409, True)
    assert ask("POST", f"{ONE}/delete", {"confirm": "one", "now": True}).document["left"] == 0
    cloud.world.clock.at += KEPT + timedelta(seconds=1)
    assert ask("POST", "/api/towns/two/delete", {"confirm": "two"}).status == 200
    assert drive(all_keys(cloud.world.objects, keys.TOWNS)) == []


def test_a_large_town_is_deleted_in_several_requests(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_DELETED", 1)
    for number in range(3):
        cloud.world.post(
            event("bead_updated", {"priority": "low"}, bead="b1", event_id=f"again-{number:03}"), town_id="one"
        )
        cloud.world.run(town_id="one")
    ask("POST", f"{ONE}/archive", {"confirm": "one"})
    left: list[int] = []
    while not left or left[-1]:
        left.append(ask("POST", f"{ONE}/delete", {"confirm": "one", "now": True}).document["left"])
    assert left == list(range(len(left) - 1, -1, -1))
    assert len(left) > 2
    assert ask("POST", f"{ONE}/delete", {"confirm": "one"}).status == 404


@pytest.mark.parametrize("act", ["archive", "delete"])
@pytest.mark.parametrize(
    "body", [None, {}, {"confirm": "two"}, {"confirm": "One"}, {"confirm": "one", "force": True}], ids=str
)
def test_nothing_is_archived_or_deleted_unless_the_body_names_the_town(cloud: Cloud, act: str, body: Any) -> None:
    if act == "delete":
        ask("POST", f"{ONE}/archive", {"confirm": "one"})
    before = drive(all_keys(cloud.world.objects, keys.TOWNS))
    refused = ask("POST", f"{ONE}/{act}", body)
    assert (refused.status, bool(refused.document["hint"])) == (422, True)
    assert drive(all_keys(cloud.world.objects, keys.TOWNS)) == before


def test_a_town_that_is_not_paused_is_not_archived(cloud: Cloud) -> None:
    cloud.world.put_in(a_town("three"))
    refused = ask("POST", "/api/towns/three/archive", {"confirm": "three"})
    assert (refused.status, "it is not paused" in refused.document["detail"]) == (409, True)
    assert "townctl pause three" in refused.document["hint"]


@pytest.mark.parametrize("act", ["archive", "bring-back", "delete"])
def test_whoever_may_do_everything_else_to_a_town_may_not_archive_or_delete_it(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    lines = with_verbs(monkeypatch, "read", "debug", "write")
    refused = ask("POST", f"{ONE}/{act}", {"confirm": "one", "now": True})
    assert (refused.status, "the verb delete" in refused.document["hint"]) == (403, True)
    said = json.loads(lines[-1])
    assert (said["event"], said["verb"], said["caller"]) == ("access.refused", "delete", OPERATOR)
    assert drive(cloud.world.store.towns()) == ("one", "two")


@pytest.mark.parametrize("act", ["archive", "bring-back", "delete"])
def test_no_town_token_archives_or_deletes_a_town(cloud: Cloud, act: str) -> None:
    for scope in ("operator", "coordinator", "container", "agent"):
        claims = {"town": "one", "scope": scope, "agent": "mayor", "expires": "99999999999"}
        assert ask("POST", f"{ONE}/{act}", {"confirm": "one"}, caller=None, **claims).status == 401
    assert drive(cloud.world.store.towns()) == ("one", "two")


def test_a_town_of_others_is_answered_like_an_unknown_one_and_not_listed(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("POST", "/api/towns/two/archive", {"confirm": "two"})
    with_verbs(monkeypatch, "read", "delete")
    hidden = [ask("POST", f"/api/towns/{town}/bring-back") for town in ("two", "nowhere")]
    assert [each.status for each in hidden] == [404, 404]
    assert hidden[0].document == hidden[1].document
    assert ask("GET", "/api/archived-towns").document == {"towns": []}
