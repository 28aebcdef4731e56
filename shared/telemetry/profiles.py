"""Which metrics a deployment pays for: CloudWatch charges for every series."""

from typing import Final

SMALL: Final = frozenset(
    (
        "wallClockMs",
        "invariantViolations",
        "eventsPoisoned",
        "ticksRun",
        "ReplayDivergence",
        "scheduledRuns",
        "townsFailed",
        "oldestDueMs",
    )
)
"""The series of the profile `small`: those of its alarms, and ticks. The other metrics are properties of the same lines."""
