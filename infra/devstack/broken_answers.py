"""Answers that no honest server gives: none at all, a part, or one that never ends. Servers of tests and of the demo give them."""

import asyncio
import threading
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from infra.listening.connection import CONNECTION, Connection

_DRIP_SECONDS = 0.02


class HangUp(Response):
    """No answer: the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - a response's shape
        """Close the connection."""
        _connection(scope).hang_up()


class CutShort(Response):
    """The head of an answer with `length` bytes, and then only `content`: the connection is closed."""

    def __init__(self, content: bytes, status: int, headers: Mapping[str, str], *, length: int) -> None:
        super().__init__(content, status, {**headers, "Content-Length": str(length)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - a response's shape
        """Send the part. uvicorn closes a connection whose answer is not complete."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})


class Drips(Response):
    """An answer of single spaces, until `ended` is set; then its content."""

    def __init__(self, content: bytes, status: int, headers: Mapping[str, str], *, ended: threading.Event) -> None:
        super().__init__(content, status, headers)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - a response's shape
        """Send a space now and then."""
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        while not self._ended.is_set() and not _connection(scope).is_closing:
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(_DRIP_SECONDS)
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def _connection(scope: Scope) -> Connection:
    connection: Connection = scope["state"][CONNECTION]
    return connection
