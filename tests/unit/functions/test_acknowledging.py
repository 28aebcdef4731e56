"""The link in a notice: what a person sees who opens it, and what comes of its button."""

import json
from datetime import timedelta
from typing import Any

import pytest

from functions.redrive import app as redrive
from functions.redrive.acknowledging import MOST_OPENED
from shared.adapters.escalation_links import LIFE, EscalationLink, sealed
from tests.apis import LINK_KEYS, deploy
from tests.cloud import Cloud, a_cloud
from tests.http_events import request
from tests.scenarios.table import scenario
from tests.towns import MS, T, a_town
from tests.worlds import World, a_world

ROUTE = "/acknowledge/{link}"


def a_town_with_an_escalation(title: str = "The disk is full", **columns: Any) -> World:
    town = a_town("one").bead("e1", "escalation", title=title, **columns)
    return a_world(town.insert("escalation_metadata", bead_id="e1", severity="high"))


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    made = a_cloud(a_town_with_an_escalation())
    deploy(made, monkeypatch)
    return made


def a_link(bead: str = "e1", town: str = "one", *, channel: str = "mail", life: timedelta = LIFE) -> str:
    return sealed(EscalationLink(town, bead, channel, T + life), LINK_KEYS)


class Page:
    """What a browser gets."""

    def __init__(self, method: str, link: str, lines: list[str] | None = None) -> None:
        form = {"content-type": "application/x-www-form-urlencoded"} if method == "POST" else {}
        asked = request(method, f"/acknowledge/{link}", route=ROUTE, parameters={"link": link}, headers=form)
        answered = redrive.answered(asked, ([] if lines is None else lines).append)
        self.status: int = answered["statusCode"]
        self.headers: dict[str, str] = answered["headers"]
        self.body: str = answered["body"]

    @property
    def has_button(self) -> bool:
        return '<form method="post"><button' in self.body


def acknowledged(cloud: Cloud) -> list[Any]:
    """Whether the town has noted it, after its next tick."""
    cloud.world.run(town_id="one")
    return cloud.world.town("one").rows("SELECT acknowledged FROM escalation_metadata")


@scenario(650)
def test_whoever_only_opens_a_link_changes_nothing(cloud: Cloud) -> None:
    """Programs that look for viruses in mail, and previews of a chat, open every link."""
    for _ in range(3):
        page = Page("GET", a_link())
        assert (page.status, page.has_button) == (200, True)
        assert "The disk is full" in page.body
    assert acknowledged(cloud) == [(0,)]


@scenario(650)
@pytest.mark.parametrize(("channel", "by"), [("mail", "link sent by mail"), ("desktop", "link shown on the desktop")])
def test_the_button_acknowledges_and_the_trail_says_by_which_link(cloud: Cloud, channel: str, by: str) -> None:
    page = Page("POST", a_link(channel=channel))
    assert (page.status, page.has_button) == (202, False)
    assert acknowledged(cloud) == [(1,)]
    trail = "SELECT event_type, new_value FROM bead_events WHERE bead_id = 'e1' AND event_type = 'fields_updated'"
    assert cloud.world.town("one").rows(trail) == [("fields_updated", f"acknowledged by {by}")]
    seen = Page("GET", a_link())
    assert (seen.status, seen.has_button) == (200, False)
    assert "acknowledged already" in seen.body


@scenario(650)
def test_the_button_can_be_used_twice(cloud: Cloud) -> None:
    link = a_link()
    assert [Page("POST", link).status for _ in range(2)] == [202, 202]
    assert acknowledged(cloud) == [(1,)]
    states = "SELECT outcome FROM town_events WHERE event_type = 'escalation_acknowledged'"
    assert len(cloud.world.town("one").rows(states)) == 1
    assert Page("POST", link).status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_is_refused_with_words_for_a_person_and_none_for_an_attacker(cloud: Cloud, method: str) -> None:
    good = a_link()
    strange = {good[:-1] + ("A" if good[-1] != "A" else "B"), "x", "~eA", "a.b", f"{good}.{good}", "%00", "a" * 5000}
    pages = [Page(method, each) for each in strange]
    assert {page.status for page in pages} == {401}
    assert len({page.body for page in pages}) == 1
    assert acknowledged(cloud) == [(0,)]


