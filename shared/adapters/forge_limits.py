"""The rate limits of tokens, as forges report them: when each token may be used again.

Nothing waits here. A call that comes too early is answered at once with the time at which it may be made, and a later
tick makes it. A limit applies to one token and one host and is kept in memory; a new process learns it from the answer to
its first request.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Final

from shared.ports.clock import Clock
from shared.ports.secrets import Secret

SECONDARY_LIMIT: Final = timedelta(minutes=1)
"""The pause after a forge says "slow down" without saying for how long."""

_LONGEST: Final = timedelta(days=1)


class ForgeLimits:
    """The limits of all tokens that this process has used."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, datetime] = {}
        self._lock = Lock()

    def until(self, host: str, token: Secret) -> datetime | None:
        """When the token may be used again; None if it may be used now."""
        with self._lock:
            until = self._until.get(_key(host, token))
        return until if until is not None and until > self._clock.now() else None

    def note(self, host: str, token: Secret, until: datetime) -> None:
        """Do not use the token before that time."""
        with self._lock:
            known = self._until.get(_key(host, token))
            self._until[_key(host, token)] = until if known is None else max(known, until)

    def end_of(self, headers: Mapping[str, str]) -> datetime | None:
        """When the limit that an answer reports ends; None if it does not say. Header names are in lower case."""
        return self.retry_after(headers) or (self.reset(headers) if self.used_up(headers) else None)

    def retry_after(self, headers: Mapping[str, str]) -> datetime | None:
        """The time in the Retry-After header, which contains seconds or a date."""
        text = headers.get("retry-after", "").strip()
        now = self._clock.now()
        if text.isascii() and text.isdigit() and len(text) < 9:
            return min(now + timedelta(seconds=int(text)), now + _LONGEST)
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        return min(max(at if at.tzinfo else at.replace(tzinfo=UTC), now), now + _LONGEST)

    def reset(self, headers: Mapping[str, str]) -> datetime | None:
        """When the rate limit is reset, according to the answer."""
        text = (headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset") or "").split(".")[0]
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            return None
        now = self._clock.now()
        return min(max(datetime.fromtimestamp(int(text), UTC), now), now + _LONGEST)

    @staticmethod
    def used_up(headers: Mapping[str, str]) -> bool:
        """Whether the answer says that no request is left."""
        return (headers.get("x-ratelimit-remaining") or headers.get("ratelimit-remaining") or "").strip() == "0"

    def slowed_down(self) -> datetime:
        """When to ask again if the forge does not say."""
        return self._clock.now() + SECONDARY_LIMIT


def _key(host: str, token: Secret) -> str:
    return f"{host} {hashlib.sha256(token.reveal().encode()).hexdigest()}"
