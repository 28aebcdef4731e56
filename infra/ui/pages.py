"""The site in a browser, with NiceGUI: it sends the first page whole, and merges each later one into what is there.

The markup comes from `site`. NiceGUI carries it: its websocket brings what the browser asks for, and what is new.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Hashable
from importlib import resources
from typing import Any, Final

from fastapi import FastAPI, Request
from nicegui import Client, app, ui
from nicegui.events import GenericEventArguments
from starlette.types import ASGIApp

from infra.ui.acts import Acts
from infra.ui.address import Address, address_of
from infra.ui.markup import Html
from infra.ui.site import Site
from shared.domain.errors import TownError

REFRESH_SECONDS: Final = 2.0
ANYWAY_SECONDS: Final = 15.0
"""A page is made anew after this time even if no tick was committed: waits end by time too."""
_log = logging.getLogger(__name__)


class Viewer:
    """One page in a browser: where it is, and what it was sent last."""

    def __init__(self, site: Site, acts: Acts, client: Client, address: Address) -> None:
        self._site = site
        self._acts = acts
        self._client = client
        self._address = address
        self._stamp: Hashable = None
        self._sent_at = 0.0
        self._turn = asyncio.Lock()

    async def go(self, event: GenericEventArguments) -> None:
        """Show another address."""
        asked = _fields(event)
        self._address = address_of(str(asked.get("to", "/")))
        how = "replace" if asked.get("how") == "replace" else "push"
        await self._show(how)
        if how == "push":
            await self.tell_places()

    def stay(self, event: GenericEventArguments) -> None:
        """Only the filter changed, which the browser has applied itself."""
        self._address = address_of(str(_fields(event).get("to", "/")))

    async def act(self, event: GenericEventArguments) -> None:
        """Do what a button or a form asks for."""
        asked = _fields(event)
        said = await asyncio.to_thread(self._acts.done, self._address, asked)
        if said.to is not None:
            self._address = said.to
        await self._show("push" if said.pushes else "replace")
        if said.beside:
            self._run(f"townPage.beside({json.dumps(said.beside)},{json.dumps(said.text)})")
        elif said.text:
            self._run(f"townPage.toast({json.dumps(said.text)})")
        if said.reveal:
            self._run(f"townPage.reveal({json.dumps(said.reveal)})")

    async def refresh(self) -> None:
        """Show what is new. While a page is being made, or if it shows the past, nothing is asked for."""
        if self._turn.locked():
            return
        if self._address.at is not None:
            self._run("townPage.heard()")
            return
        try:
            stamp = await asyncio.to_thread(self._site.stamp, self._address)
        except (TownError, OSError):
            _log.debug("the place did not answer", exc_info=True)  # the page turns stale and says since when
            return
        now = asyncio.get_running_loop().time()
        if stamp == self._stamp and now - self._sent_at < ANYWAY_SECONDS:
            self._run("townPage.heard()")
            return
        await self._show("refresh")
        self._stamp = stamp

    async def tell_places(self) -> None:
        """Tell the finder what there is."""
        try:
            found = await asyncio.to_thread(self._site.places, self._address)
        except (TownError, OSError):
            found = []  # the page itself says what is wrong
        self._run(f"townPage.places({json.dumps(found)})")

    async def _show(self, how: str) -> None:
        async with self._turn:
            address = self._address
            markup = await asyncio.to_thread(self._site.page, address)
            self._sent_at = asyncio.get_running_loop().time()
            self._run(f"townPage.show({json.dumps(markup)},{json.dumps(address.href)},{json.dumps(how)})")

    def _run(self, code: str) -> None:
        self._client.run_javascript(code)


def served(site: Site, acts: Acts) -> ASGIApp:
    """The site as an ASGI application. NiceGUI keeps one for a process, so it can be made once."""
    outer = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @ui.page("/", response_timeout=60)
    @ui.page("/t/{path:path}", response_timeout=60)
    async def shown(request: Request, client: Client) -> None:
        query = f"?{request.url.query}" if request.url.query else ""
        address = address_of(request.url.path + query)
        markup = await asyncio.to_thread(site.page, address)
        _put(markup)
        viewer = Viewer(site, acts, client, address)
        ui.on("go", viewer.go)
        ui.on("address", viewer.stay)
        ui.on("act", viewer.act)
        ui.timer(REFRESH_SECONDS, viewer.refresh)
        ui.timer(0.1, viewer.tell_places, once=True)

    ui.run_with(
        outer,
        title="Town",
        language="en-US",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=30,
        storage_secret=secrets.token_urlsafe(16),
        favicon=_ICON,
    )
    app.on_exception(_tell)
    return outer


def _put(markup: Html) -> None:
    """Put the whole page into the first answer, so that the browser paints it before any script runs."""
    ui.add_head_html(f"<style>{_asset('page.css')}</style><script>{_asset('theme.js')}</script>")
    ui.add_body_html(_asset("sprite.svg") + markup + f"<script>{_asset('page.js')}</script>")


def _tell(error: Exception) -> None:
    _log.error("a page failed", exc_info=error)


def _fields(event: GenericEventArguments) -> dict[str, Any]:
    """What the browser sent with an event."""
    given = event.args
    if isinstance(given, list) and given:
        given = given[0]
    return given if isinstance(given, dict) else {}


def _asset(name: str) -> str:
    return (resources.files("infra.ui") / "assets" / name).read_text(encoding="utf-8")


_ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M2 14V7l3.5-2.5L9 7v7zM9 14V4l2.5-1.8L14 4v10z" '
    'fill="none" stroke="#1F5FD6" stroke-width="1.4"/></svg>'
)
