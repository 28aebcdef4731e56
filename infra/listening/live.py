"""A port for pages that stay connected: uvicorn with websockets, on the loopback interface only, for callers that are admitted.

`door` is for servers that strangers reach. This port is for one person's browser on this machine, so it has no limits for
crowds; but it lets in only who knows its secret, as `OneBrowser` says.
"""

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qsl, urlencode

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.listening.callers import Callers
from infra.listening.door import LAST_PORT
from shared.domain.errors import Refused

_OWN_PAGES: Final = Callers(own_pages=True)
_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_USED: Final = (
    "This address opens the page once, and it has been used or is wrong.\n"
    "Go on in the browser that it opened, or start `townctl ui` again for a new address.\n"
)
_POLICY_VIOLATION: Final = 1008


class OneBrowser:
    """Lets in one browser: the first that comes with the token gets a cookie for it, and whoever has no cookie gets nothing.

    Requests of other web pages, and those for another host name, get nothing either, whatever they carry.
    """

    def __init__(self, app: ASGIApp, *, name: str) -> None:
        self._app = app
        self._cookie = f"townctl-ui-{name}"
        self._secret = secrets.token_urlsafe(32)
        self._token: str | None = secrets.token_urlsafe(24)
        self.first_token = self._token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or connect a page."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        problem = _OWN_PAGES.problem(headers, reached="")
        if problem is not None:
            await _refuse(scope, receive, send, problem)
        elif scope["type"] == "http" and (answer := self._exchanged(scope)) is not None:
            await answer(scope, receive, send)
        elif not secrets.compare_digest(self._shown(headers).encode(), self._secret.encode()):
            await _refuse(scope, receive, send, _USED)
        else:
            await self._app(scope, receive, _guarded(send) if scope["type"] == "http" else send)

    def _exchanged(self, scope: Scope) -> Response | None:
        """The answer to a request with a token: the same address without it, and the cookie if the token is the one."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        token = dict(query).get("token")
        if token is None:
            return None
        known, rest = self._token, [(name, value) for name, value in query if name != "token"]
        if known is None or not secrets.compare_digest(token.encode(), known.encode()):
            return PlainTextResponse(_USED, 403, HEADERS)
        self._token = None
        path = scope["raw_path"].decode("latin-1")
        place = f"/{path.lstrip('/')}" + (f"?{urlencode(rest)}" if rest else "")
        answer = Response(status_code=303, headers={**HEADERS, "Location": place})
        answer.set_cookie(self._cookie, self._secret, httponly=True, samesite="strict", path="/")
        return answer

    def _shown(self, headers: Mapping[str, str]) -> str:
        """The cookie of a request; empty if it has none."""
        with contextlib.suppress(CookieError):
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
            return "" if found is None else found.value
        return ""


class LivePort:
    """Listens on the loopback interface, in a thread of its own. Raises Refused if the port cannot be had."""

    def __init__(self, make: Callable[[], ASGIApp], *, port: int) -> None:
        hint = "use another port, or 0 for a free one"
        if not 0 <= port <= LAST_PORT:
            raise Refused(
                f"cannot listen on port {port}: the last one is {LAST_PORT}", status=400, path="port", hint=hint
            )
        try:
            self._socket = socket.create_server(("127.0.0.1", port), backlog=64)
        except OSError as error:
            problem = f"cannot listen on port {port}: {error.strerror or error}"
            raise Refused(problem, status=400, path="port", hint=hint) from None
        self.port: int = self._socket.getsockname()[1]
        self.browser = OneBrowser(make(), name=str(self.port))
        config = uvicorn.Config(
            self.browser,
            ws="websockets-sansio",
            lifespan="on",
            log_level="critical",
            timeout_graceful_shutdown=1,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name=f"pages {self.port}", daemon=True
        )

    @property
    def url(self) -> str:
        """The address without the token."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def first_url(self) -> str:
        """The address that opens the page in one browser, once."""
        return f"{self.url}/?token={self.browser.first_token}"

    def open(self) -> None:
        """Answer requests."""
        self._thread.start()

    def close(self) -> None:
        """Close the port and every connection."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()


@contextlib.contextmanager
def live(make: Callable[[], ASGIApp], *, port: int = 0) -> Iterator[LivePort]:
    """A port that is open while the `with` block runs. The application is made when the port is had. Raises Refused."""
    pages = LivePort(make, port=port)
    pages.open()
    try:
        yield pages
    finally:
        pages.close()


async def _refuse(scope: Scope, receive: Receive, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": why.splitlines()[0][:100]})
        return
    await PlainTextResponse(why, 403, HEADERS)(scope, receive, send)


def _guarded(send: Send) -> Send:
    """Send with the headers that keep a page to this machine."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return guarded
