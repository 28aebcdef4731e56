"""The page of `townctl ui` in a real browser: every view, clicks, keys, the slider, what-if, and the rules of accessibility."""

import re
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import expect

from infra.listening.live import LivePort
from shared.domain.times import to_text
from tests.towns import T
from tests.ui.conftest import PICTURES, Watched
from tests.ui.large import CONVOY
from tests.worlds import World

pytestmark = pytest.mark.browser

AXE: Final = Path(".tools/axe/node_modules/axe-core/axe.min.js")
VIEWS: Final = {
    "fleet": "/",
    "town": "/t/t1",
    "list": "/t/t1?as=list",
    "timeline": "/t/t1/timeline?span=all",
    "tick": "/t/t1/timeline?span=all&tick=40",
    "machine": "/t/t1/machine",
    "beads": "/t/t1/beads",
    "agents": "/t/t1/agents",
    "reviews": "/t/t1/reviews",
    "settings": "/t/t1/settings?setting=merge_strategy",
    "no-page": "/t/t1/settingz",
    "large": "/t/large",
    "nothing": "/t/nowhere",
}
WIDTHS: Final = (1280, 390)
THEMES: Final = ("light", "dark")
TWO_KEYS: Final = """second => {
    for (const key of ["g", second]) document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
}"""
"""Both at once: the page waits for the second one only a moment, and this machine may take longer from one call to the next."""
JUDGED: Final = (("light", 1280), ("dark", 390))


def problems_of(watched: Watched) -> list[str]:
    """The rules of accessibility that the page breaks, with the first element of each."""
    watched.page.evaluate(AXE.read_text(encoding="utf-8"))
    options = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
    found: Any = watched.page.evaluate("(options) => axe.run('#page', options)", options)
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]} ({each['nodes'][0]['failureSummary'][:300]})"
        for each in found["violations"]
    ]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_fits_and_follows_the_rules_of_accessibility(watched: Watched, view: str) -> None:
    """One page for both themes and widths: neither is the server's business.

    The rules look at every element, which takes most of the time of these tests. So each theme and each width is judged once, and
    the large town, which has the elements of any town, only in one.
    """
    page = watched.open(VIEWS[view])
    page.evaluate("() => document.fonts.ready")
    watched.hold_still()
    PICTURES.mkdir(parents=True, exist_ok=True)
    found = []
    for theme, width in product(THEMES, WIDTHS):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=PICTURES / f"{view}-{width}-{theme}.png", full_page=view != "large")
        if page.evaluate("() => document.documentElement.scrollWidth") > width:
            found.append(f"{theme} {width}: wider than the window")
        if (theme, width) in (JUDGED[:1] if view == "large" else JUDGED):
            found += [f"{theme} {width}: {problem}" for problem in problems_of(watched)]
    assert found == []


def test_a_narrow_window_lists_the_beads_of_a_convoy_instead_of_drawing_them(watched: Watched) -> None:
    """A graph that is wider than the window shows its first layer and half of the second one."""
    page = watched.open("/t/large")
    convoy = page.locator("#convoys")
    expect(convoy.locator(".graph")).to_be_visible()
    expect(convoy.locator(".steps")).to_be_hidden()
    page.set_viewport_size({"width": 390, "height": 900})
    expect(convoy.locator(".graph")).to_be_hidden()
    rows = convoy.locator(".steps > ol > li")
    assert rows.count() == CONVOY
    expect(rows.nth(1)).to_contain_text("after Write part 0")
    expect(rows.nth(1)).to_contain_text("critical")
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for row in rows.all() if (box := row.bounding_box()))


def test_a_page_without_the_cookie_is_refused(watched: Watched, pages: LivePort) -> None:
    browser = watched.page.context.browser
    assert browser is not None
    with browser.new_context() as stranger:
        answer = stranger.request.get(pages.url)
        assert answer.status == 403
        assert stranger.request.get(pages.first_url).status == 403


def test_clicks_lead_from_the_fleet_to_a_town_to_a_bead_and_back(watched: Watched) -> None:
    page = watched.open("/")
    page.get_by_role("link", name="t1", exact=True).click()
    expect(page.locator("h1")).to_have_text("t1")
    page.locator(".board a.name").first.click()
    expect(page.locator("#story")).to_be_visible()
    assert "/t/t1/bead/" in page.url
    page.go_back()
    expect(page.locator("h1")).to_have_text("t1")


