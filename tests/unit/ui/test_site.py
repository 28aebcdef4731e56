"""The site over a long history with everything in it: every view, at every time, with links that lead somewhere."""

import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from infra.ui.acts import Acts
from infra.ui.address import address_of
from infra.ui.site import Site
from shared.domain.times import to_text
from shared.ports.steps import drive
from shared.questions.status import status
from tests.replayed import a_busy_world, a_world_with_a_past
from tests.sites import a_site, shown
from tests.towns import T, a_town, event
from tests.worlds import World

pytestmark = pytest.mark.slow

VIEWS = (
    "",
    "/timeline",
    "/timeline?span=all",
    "/machine",
    "/beads",
    "/agents",
    "/reviews",
    "/settings",
    "/settings?setting=merge_strategy",
    "?as=list",
)


@pytest.fixture(scope="module")
def world() -> World:
    return a_busy_world()


@pytest.fixture(scope="module")
def site(world: World, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return a_site(world, tmp_path_factory.mktemp("towns"))


def links(page: str) -> set[str]:
    """Where the links of a page lead."""
    return {unescape(found) for found in re.findall(r'href="(/[^"]*)"', page)}


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_shows_the_present(site: Site, view: str) -> None:
    page = shown(site, f"/t/t1{view}")
    assert 'role="alert"' not in page
    assert "Live" in page


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_every_view_shows_the_past(site: Site, world: World, view: str, share: float) -> None:
    at = to_text(T + (world.clock.now() - T) * share)
    page = shown(site, f"/t/t1{view}{'&' if '?' in view else '?'}at={at}")
    assert 'role="alert"' not in page
    assert "Back to live" in page


def test_the_fleet_lists_its_towns(site: Site) -> None:
    assert 'data-row="t1"' in shown(site, "/")


def test_the_fleet_shows_how_much_each_town_did_in_the_last_hour_as_its_status_says_it(
    site: Site, world: World
) -> None:
    hour = drive(status("t1", world.around)).last_hour
    says = f"{hour.actions} actions in the last hour; {hour.failures} effects failed"
    page = shown(site, "/?sort=acts")
    assert f'aria-label="{says}"' in page
    assert page.count('<i class="fail" style="height:') == sum(map(bool, hour.failures_by_slot)) > 0


def test_a_convoy_is_a_list_too_and_what_is_done_is_folded(site: Site) -> None:
    page = shown(site, "/t/t1")
    steps = page.partition('<div class="steps">')[2]
    left, _, folded = steps.partition("<details><summary>2 beads done</summary>")
    assert "Two" in left.partition("</ol>")[0]
    assert {">One<" in folded, ">Three<" in folded} == {True}


def test_the_finder_of_a_town_that_is_not_there_leads_to_the_towns(site: Site) -> None:
    """The browser test of this page waited for a finder that never knew anything."""
    assert [place["id"] for place in site.places(address_of("/t/nowhere"))] == ["t1"]
    assert len(site.places(address_of("/t/t1"))) > 10


def test_why_a_bead_failed_is_a_sentence(site: Site) -> None:
    assert "The bead was cancelled." in shown(site, "/t/t1")


def test_every_name_on_the_page_of_a_town_leads_to_its_page(site: Site) -> None:
    found = {href for href in links(shown(site, "/t/t1")) if "/bead/" in href or "/agent/" in href}
    assert found
    assert [href for href in sorted(found) if 'role="alert"' in shown(site, href)] == []


def test_every_tick_of_the_history_can_be_opened(site: Site) -> None:
    page = shown(site, "/t/t1/timeline?span=all")
    ticks = sorted(int(number) for number in set(re.findall(r"tick=(\d+)", unescape(page))))
    assert len(ticks) > 30
    for tick in ticks[::12]:
        opened = shown(site, f"/t/t1/timeline?span=all&tick={tick}")
        assert f'aria-label="Tick {tick}"' in opened
        assert "Run again: exactly the same rows" in opened


def test_a_replay_proves_what_happened(site: Site, world: World) -> None:
    at = to_text(world.clock.now() - (world.clock.now() - T) / 4)
    assert "are exactly what happened" in shown(site, f"/t/t1/machine?at={at}&replay=1")


def test_a_what_if_is_an_address_of_its_own(site: Site, world: World) -> None:
    at = to_text(world.clock.now() - (world.clock.now() - T) / 2)
    fields = {"setting": ["max_polecats_per_rig"], "value": ["1"], "shift": ["0"]}
    said = Acts(site, ()).done(address_of(f"/t/t1/machine?at={at}"), {"what": "what_if", "fields": fields})
    assert said.to is not None
    page = site.page(said.to)
    assert "As it happened" in page or "Nothing would have been different" in page


def test_a_what_if_says_once_and_first_what_history_does_not_know(site: Site, world: World) -> None:
    """The page once said in green that a bead no longer fails, although its agent had been given another order."""
    at = to_text(T + timedelta(seconds=1))
    page = shown(site, f'/t/t1/machine?at={at}&what={{"config":{{"merge_strategy":"direct"}}}}')
    assert page.count("merge_strategy pr became direct") >= 1
    assert "not known from tick" in page
    assert "these results are unknown" not in page
    assert page.index("not known from tick") < page.index("first parting, tick")


def test_an_event_can_be_added_on_the_page(site: Site, world: World) -> None:
    at = to_text(world.clock.now() - (world.clock.now() - T) / 2)
    fields = {"type": ["bead_created"], "payload": ['{"bead":{"bead_id":"added","type":"issue","title":"Added"}}']}
    said = Acts(site, ()).done(address_of(f"/t/t1/machine?at={at}"), {"what": "what_if", "fields": fields})
    assert said.to is not None
    assert "event_id is missing" not in site.page(said.to)
    assert "As it happened" in site.page(said.to)


def test_what_a_what_if_refuses_is_said_where_its_result_would_be(site: Site, world: World) -> None:
    at = to_text(world.clock.now() - timedelta(minutes=5))
    page = shown(site, f'/t/t1/machine?at={at}&what={{"config":{{"no_such_setting":1}}}}')
    assert 'role="alert"' in page
    assert "Back to live" in page


@pytest.mark.parametrize(
    "href",
    [
        "/t/nowhere",
        "/t/t1?at=yesterday",
        "/t/t1/bead/nobody",
        "/t/t1?at=1999-01-01T00:00:00Z",
        "/t/t1/timeline?tick=99999",
    ],
)
def test_what_cannot_be_shown_is_a_page_that_says_why(site: Site, href: str) -> None:
    assert 'role="alert"' in shown(site, href)


def test_a_page_that_only_reads_has_no_button_that_acts(site: Site) -> None:
    page = shown(site, "/t/t1")
    assert 'data-do="run"' not in page


def test_a_button_runs_only_what_the_page_has_offered(world: World, tmp_path: Path) -> None:
    writing = a_site(world, tmp_path, writes=True)
    said = Acts(writing, ()).done(address_of("/t/t1"), {"what": "run", "value": "town delete t1"})
    assert said.text == "This button is from an older page: load it again."


def test_a_page_that_only_reads_runs_nothing(site: Site) -> None:
    key = site.offers.key_of("townctl start t1")
    said = Acts(site, ()).done(address_of("/t/t1"), {"what": "run", "value": key})
    assert "Read-only" in said.text


def test_titles_of_others_stay_text(tmp_path: Path) -> None:
    town = a_town("t1").bead("b1", title="<img src=x onerror=alert(1)>")
    site = a_site(a_world_with_a_past(town), tmp_path)
    for view in ("", "/timeline", "/beads", "/bead/b1"):
        assert "<img" not in shown(site, f"/t/t1{view}")


def test_an_empty_place_says_what_to_do(tmp_path: Path) -> None:
    assert "townctl town create" in shown(a_site(a_world_with_a_past(), tmp_path), "/")


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A town whose settings were changed in three ticks, the second time by ann; then a bead was filed."""
    world = a_world_with_a_past(a_town("t1"))
    changes: tuple[dict[str, Any], ...] = (
        {"config": {"max_dispatch_attempts": 2}},
        {"config": {"merge_strategy": "pr"}, "by": "ann"},
        {"config": {"budget": {"per_day": {"tokens": 5}}}},
    )
    for number, payload in enumerate(changes):
        world.clock.move(seconds=30)
        world.post(event("town_configured", payload, event_id=f"change-{number:02}"))
        world.run()
    world.clock.move(seconds=30)
    world.post(event("bead_created", {"bead": {"bead_id": "door", "type": "issue", "title": "Paint the door"}}))
    world.run()
    return a_site(world, tmp_path_factory.mktemp("configured"))


def test_the_settings_of_a_town_show_what_changed_and_those_of_a_past_time_what_held_then(configured: Site) -> None:
    page = shown(configured, "/t/t1/settings?setting=merge_strategy")
    assert "<del>direct</del> <ins>pr</ins>" in page
    assert "by ann" in page
    assert "townctl setting set t1 merge_strategy direct" in page
    before = min(href for href in links(page) if "/machine?at=" in href)
    then = shown(configured, before.replace("/machine", "/settings"))
    assert "No change of a setting is known." in then


def test_a_drawer_shows_what_a_tick_changed_in_the_settings(configured: Site) -> None:
    drawer = shown(configured, "/t/t1/timeline?tick=3")
    assert "value.merge_strategy" in drawer
    assert "by ann" in drawer


def test_a_jump_leads_before_a_change_and_the_restore_there_names_what_goes(configured: Site) -> None:
    machine = shown(configured, "/t/t1/machine")
    assert "merge_strategy direct -&gt; pr, by ann" in machine
    assert "budget.per_day none" in machine
    [before] = re.findall(r'href="([^"]+)" title="merge_strategy direct -&gt; pr, by ann: before it"', machine)
    page = shown(configured, unescape(before))
    assert "merge_strategy (&quot;direct&quot;)" in page or 'merge_strategy ("direct")' in page
    assert all(f'value="{name}"' in page for name in ("agent_runtime", "budget.per_day"))
    assert "Paint the door" in page.partition("Restore to commit")[2]
    assert "merge_strategy pr -&gt; direct" in page


def test_the_finder_knows_every_setting(configured: Site) -> None:
    found = {place["text"]: place["href"] for place in configured.places(address_of("/t/t1"))}
    assert found["merge_strategy"] == "/t/t1/settings?setting=merge_strategy"


@pytest.mark.parametrize("path", ["/t/t1/settingz", "/t/t1/bead", "/t/t1/timeline/tick/4"])
def test_a_page_that_does_not_exist_is_not_the_page_of_the_town(configured: Site, path: str) -> None:
    page = shown(configured, path)
    assert "There is no such page." in page
    assert "A town has these pages: town, timeline" in page
