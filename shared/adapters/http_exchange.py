"""One HTTP request and its whole answer, within a time and a size: the basis of every HTTP client of this package.

The time limits the whole exchange. When it is over, the socket is shut down, so a server that sends a byte now and then
cannot extend it. The bytes of an answer are counted as they arrive, and reading stops once they exceed the largest size. No
compression is requested and nothing is decompressed. Nothing is sent twice, no redirect is followed, and certificates are
verified against the system's authorities (or those of SSL_CERT_FILE).
"""

import os
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException
from threading import Event, Timer
from typing import Final, Self
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from shared.adapters.clock import Budget
from shared.domain import strict_json

_AT_ONCE: Final = 64 << 10
_SHORTEST: Final = 0.001
"""Seconds: a time-out of 0 would make a socket non-blocking."""

_TROUBLES: Final = (HTTPError, HTTPException, OSError, ValueError)


class NotConnected(Exception):
    """No connection was made, so nothing of the request was sent."""


class NoWholeAnswer(Exception):
    """The request was sent, in part or in whole, and no whole answer came back. `is_late`: time ran out."""

    def __init__(self, reason: str, *, is_late: bool = False) -> None:
        super().__init__(reason)
        self.is_late = is_late


class AnswerTooLarge(NoWholeAnswer):
    """The answer has more bytes than the caller accepts; its status is known."""

    def __init__(self, reason: str, *, status: int) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `target` is a path with its query; the peer determines the server. `repr` omits the headers, which may
    contain tokens.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> object:
        """The JSON value. Raises only ValueError, with the reason."""
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise ValueError("compressed, although no compression was asked for")
        return strict_json.foreign(self.content, limit=len(self.content))


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that opens tunnels to https servers."""

    host: str
    port: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@cache
def system_trust() -> ssl.SSLContext:
    """The system's certificate authorities. Reading them takes tens of milliseconds, so they are read once per process."""
    return ssl.create_default_context()


class HttpPeer:
    """One server and at most one connection to it, which successive requests share. Not thread-safe.

    `silence_seconds` is how long the server may send nothing; `largest` is the most bytes of an answer that are accepted.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_seconds: float,
        largest: int,
        silence_seconds: float = float("inf"),
        proxy: Proxy | None = None,
        trust: Callable[[], ssl.SSLContext] = system_trust,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address is not an http or https URL")
        self._is_https = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._is_https else 80)
        self._connect_seconds = connect_seconds
        self._silence_seconds = silence_seconds
        self._largest = largest
        self._proxy = proxy
        self._trust = trust
        self._connection: HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def exchange(self, request: HttpRequest, budget: Budget) -> HttpAnswer:
        """Send one request and read its whole answer. Raises NotConnected, NoWholeAnswer and AnswerTooLarge."""
        if not request.target.startswith("/"):
            raise ValueError("the target of a request must be a path of its server")
        connection = self._connected(budget)
        sock, is_over = connection.sock, Event()
        try:
            with _hanging_up(sock, budget.left(), is_over):
                answer = self._asked(connection, request, budget)
            if is_over.is_set():  # then the content may have ended only because the socket was shut down
                raise TimeoutError
        except AnswerTooLarge:
            self._abandon(sock)
            raise
        except _TROUBLES as error:
            self._abandon(sock)
            raise NoWholeAnswer(_why(error), is_late=is_over.is_set() or not budget.left()) from None
        return answer

    def _abandon(self, sock: socket.socket | None) -> None:
        """Close the connection now, even if an unfinished response still holds it."""
        self.close()
        if sock is not None and (descriptor := sock.detach()) >= 0:
            os.close(descriptor)

    def _asked(self, connection: HTTPConnection, request: HttpRequest, budget: Budget) -> HttpAnswer:
        connection.timeout = max(_SHORTEST, budget.left(at_most=self._silence_seconds))
        connection.request(
            request.method, request.target, body=request.content, headers=request.headers, preload_content=False
        )
        response = connection.getresponse()
        content = bytearray()
        while part := response.read1(_AT_ONCE, decode_content=False):
            content += part
            if len(content) > self._largest:
                raise AnswerTooLarge(f"the answer is larger than {_in_words(self._largest)}", status=response.status)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpAnswer(response.status, headers, bytes(content))

    def _connected(self, budget: Budget) -> HTTPConnection:
        """The connection of the previous request, unless the server has closed it; else a new one."""
        if self._connection is not None and self._connection.is_connected:
            return self._connection
        self.close()
        seconds = budget.left(at_most=self._connect_seconds)
        if not seconds:
            raise NotConnected("no time was left to connect")
        try:
            self._connection = self._new_connection(seconds)
            self._connection.connect()
        except _TROUBLES as error:
            self.close()
            raise NotConnected(_why(error)) from None
        return self._connection

    def _new_connection(self, seconds: float) -> HTTPConnection:
        if not self._is_https:
            return HTTPConnection(self._host, self._port, timeout=seconds)
        if self._proxy is None:
            return HTTPSConnection(self._host, self._port, timeout=seconds, ssl_context=self._trust())
        connection = HTTPSConnection(self._proxy.host, self._proxy.port, timeout=seconds, ssl_context=self._trust())
        connection.set_tunnel(self._host, self._port, headers=self._proxy.headers, scheme="http")
        return connection


@contextmanager
def _hanging_up(sock: socket.socket | None, seconds: float, is_over: Event) -> Iterator[None]:
    """Shut the socket down when the time is over, which wakes the thread that reads from it, and set `is_over`.

    This takes the socket and not the connection: a connection drops its socket once a header says that the server will
    close it, before the content is read. On exit the timer has ended, so the socket may be closed.
    """

    def hang_up() -> None:
        is_over.set()
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # without the TLS layer, which another thread uses

    timer = Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _in_words(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size} bytes"


def _why(error: Exception) -> str:
    """The reason of a failure, without addresses or headers, which may contain secrets."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
