"""The alarms of the fleet that one town alone can raise, and their state in a town's status."""

from collections.abc import Mapping
from typing import Final, Literal

from shared.domain.shapes import answer
from shared.images.pages import LARGE_IMAGE

TownAlarm = Literal[
    "invariant-violated", "events-pile-up", "event-waits-long", "event-poisoned", "breaker-open", "image-large"
]

THRESHOLDS: Final[Mapping[TownAlarm, int]] = {
    "invariant-violated": 0,
    "events-pile-up": 50,
    "event-waits-long": 300_000,
    "event-poisoned": 0,
    "breaker-open": 0,
    "image-large": LARGE_IMAGE,
}
"""An alarm is raised above this value, in the unit of its metric. The alarms of CloudWatch and Grafana use the same values."""

_METRICS: Final[Mapping[TownAlarm, str]] = {
    "invariant-violated": "invariantViolations",
    "events-pile-up": "pendingEventCount",
    "event-waits-long": "oldestPendingEventMs",
    "event-poisoned": "eventsPoisoned",
    "breaker-open": "circuitBreakerOpen",
    "image-large": "imageBytes",
}


@answer
class AlarmState:
    """One of the fleet's alarms, evaluated for this town alone; raised if the value is above the threshold."""

    alarm: TownAlarm
    metric: str
    value: int
    threshold: int
    raised: bool


def judged(values: Mapping[TownAlarm, int]) -> tuple[AlarmState, ...]:
    """The state of each alarm, from the value of its metric."""
    return tuple(
        AlarmState(alarm, _METRICS[alarm], values[alarm], threshold, values[alarm] > threshold)
        for alarm, threshold in THRESHOLDS.items()
    )
