"""What a server grants to callers that it does not know."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in real seconds.

    - `body` is the most of one request, `held` the most of all requests that are being read or answered.
    - `head` is the most of a request line and its headers together, `headers` the most headers.
    - `connections` may be open. One more closes the one that has been idle for longest, so idle ones keep nobody out.
    - `at_once` requests are answered at the same time. One more waits for `turn_seconds` at most and is then answered with 503.
    - `head_seconds` is the time in which a request's head must arrive, since the connection was opened or the last answer was
      sent; `body_seconds` the time for its body; `idle_seconds` the time that an idle connection stays open after an answer.
    - `ending_seconds` is the time that requests have to end when the server is closed.
    """

    body: int = 1 << 20
    held: int = 32 << 20
    head: int = 16 << 10
    headers: int = 100
    connections: int = 256
    at_once: int = 64
    turn_seconds: float = 10.0
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: int = 5
    ending_seconds: float = 2.0


USUAL: Final = Limits()
"""For a server of small requests."""
