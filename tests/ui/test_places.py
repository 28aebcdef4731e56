"""The page of `townctl ui` over other places than a directory that is only read: with --write, and over an API with few rights."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from playwright.sync_api import Browser, Page, expect

from infra.townctl import command_line
from tests import apis
from tests.cloud import a_cloud
from tests.towns import a_town, event
from tests.ui.conftest import SECONDS
from tests.ui.served import townctl_ui
from tests.worlds import World, a_world

pytestmark = pytest.mark.browser


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page of a browser that has no cookies yet. An error in it fails the test."""
    errors: list[str] = []
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.set_default_timeout(SECONDS)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    assert errors == []


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a town of three ticks; the third one filed a bead."""
    data = tmp_path / "towns"
    for words in (
        ("town", "create", "demo"),
        ("tick", "demo", "--force"),
        ("bead", "create", "demo", "Write the lexer"),
        ("tick", "demo", "--force"),
        ("bead", "create", "demo", "Write the parser"),
        ("tick", "demo", "--force"),
    ):
        assert command_line.run(["--data", str(data), *words]) == 0, words
    return data


@pytest.fixture
def reading_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The API of a deployment whose callers may only read."""
    world: World = a_world(a_town("one").bead("b1", title="Write the lexer"))
    world.post(event("town_started"), town_id="one")
    world.run(town_id="one")
    apis.deploy(a_cloud(world), monkeypatch, verbs=("read",))
    with make_server("127.0.0.1", 0, apis.application, handler_class=_Silent) as server:
        answering = threading.Thread(target=server.serve_forever, daemon=True)
        answering.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        answering.join()


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Nobody reads a line for each request."""


def test_a_restore_asks_once_and_then_restores(page: Page, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with townctl_ui(("--data", str(data)), "--write") as address:
        page.goto(address)
        page.goto(address.partition("?")[0] + "t/demo")
        expect(page.get_by_text("Write the parser").first).to_be_visible()
        page.get_by_role("link", name="Time machine").click()
        slider = page.locator("[data-slider]")
        slider.focus()
        page.keyboard.press("ArrowLeft")
        page.get_by_role("button", name="Restore to commit").click()
        page.get_by_role("button", name="restore now").click()
        expect(page.locator("#toast")).to_contain_text("Accepted")
        page.goto(address.partition("?")[0] + "t/demo")
        expect(page.get_by_text("Write the lexer").first).to_be_visible()
        expect(page.get_by_text("Write the parser")).to_have_count(0)
    capsys.readouterr()
    assert command_line.run(["--data", str(data), "bead", "list", "demo"]) == 0
    left = capsys.readouterr().out
    assert "Write the lexer" in left
    assert "Write the parser" not in left


def test_who_may_only_read_sees_the_town_and_why_no_dry_run_is_shown(page: Page, reading_api: str) -> None:
    credentials = {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "not-a-key",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with townctl_ui(("--api", reading_api), environment=credentials) as address:
        page.goto(address)
        page.get_by_role("link", name="one", exact=True).click()
        expect(page.locator("h1")).to_have_text("one")
        expect(page.get_by_text("Write the lexer").first).to_be_visible()
        expect(page.get_by_text("These credentials may not ask for a dry run.")).to_be_visible()
        page.get_by_role("link", name="Beads").first.click()
        expect(page.get_by_text("Write the lexer").first).to_be_visible()
        page.get_by_role("link", name="Time machine").click()
        expect(page.locator("#view")).not_to_be_empty()
