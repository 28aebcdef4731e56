"""Every metric that there is, with what it means, how it is read, and when it wakes somebody.

Metrics (EMF), alarms, both dashboards and the table in the runbook are made from this list; nothing is named twice.
Values are counted per fleet: dimensions are `service` and `stage`, and for one metric the type of an action. A town's id
is a property of the same log line and never a dimension, because every value of a dimension is a bill of its own.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

NAMESPACE: Final = "TownReconciler"
SERVICE: Final = "town-reconciler"
ACTION_TYPE: Final = "actionType"


class Unit(StrEnum):
    """Units as CloudWatch names them."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    BYTES = "Bytes"


class Statistic(StrEnum):
    """How the values of a period become one, as CloudWatch names it."""

    SUM = "Sum"
    MAXIMUM = "Maximum"
    AVERAGE = "Average"
    P99 = "p99"


@dataclass(frozen=True, slots=True)
class Alarm:
    """When somebody is told: `points` of the last `periods` minutes beyond the threshold. `name` is its runbook page too."""

    name: str
    statistic: Statistic
    threshold: float
    says: str
    points: int = 1
    periods: int = 1
    below: bool = False
    missing: Literal["notBreaching", "breaching", "ignore"] = "notBreaching"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `source`: a tick of a town, the scheduled minute, the events API, or an hour of retention.

    `idle_zero` says when a scheduled minute adds a zero: always, where a zero is true beside any other value; or only if
    no town was due, where it would drag down a mean of real ticks.
    """

    name: str
    unit: Unit
    statistic: Statistic
    meaning: str
    source: Literal["tick", "minute", "events", "retention"] = "tick"
    idle_zero: Literal["always", "when idle"] = "always"
    alarms: tuple[Alarm, ...] = ()


METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        "wallClockMs",
        Unit.MILLISECONDS,
        Statistic.AVERAGE,
        "How long a tick took, from its fixed input to the answer of its commit.",
        idle_zero="when idle",
        alarms=(
            Alarm("tick-slow-p99", Statistic.P99, 500, "the slowest ticks take more than 500 ms", 3, 5),
            Alarm("tick-slow-mean", Statistic.AVERAGE, 500, "ticks take more than 500 ms on average", 3, 5),
        ),
    ),
    Metric("eventsDrained", Unit.COUNT, Statistic.SUM, "Events that ticks processed, whatever the outcome."),
    Metric("actionsEmitted", Unit.COUNT, Statistic.SUM, "Actions that events and rules asked for."),
    Metric("sideEffectsAttempted", Unit.COUNT, Statistic.SUM, "Calls to the outside that were made."),
    Metric("sideEffectsSucceeded", Unit.COUNT, Statistic.SUM, "Calls to the outside that went well."),
    Metric(
        "sideEffectsFailed",
        Unit.COUNT,
        Statistic.SUM,
        "Calls to the outside that were rejected, timed out or failed.",
        alarms=(Alarm("effects-fail", Statistic.SUM, 10, "more than ten calls to the outside fail a minute", 3, 5),),
    ),
    Metric(
        "invariantViolations",
        Unit.COUNT,
        Statistic.MAXIMUM,
        "Broken invariants that are open in a town; the worst town of the period.",
        alarms=(Alarm("invariant-violated", Statistic.MAXIMUM, 0, "a town is in a state that must never be"),),
    ),
    Metric(
        "pendingEventCount",
        Unit.COUNT,
        Statistic.MAXIMUM,
        "Events that still wait after a tick; the worst town of the period.",
        alarms=(Alarm("events-pile-up", Statistic.MAXIMUM, 50, "more than 50 events of a town wait", 3, 5),),
    ),
    Metric(
        "oldestPendingEventMs",
        Unit.MILLISECONDS,
        Statistic.MAXIMUM,
        "How long the oldest event that still waits after a tick has waited; the worst town of the period.",
        alarms=(
            Alarm("event-waits-long", Statistic.MAXIMUM, 300_000, "an event has waited for over five minutes", 2, 3),
        ),
    ),
    Metric(
        "eventsPoisoned",
        Unit.COUNT,
        Statistic.SUM,
        "Events that failed for good and were set aside.",
        alarms=(Alarm("event-poisoned", Statistic.SUM, 0, "an event failed for good"),),
    ),
    Metric("actionsSkipped", Unit.COUNT, Statistic.SUM, "Actions whose precondition no longer held."),
    Metric(
        "saveConflicts",
        Unit.COUNT,
        Statistic.SUM,
        "Ticks that were discarded because another worker committed first.",
        alarms=(Alarm("save-conflicts", Statistic.SUM, 10, "workers keep running into one another", 3, 5),),
    ),
    Metric(
        "tickLagMs",
        Unit.MILLISECONDS,
        Statistic.MAXIMUM,
        "Between the moment when a tick was wanted and its start.",
        idle_zero="when idle",
    ),
    Metric(
        "circuitBreakerOpen",
        Unit.COUNT,
        Statistic.MAXIMUM,
        "1 while some town's dispatch breaker is open.",
        alarms=(Alarm("breaker-open", Statistic.MAXIMUM, 0, "a town has stopped dispatching agents", 1, 30),),
    ),
    Metric("ticksRun", Unit.COUNT, Statistic.SUM, "Ticks that ran to their end, quiet ones included."),
    Metric("ticksQuiet", Unit.COUNT, Statistic.SUM, "Ticks that found nothing to commit."),
    Metric("ticksCheckedAgain", Unit.COUNT, Statistic.SUM, "Ticks that the self-check ran again from their record."),
    Metric(
        "ReplayDivergence",
        Unit.COUNT,
        Statistic.SUM,
        "Ticks that came to something else when they ran again.",
        alarms=(Alarm("replay-diverged", Statistic.SUM, 0, "a tick comes to something else when it runs again"),),
    ),
    Metric("sideEffectsNotStarted", Unit.COUNT, Statistic.SUM, "Calls that came too late; a later tick takes them up."),
    Metric("imageBytes", Unit.BYTES, Statistic.MAXIMUM, "Size of the largest town that was ticked."),
    Metric(
        "scheduledRuns",
        Unit.COUNT,
        Statistic.SUM,
        "Scheduled minutes that the dispatcher worked in.",
        source="minute",
        alarms=(
            Alarm(
                "tick-missed",
                Statistic.SUM,
                1,
                "the schedule does not reach the dispatcher",
                3,
                5,
                below=True,
                missing="breaching",
            ),
        ),
    ),
    Metric(
        "scheduledRunsLate",
        Unit.COUNT,
        Statistic.SUM,
        "Invocations that came a minute late and did nothing.",
        source="minute",
    ),
    Metric("dispatchPasses", Unit.COUNT, Statistic.SUM, "Looks at the due markers.", source="minute"),
    Metric("townsDue", Unit.COUNT, Statistic.SUM, "Due towns that passes found.", source="minute"),
    Metric("townsHandedOver", Unit.COUNT, Statistic.SUM, "Due towns that went to the queue.", source="minute"),
    Metric("townsLeft", Unit.COUNT, Statistic.SUM, "Due towns that were left to the next minute.", source="minute"),
    Metric(
        "townsFailed",
        Unit.COUNT,
        Statistic.SUM,
        "Runs of a town that ended with an error.",
        source="minute",
        alarms=(Alarm("town-fails", Statistic.SUM, 0, "a town cannot be ticked", 3, 5),),
    ),
    Metric(
        "oldestDueMs",
        Unit.MILLISECONDS,
        Statistic.MAXIMUM,
        "How long the due town that waits longest has waited for a look.",
        source="minute",
        alarms=(
            Alarm("town-waits-long", Statistic.MAXIMUM, 180_000, "a due town was not ticked for three minutes", 3, 5),
        ),
    ),
    Metric(
        "markersRestored",
        Unit.COUNT,
        Statistic.SUM,
        "Lost due markers that the hourly sweep wrote again.",
        source="minute",
    ),
    Metric("eventsAccepted", Unit.COUNT, Statistic.SUM, "Events that the API made durable.", source="events"),
    Metric("eventsRefused", Unit.COUNT, Statistic.SUM, "Requests with events that the API refused.", source="events"),
    Metric(
        "townsTidied",
        Unit.COUNT,
        Statistic.SUM,
        "Towns of which everything was deleted that no restore point needs any more.",
        source="retention",
    ),
    Metric(
        "townsNotTidied",
        Unit.COUNT,
        Statistic.SUM,
        "Towns that retention could not tidy, or for which it had no time left.",
        source="retention",
        alarms=(Alarm("retention-fails", Statistic.SUM, 0, "what towns no longer need is not deleted"),),
    ),
    Metric("objectsForgotten", Unit.COUNT, Statistic.SUM, "Objects that retention deleted.", source="retention"),
    Metric("bytesForgotten", Unit.BYTES, Statistic.SUM, "Bytes that retention deleted.", source="retention"),
)
"""Every metric, in the order of the documentation."""

BY_NAME: Final[dict[str, Metric]] = {metric.name: metric for metric in METRICS}

ACTIONS_BY_TYPE: Final = Metric(
    "actionsByType", Unit.COUNT, Statistic.SUM, "As actionsEmitted, by the type of the action, which is a dimension."
)
"""On a line of its own per type, because a line of EMF has one value for each dimension."""
