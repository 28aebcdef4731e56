"""Every metric: its meaning, its usual statistic, and its alarms.

The metrics (EMF), the alarms, both dashboards and the table in the runbook are generated from this list. Metrics describe the
whole fleet: the dimensions are `service` and `stage` and, for one metric, the type of an action. A town's id is a property of
the log line and never a dimension, because CloudWatch charges for every value of a dimension.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from shared.questions.alarms import THRESHOLDS

NAMESPACE: Final = "TownReconciler"
SERVICE: Final = "town-reconciler"
ACTION_TYPE: Final = "actionType"


class Unit(StrEnum):
    """Units, as CloudWatch names them."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    BYTES = "Bytes"


class Statistic(StrEnum):
    """How the values of a period are combined into one, as CloudWatch names it."""

    SUM = "Sum"
    MAXIMUM = "Maximum"
    AVERAGE = "Average"
    P99 = "p99"


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm: raised if the value is beyond the threshold in `points` of the last `periods` minutes.

    `name` is also the name of its runbook page.
    """

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
    """One metric. `source`: a tick of a town, a scheduled minute, the events API, an hour of retention, or a shadow.

    `idle_zero` says when a scheduled minute adds a zero: always, if a zero is correct beside any other value; or only when no
    town was due, if a zero would lower the mean of real ticks.
    """

    name: str
    unit: Unit
    statistic: Statistic
    meaning: str
    source: Literal["tick", "minute", "events", "retention", "shadow"] = "tick"
    idle_zero: Literal["always", "when idle"] = "always"
    alarms: tuple[Alarm, ...] = ()


METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        "wallClockMs",
        Unit.MILLISECONDS,
        Statistic.AVERAGE,
        "Duration of a tick, from the moment its input is fixed to the answer of its commit.",
        idle_zero="when idle",
        alarms=(
            Alarm("tick-slow-p99", Statistic.P99, 500, "the slowest ticks take more than 500 ms", 3, 5),
            Alarm("tick-slow-mean", Statistic.AVERAGE, 500, "ticks take more than 500 ms on average", 3, 5),
        ),
    ),
    Metric("eventsDrained", Unit.COUNT, Statistic.SUM, "Events that ticks processed, whatever their outcome."),
    Metric("actionsEmitted", Unit.COUNT, Statistic.SUM, "Actions that events and rules requested."),
    Metric(
        "sideEffectsAttempted", Unit.COUNT, Statistic.SUM, "Effects that were started: calls to runtimes and forges."
    ),
    Metric("sideEffectsSucceeded", Unit.COUNT, Statistic.SUM, "Effects that succeeded."),
    Metric(
        "sideEffectsFailed",
        Unit.COUNT,
        Statistic.SUM,
        "Effects that were rejected, timed out or failed.",
        alarms=(Alarm("effects-fail", Statistic.SUM, 10, "more than ten effects fail in a minute", 3, 5),),
    ),
    Metric(
        "invariantViolations",
        Unit.COUNT,
        Statistic.MAXIMUM,
        "Open invariant violations of a town; the town with the most in the period. A minute adds 1 while any town has one.",
        alarms=(
            Alarm(
                "invariant-violated",
                Statistic.MAXIMUM,
                THRESHOLDS["invariant-violated"],
                "a town is in a state that must never occur",
            ),
        ),
    ),
    Metric(
        "pendingEventCount",
        Unit.COUNT,
        Statistic.MAXIMUM,
        "Events of a town that still wait after a tick; the town with the most in the period.",
        alarms=(
            Alarm(
                "events-pile-up",
                Statistic.MAXIMUM,
                THRESHOLDS["events-pile-up"],
                "more than 50 events of a town are waiting",
                3,
                5,
            ),
        ),
    ),
    Metric(
        "oldestPendingEventMs",
        Unit.MILLISECONDS,
        Statistic.MAXIMUM,
        "Age of the oldest event that still waits after a tick; the town with the oldest in the period.",
        alarms=(
            Alarm(
                "event-waits-long",
                Statistic.MAXIMUM,
                THRESHOLDS["event-waits-long"],
                "an event has been waiting for more than five minutes",
                2,
                3,
            ),
        ),
    ),
    Metric(
        "eventsPoisoned",
        Unit.COUNT,
        Statistic.SUM,
        "Events that were poisoned: they failed permanently and were set aside.",
        alarms=(Alarm("event-poisoned", Statistic.SUM, THRESHOLDS["event-poisoned"], "an event failed permanently"),),
    ),
    Metric(
        "mergesUnproven",
        Unit.COUNT,
        Statistic.SUM,
        "Merges that were accepted on a refinery's word, because nothing is configured that could look.",
    ),
    Metric("actionsSkipped", Unit.COUNT, Statistic.SUM, "Actions whose precondition no longer held."),
    Metric(
        "saveConflicts",
        Unit.COUNT,
        Statistic.SUM,
        "Ticks that were discarded because another worker committed first.",
        alarms=(
            Alarm(
                "save-conflicts",
                Statistic.SUM,
                10,
                "workers often discard ticks because another worker committed first",
                3,
                5,
            ),
        ),
    ),
    Metric(
        "tickLagMs",
        Unit.MILLISECONDS,
        Statistic.MAXIMUM,
        "Time from when a tick was due to its start.",
        idle_zero="when idle",
    ),
    Metric(
        "circuitBreakerOpen",
        Unit.COUNT,
        Statistic.MAXIMUM,
        "1 while the dispatch breaker of any town is open.",
        alarms=(
            Alarm(
                "breaker-open",
                Statistic.MAXIMUM,
                THRESHOLDS["breaker-open"],
                "a town has stopped dispatching agents",
                1,
                30,
            ),
        ),
    ),
    Metric("agentTokens", Unit.COUNT, Statistic.SUM, "Tokens that agents were counted to use, cached ones included."),
    Metric(
        "agentCostMicros",
        Unit.COUNT,
        Statistic.SUM,
        "What these tokens cost, in millionths of a US dollar; tokens without a known price cost nothing here.",
    ),
    Metric("ticksRun", Unit.COUNT, Statistic.SUM, "Ticks that ran to the end, quiet ones included."),
    Metric("ticksQuiet", Unit.COUNT, Statistic.SUM, "Ticks that had nothing to commit."),
    Metric(
        "ticksCheckedAgain", Unit.COUNT, Statistic.SUM, "Ticks that the self-check replayed from their journal rows."
    ),
    Metric(
        "shadowTicks",
        Unit.COUNT,
        Statistic.SUM,
        "Ticks that `townctl shadow` ran with other code, beside the live code.",
        source="shadow",
    ),
    Metric(
        "shadowDifferences",
        Unit.COUNT,
        Statistic.SUM,
        "Those of them in which the other code would have done otherwise.",
        source="shadow",
    ),
    Metric(
        "ReplayDivergence",
        Unit.COUNT,
        Statistic.SUM,
        "Ticks whose replay differed from what was committed.",
        alarms=(Alarm("replay-diverged", Statistic.SUM, 0, "the replay of a tick differs from what was committed"),),
    ),
    Metric(
        "sideEffectsNotStarted",
        Unit.COUNT,
        Statistic.SUM,
        "Effects for which no time was left; a later tick starts them.",
    ),
    Metric(
        "imageBytes",
        Unit.BYTES,
        Statistic.MAXIMUM,
        "Size of the largest town image that was ticked.",
        alarms=(
            Alarm(
                "image-large",
                Statistic.MAXIMUM,
                THRESHOLDS["image-large"],
                "a town has become large, and one of 1 GiB is refused",
                3,
                5,
            ),
        ),
    ),
    Metric(
        "scheduledRuns",
        Unit.COUNT,
        Statistic.SUM,
        "Scheduled minutes in which the dispatcher ran.",
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
        "Invocations that came a minute or more late and did nothing.",
        source="minute",
    ),
    Metric(
        "dispatchPasses", Unit.COUNT, Statistic.SUM, "Passes of the dispatcher over the due markers.", source="minute"
    ),
    Metric("townsDue", Unit.COUNT, Statistic.SUM, "Due towns that passes found.", source="minute"),
    Metric("townsHandedOver", Unit.COUNT, Statistic.SUM, "Due towns that were sent to the queue.", source="minute"),
    Metric("townsLeft", Unit.COUNT, Statistic.SUM, "Due towns that were left for the next minute.", source="minute"),
    Metric(
        "townsFailed",
        Unit.COUNT,
        Statistic.SUM,
        "Runs of a town that ended with an error.",
        source="minute",
        alarms=(Alarm("town-fails", Statistic.SUM, 0, "runs of a town fail again and again", 3, 5),),
    ),
    Metric(
        "oldestDueMs",
        Unit.MILLISECONDS,
        Statistic.MAXIMUM,
        "How long the longest-waiting due town has been due.",
        source="minute",
        alarms=(
            Alarm(
                "town-waits-long", Statistic.MAXIMUM, 180_000, "a due town has not been ticked for three minutes", 3, 5
            ),
        ),
    ),
    Metric(
        "markersRestored",
        Unit.COUNT,
        Statistic.SUM,
        "Lost due markers that the hourly sweep restored.",
        source="minute",
    ),
    Metric(
        "townsSetAside",
        Unit.COUNT,
        Statistic.MAXIMUM,
        "Towns that are not run, because their runs ended the process again and again.",
        source="minute",
        alarms=(
            Alarm("town-set-aside", Statistic.MAXIMUM, 0, "a town is not run any more, because it ends its process"),
        ),
    ),
    Metric("eventsAccepted", Unit.COUNT, Statistic.SUM, "Events that the API stored.", source="events"),
    Metric(
        "eventsRefused", Unit.COUNT, Statistic.SUM, "Requests to post events that the API refused.", source="events"
    ),
    Metric(
        "townsTidied",
        Unit.COUNT,
        Statistic.SUM,
        "Towns for which retention ran to completion.",
        source="retention",
    ),
    Metric(
        "townsNotTidied",
        Unit.COUNT,
        Statistic.SUM,
        "Towns for which retention failed or had no time left.",
        source="retention",
        alarms=(Alarm("retention-fails", Statistic.SUM, 0, "retention does not delete what towns no longer need"),),
    ),
    Metric("objectsForgotten", Unit.COUNT, Statistic.SUM, "Objects that retention deleted.", source="retention"),
    Metric("bytesForgotten", Unit.BYTES, Statistic.SUM, "Bytes that retention deleted.", source="retention"),
)
"""Every metric, in the order of the documentation."""

BY_NAME: Final[dict[str, Metric]] = {metric.name: metric for metric in METRICS}

ACTIONS_BY_TYPE: Final = Metric(
    "actionsByType", Unit.COUNT, Statistic.SUM, "As actionsEmitted, for each type of action; the type is a dimension."
)
"""Written on a separate line for each type, because an EMF line has one value for each dimension."""
