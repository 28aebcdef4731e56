"""The alerts port: where the alerts of a committed tick are sent."""

from collections.abc import Sequence
from typing import Protocol

from shared.domain.alert import Alert


class Alerts(Protocol):
    """Receives alerts that a person must see.

    Delivery is best effort. An adapter that cannot deliver an alert drops it; the cause stays visible in the town's
    status. An alert may be sent more than once: `Alert.fingerprint` groups repeats.
    """

    def raise_all(self, alerts: Sequence[Alert]) -> None:
        """Send the alerts of one tick, in order.

        Raises nothing and returns within milliseconds: a slow call would delay the next town.
        """
        ...
