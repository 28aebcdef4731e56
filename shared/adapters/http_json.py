"""One JSON call over HTTP, told apart by what the other side may have seen.

`NotSent` is safe to take for a no: no byte of the request left. `NoAnswer` is not: the request may have been carried out.
The time of a call is a budget for all of it; a server that sends a byte now and then cannot stretch it. Nothing is
repeated and no redirect is followed; a connection serves one call, so that none is found closed under the next one.
"""

import json
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from shared.adapters.clock import Budget

_CONNECT_SECONDS: Final = 3.0
_LARGEST_ANSWER: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Answered:
    """The other side answered; `body` is empty where it sent no JSON object."""

    status: int
    body: Mapping[str, Any]
    is_json: bool = True

    @property
    def ok(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300

    @property
    def may_pass(self) -> bool:
        """Whether the same call may get another answer later."""
        return self.status >= 500 or self.status in (408, 425, 429)

    @property
    def said(self) -> str:
        """The answer in words, for people."""
        words = next((self.body[key] for key in ("error", "reason", "detail", "title") if self.body.get(key)), "")
        return f"HTTP {self.status}: {str(words)[:500]}" if words else f"HTTP {self.status}"


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nobody was there: nothing of the request was sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The request went out, in part or whole, and no answer came back in time."""

    reason: str


def call(
    method: str, url: str, *, body: Mapping[str, Any] | None = None, headers: Mapping[str, str], seconds: float
) -> Answered | NotSent | NoAnswer:
    """Make one call within so many real seconds."""
    budget = Budget(seconds)
    try:
        connection = _connection(url, seconds=min(_CONNECT_SECONDS, seconds))
        connection.connect()
    except (HTTPError, OSError, ValueError) as error:
        return NotSent(_why(error))
    sent = {"Connection": "close", "Accept": "application/json", **headers}
    content = None
    if body is not None:
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        sent["Content-Type"] = "application/json"
    alarm = threading.Timer(budget.left(), _hang_up, args=(connection,))
    alarm.daemon = True
    alarm.start()
    try:
        if connection.sock is not None:
            connection.sock.settimeout(max(0.001, budget.left()))
        connection.request(method, _target(url), body=content, headers=sent, preload_content=False)
        response = connection.getresponse()
        answer = response.read(_LARGEST_ANSWER, decode_content=False)
        return _answered(response.status, answer)
    except (HTTPError, HTTPException, OSError, ValueError) as error:
        late = budget.left() == 0
        return NoAnswer(f"no answer in {seconds:g} s" if late else f"the connection was lost ({_why(error)})")
    finally:
        alarm.cancel()
        connection.close()


def _connection(url: str, *, seconds: float) -> HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the address is no http or https URL")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    return kind(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80), timeout=seconds)


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _hang_up(connection: HTTPConnection) -> None:
    """The time is over: whoever waits on the socket is woken."""
    sock = connection.sock
    if sock is None:
        return
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _answered(status: int, content: bytes) -> Answered:
    try:
        value = json.loads(content)
    except ValueError:
        return Answered(status, {}, is_json=False)
    return Answered(status, value) if isinstance(value, dict) else Answered(status, {}, is_json=False)


def _why(error: Exception) -> str:
    """What went wrong, without an address: it may hold what nobody should read."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
