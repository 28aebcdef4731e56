"""A streamed answer: frame by frame, slowly if the script says so, and broken off in the middle if it says that."""

import asyncio
from collections.abc import Sequence
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from infra.listening.connection import CONNECTION, Connection

_HEADERS: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}


class Stream(Response):
    """Sends `frames` with a pause before each. If it `breaks`, the connection is closed after the first half."""

    def __init__(self, frames: Sequence[bytes], pause_seconds: float = 0.0, *, breaks: bool = False) -> None:
        super().__init__(None, 200, _HEADERS)
        self._frames = frames[: (len(frames) + 1) // 2] if breaks else frames
        self._pause_seconds = pause_seconds
        self._breaks = breaks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - a response's shape
        """Send the frames, unless the caller goes."""
        connection: Connection = scope["state"][CONNECTION]
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for frame in self._frames:
            await asyncio.sleep(self._pause_seconds)
            if connection.is_closing:
                return
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        if not self._breaks:  # uvicorn closes a connection whose answer is not complete
            await send({"type": "http.response.body", "body": b"", "more_body": False})
