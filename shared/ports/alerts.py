"""The alerts port: where alerts go after a commit."""

from collections.abc import Sequence
from typing import Protocol

from shared.domain.alert import Alert


class Alerts(Protocol):
    """Where alerts go after the commit; never raises, never delays a tick noticeably."""

    def raise_all(self, alerts: Sequence[Alert]) -> None:
        """Hand over the alerts of one tick."""
        ...
