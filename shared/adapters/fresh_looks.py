"""The newest look at each pull request, kept for seconds: a merge that follows a look at once needs no second one."""

import hashlib
import time
from threading import Lock
from typing import Final, Generic, TypeVar

from shared.adapters.forge_hosts import Target
from shared.ports.secrets import Secret

AT_MOST: Final = 1000
FRESH_FOR: Final = 5.0
"""The seconds in which a merge may rest on the look before it. The head is compared by the forge itself."""

_T = TypeVar("_T")


class FreshLooks(Generic[_T]):
    """Looks by pull request and token. Each is used once."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, int, str], tuple[float, _T]] = {}
        self._lock = Lock()

    def keep(self, target: Target, token: Secret, look: _T) -> None:
        """A look that was made now."""
        with self._lock:
            if len(self._kept) >= AT_MOST:
                self._kept.clear()
            self._kept[_key(target, token)] = (time.monotonic(), look)

    def taken(self, target: Target, token: Secret) -> _T | None:
        """The look of the last seconds; None if there is none, or it was taken before."""
        with self._lock:
            kept = self._kept.pop(_key(target, token), None)
        return kept[1] if kept is not None and time.monotonic() - kept[0] < FRESH_FOR else None


def _key(target: Target, token: Secret) -> tuple[str, str, int, str]:
    return target.at.host, target.project, target.number, hashlib.sha256(token.reveal().encode()).hexdigest()