@pytest.mark.parametrize(
    ("link", "status", "says"),
    [
        (a_link(life=-MS), 410, "expired"),
        (a_link("gone"), 410, "gone"),
        (a_link("mayor"), 410, "gone"),
        (a_link(town="no-town"), 410, "gone"),
    ],
)
def test_a_link_whose_time_or_escalation_is_over_says_so(cloud: Cloud, link: str, status: int, says: str) -> None:
    for method in ("GET", "POST"):
        page = Page(method, link)
        assert (page.status, page.has_button) == (status, False)
        assert says in page.body


def test_a_closed_escalation_needs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    made = a_cloud(a_town_with_an_escalation(status="closed", closed_at="2026-01-10T11:59:00.000Z"))
    deploy(made, monkeypatch)
    page = Page("GET", a_link())
    assert (page.status, page.has_button) == (410, False)
    assert "is closed" in page.body


def test_a_link_is_good_for_one_escalation_only(monkeypatch: pytest.MonkeyPatch) -> None:
    town = a_town("one")
    for bead in ("e1", "e2"):
        town.bead(bead, "escalation").insert("escalation_metadata", bead_id=bead, severity="high")
    made = a_cloud(a_world(town))
    deploy(made, monkeypatch)
    Page("POST", a_link("e2"))
    made.world.run(town_id="one")
    found = made.world.town("one").rows("SELECT bead_id, acknowledged FROM escalation_metadata ORDER BY bead_id")
    assert found == [("e1", 0), ("e2", 1)]


def test_the_page_runs_nothing_loads_nothing_and_tells_no_other_site(cloud: Cloud) -> None:
    headers = Page("GET", a_link()).headers
    policy = dict(each.strip().split(" ", 1) for each in headers["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["frame-ancestors"], policy["base-uri"]) == ("'none'",) * 3
    assert (policy["form-action"], "script-src" in policy) == ("'self'", False)
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "ETag" not in headers


def test_head_is_the_page_without_its_body_and_no_method_but_post_does_more(cloud: Cloud) -> None:
    got, headed = Page("GET", a_link()), Page("HEAD", a_link())
    assert (headed.status, headed.headers, headed.body) == (200, got.headers, "")
    assert headed.headers["X-Request-Id"] == "request-1"
    for method in ("OPTIONS", "PUT", "DELETE", "get"):
        assert Page(method, a_link()).status == 401  # nobody has signed it
    assert acknowledged(cloud) == [(0,)]


def test_what_programs_for_mail_add_to_a_link_and_what_a_form_sends_is_ignored(cloud: Cloud) -> None:
    link = a_link()
    asked = request(
        "POST",
        f"/acknowledge/{link}",
        b"\xff{",
        route=ROUTE,
        parameters={"link": link},
        query={"utm_source": "mail", "x": "1"},
        headers={"content-type": "text/plain"},
    )
    assert redrive.answered(asked, lambda _: None)["statusCode"] == 202
    assert acknowledged(cloud) == [(1,)]


def test_a_title_of_others_is_only_text(monkeypatch: pytest.MonkeyPatch) -> None:
    token = "ghp_" + "a1B2" * 9
    made = a_cloud(a_town_with_an_escalation(f"<script>alert(1)</script> {token}"))
    deploy(made, monkeypatch)
    page = Page("GET", a_link())
    assert "&lt;script&gt;" in page.body
    assert "<script" not in page.body
    assert token not in page.body


def test_a_link_that_is_opened_all_the_time_is_refused_for_a_while(cloud: Cloud) -> None:
    pages = [Page("GET", a_link()) for _ in range(MOST_OPENED + 1)]
    assert [page.status for page in pages] == [200] * MOST_OPENED + [429]
    assert pages[-1].headers["Retry-After"]
    cloud.world.clock.move(minutes=10)
    assert Page("GET", a_link()).status == 200


def test_the_audit_line_names_the_link_and_does_not_have_it(cloud: Cloud) -> None:
    lines: list[str] = []
    link = a_link()
    Page("POST", link, lines)
    line = next(said for said in map(json.loads, lines) if said["event"] == "audit.request")
    assert (line["town_id"], line["status"], line["route"]) == ("one", 202, f"POST {ROUTE}")
    assert line["events"] == [f"acknowledged-{line['link']}"]
    assert link not in "".join(lines)
    assert link.split(".")[0] not in "".join(lines)
