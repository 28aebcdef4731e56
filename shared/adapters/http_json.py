"""One JSON call over HTTP, whose result says what the server may have received.

After `NotSent` the call was certainly not carried out: no byte of it was sent. After `NoAnswer` it may have been. The time of
a call limits the whole call; a server that sends a byte now and then cannot extend it. Nothing is sent twice and no redirect
is followed. Each call has its own connection, so no call fails because the server has closed an old one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from shared.adapters.clock import Budget
from shared.adapters.http_exchange import AnswerTooLarge, HttpAnswer, HttpPeer, HttpRequest, NotConnected, NoWholeAnswer

_CONNECT_SECONDS: Final = 3.0
_LARGEST_ANSWER: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Answered:
    """The server answered; `body` is empty if it sent no JSON object."""

    status: int
    body: Mapping[str, Any]
    is_json: bool = True

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def may_pass(self) -> bool:
        """Whether the same call may get another answer later."""
        return self.status >= 500 or self.status in (408, 425, 429)

    @property
    def said(self) -> str:
        """The status and message of the answer, for people."""
        words = next((self.body[key] for key in ("error", "reason", "detail", "title") if self.body.get(key)), "")
        return f"HTTP {self.status}: {str(words)[:500]}" if words else f"HTTP {self.status}"


@dataclass(frozen=True, slots=True)
class NotSent:
    """There was no connection: nothing of the request was sent."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The request was sent, in part or in whole, and no answer came back in time."""

    reason: str


def call(
    method: str,
    url: str,
    *,
    body: Mapping[str, object] | None = None,
    text: bytes | None = None,
    headers: Mapping[str, str],
    seconds: float,
) -> Answered | NotSent | NoAnswer:
    """Make one call within `seconds` real seconds, with a JSON object as its body, or with plain text in UTF-8."""
    budget = Budget(seconds)
    sent = {"Connection": "close", "Accept": "application/json", **headers}
    content = text
    if text is not None:
        sent["Content-Type"] = "text/plain; charset=utf-8"
    if body is not None:
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        sent["Content-Type"] = "application/json"
    try:
        peer = HttpPeer(url, connect_seconds=_CONNECT_SECONDS, largest=_LARGEST_ANSWER)
    except ValueError as error:
        return NotSent(type(error).__name__)
    try:
        with peer:
            return _answered(peer.exchange(HttpRequest(method, _target(url), sent, content), budget))
    except NotConnected as error:
        return NotSent(str(error))
    except AnswerTooLarge as error:
        return Answered(error.status, {}, is_json=False)
    except NoWholeAnswer as error:
        return NoAnswer(f"no answer in {seconds:g} s" if error.is_late else f"the connection was lost ({error})")


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _answered(answer: HttpAnswer) -> Answered:
    try:
        value = answer.json()
    except ValueError:
        return Answered(answer.status, {}, is_json=False)
    return Answered(answer.status, value) if isinstance(value, dict) else Answered(answer.status, {}, is_json=False)
