"""A port on which an ASGI application listens, in a thread of its own, until it is closed."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from infra.listening.connection import Connection, ListeningConfig
from infra.listening.limits import USUAL, Limits
from shared.domain.errors import Refused

_BACKLOG: Final = 512
LAST_PORT: Final = 65_535


class Door:
    """Listens from its construction on and answers from `open` on. Raises OSError or OverflowError if the port cannot be had."""

    def __init__(self, app: Any, *, host: str = "127.0.0.1", port: int = 0, limits: Limits = USUAL) -> None:
        if not 0 <= port <= LAST_PORT:
            raise OverflowError(f"a port is a number from 0 to {LAST_PORT}")
        [(family, _, _, _, at), *_] = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        self._socket = socket.create_server((str(at[0]), port), family=family, backlog=_BACKLOG)
        self.host: str = self._socket.getsockname()[0]
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(ListeningConfig(app, limits))
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name=f"door {self.port}", daemon=True
        )

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def open(self) -> None:
        """Answer requests."""
        self._thread.start()

    def close(self) -> None:
        """Accept nothing more, let requests end for a while, and close every connection. Closing twice does nothing."""
        self._server.end()
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()


@contextmanager
def opened(app: Any, *, port: int = 0, limits: Limits = USUAL) -> Iterator[Door]:
    """A door on the loopback interface that is open while the `with` block runs. Raises Refused if the port cannot be had."""
    try:
        door = Door(app, port=port, limits=limits)
    except (OSError, OverflowError) as error:
        problem = f"cannot listen on port {port}: {getattr(error, 'strerror', None) or error}"
        raise Refused(problem, status=400, path="port", hint="use another port, or 0 for a free one") from None
    door.open()
    try:
        yield door
    finally:
        door.close()


class _Server(uvicorn.Server):
    """uvicorn's server, which ends at once when it is told to, and does not wait forever for requests that do not end."""

    config: ListeningConfig

    def __init__(self, config: ListeningConfig) -> None:
        super().__init__(config)
        self._told = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Tell the server to end; it may not have begun yet."""
        self._told.set()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._ended.set)

    async def main_loop(self) -> None:
        """Wait until the server is told to end."""
        self._loop = asyncio.get_running_loop()
        if not self._told.is_set():
            await self._ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's shape
        """Close the port, then the idle connections, then, after a while, the others."""
        for server in self.servers:
            server.close()
        open_ones = [each for each in self.server_state.connections if isinstance(each, Connection)]
        for connection in open_ones:
            connection.end()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=self.config.limits.ending_seconds)
        for connection in open_ones:
            connection.hang_up()
        for task in self.server_state.tasks:
            task.cancel()
        await asyncio.sleep(0)