def test_keys_lead_everywhere(watched: Watched) -> None:
    page = watched.open("/t/t1")
    for key, view in (
        ("l", "timeline"),
        ("m", "machine"),
        ("b", "beads"),
        ("a", "agents"),
        ("r", "reviews"),
        ("t", "town"),
        ("f", "fleet"),
    ):
        page.evaluate(TWO_KEYS, key)
        expect(page.locator("#page")).to_have_attribute("data-view", view)


def test_the_finder_finds_a_bead_by_its_name(watched: Watched) -> None:
    page = watched.open("/t/t1")
    name = page.locator(".board a.name").first.inner_text()
    page.keyboard.press("/")
    page.keyboard.type(name)
    expect(page.locator("#find li a").first).to_contain_text(name)
    page.keyboard.press("Enter")
    expect(page.locator("#page")).to_have_attribute("data-view", re.compile("bead|agent"))


def test_news_of_the_town_close_no_finder_and_take_no_word_from_it(watched: Watched) -> None:
    """The page merged the finder as the server sends it, which is closed: whoever typed when a tick came had typed for nothing."""
    page = watched.open("/t/t1")
    as_sent = page.evaluate("() => document.getElementById('page').outerHTML")
    page.keyboard.press("/")
    page.keyboard.type("7")
    page.evaluate("html => townPage.show(html, townPage.address(), 'refresh')", as_sent)
    expect(page.locator("#find")).to_be_visible()
    expect(page.locator("#find li a").first).to_contain_text("Tick 7")
    page.keyboard.press("Enter")
    expect(page.locator("#page")).to_have_attribute("data-view", "timeline")


def test_the_filter_hides_what_does_not_fit_and_is_part_of_the_address(watched: Watched) -> None:
    page = watched.open("/t/t1/beads")
    page.keyboard.press("f")
    page.keyboard.type("no bead has this name")
    expect(page.get_by_text("Clear the filter")).to_be_visible()
    assert page.locator("tr[data-row]:visible").count() == 0
    assert "q=no+bead" in page.url
    watched.open(page.url.removeprefix(watched.url))
    assert page.locator("tr[data-row]:visible").count() == 0


def test_a_mark_opens_its_tick_beside_the_timeline(watched: Watched) -> None:
    page = watched.open("/t/t1/timeline?span=all")
    page.locator("a.spot").nth(3).click()
    expect(page.locator("#drawer")).to_be_visible()
    expect(page.locator("#drawer")).to_contain_text("Run again: exactly the same rows")
    assert "tick=" in page.url
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_have_count(0)


def test_the_slider_shows_the_town_as_it_was_and_a_view_keeps_the_time(watched: Watched) -> None:
    page = watched.open("/t/t1/machine")
    slider = page.locator("[data-slider]")
    slider.focus()
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("link", name="Back to live")).to_be_visible()
    assert "at=" in page.url
    page.get_by_role("link", name="Town then").click()
    expect(page.locator("#page")).to_have_attribute("data-view", "town")
    assert "at=" in page.url
    page.keyboard.press("Shift+L")
    expect(page.get_by_role("link", name="Back to live")).to_have_count(0)


def test_a_what_if_shows_two_histories_and_has_an_address(watched: Watched, world: World) -> None:
    at = to_text(T + (world.clock.now() - T) / 2)
    page = watched.open(f"/t/t1/machine?at={at}")
    page.locator("select[name=setting]").select_option("max_polecats_per_rig")
    page.locator("input[name=value]").fill("1")
    page.get_by_role("button", name="Run what if").click()
    expect(page.locator(".summary")).to_be_visible()
    assert "what=" in page.url


def test_a_button_copies_its_command(watched: Watched) -> None:
    page = watched.open("/t/t1")
    page.locator("[data-copy]").first.click()
    expect(page.locator("#toast")).to_have_text("Command copied")


def test_the_theme_is_kept(watched: Watched) -> None:
    page = watched.open("/")
    before = page.locator("html").get_attribute("data-theme")
    page.keyboard.press("d")
    expect(page.locator("html")).not_to_have_attribute("data-theme", str(before))
    after = page.locator("html").get_attribute("data-theme")
    watched.open("/t/t1")
    assert page.locator("html").get_attribute("data-theme") == after


def test_news_come_by_themselves_and_nothing_else_changes(watched: Watched, world: World) -> None:
    page = watched.open("/t/t1")
    page.evaluate("() => { document.querySelector('h1').dataset.mine = '1' }")
    tick = page.locator(".tickno").inner_text()
    world.clock.move(minutes=2)
    world.run()
    expect(page.locator(".tickno")).not_to_have_text(tick)
    assert page.evaluate("() => document.querySelector('h1') !== null")
