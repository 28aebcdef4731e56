"""A page over a world's towns, served as `townctl ui` serves it, and a browser that has opened it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from infra.listening.live import LivePort, live
from infra.ui.acts import Acts
from infra.ui.pages import served
from tests.replayed import a_busy_world
from tests.sites import a_site
from tests.towns import a_town
from tests.ui import browser
from tests.ui.large import a_large_town
from tests.worlds import World

PICTURES = Path("build/ui")
SECONDS = 60_000
"""Milliseconds that anything may take; it only bounds a test that fails."""
expect.set_options(timeout=SECONDS)


@dataclass
class Watched:
    """A page, with everything that its browser complained about or asked another machine for."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Open an address and wait until the page is connected."""
        self.page.goto(self.url + path)
        self.page.wait_for_function("() => window.townPlaces !== undefined")
        return self.page

    def hold_still(self) -> None:
        """Let nothing on the page change any more: no news come, and its clock stands.

        A page that is judged or painted for a long time does not answer its server, which would take it for gone.
        """
        self.page.evaluate("() => { const at = Date.now(); Date.now = () => at; window.socket.disconnect(); }")


@pytest.fixture(scope="session")
def world() -> World:
    """A long history with everything in it, and a town of 2,000 beads."""
    world = a_busy_world()
    world.put_in(a_large_town(2000, at=world.clock.now()))
    world.put_in(a_town("quiet"))
    return world


@pytest.fixture(scope="session")
def pages(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePort]:
    """The page of that world."""
    site = a_site(world, tmp_path_factory.mktemp("towns"))
    with live(lambda: served(site, Acts(site, ()))) as port:
        yield port


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser."""
    found = browser.program()
    if found is None:
        pytest.fail(f"there is no chromium here: {browser.INSTALL}")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=list(browser.ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def signed_in(chromium: Browser, pages: LivePort) -> Iterator[BrowserContext]:
    """The browser after it has opened the address that `townctl ui` prints."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(SECONDS)
    opened = context.new_page()
    opened.goto(pages.first_url)
    opened.close()
    yield context
    context.close()


@pytest.fixture
def watched(signed_in: BrowserContext, pages: LivePort) -> Iterator[Watched]:
    """A page of that browser. A complaint of the browser, or a request to another machine, fails the test."""
    page = signed_in.new_page()
    found = Watched(page, pages.url)
    page.on("console", lambda said: found.complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    own = (pages.url, pages.url.replace("http", "ws", 1), "data:")
    page.on("request", lambda asked: None if asked.url.startswith(own) else found.complaints.append(asked.url))
    yield found
    page.close()
    assert found.complaints == []
