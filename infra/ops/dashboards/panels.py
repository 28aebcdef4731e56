"""The panels of both dashboards; each builder turns them into its own JSON."""

from dataclasses import dataclass
from typing import Final, Literal

from shared.telemetry.catalogue import Statistic

Kind = Literal["timeseries", "bars by type", "stat", "gauge"]

YELLOW_PENDING: Final = 25
RED_PENDING: Final = 50
SLOW_MS: Final = 500


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: metrics of the catalogue, each with a statistic, and the thresholds at which it turns yellow and red.

    With `per`, each value is divided by the sum of that metric in the same minute.
    """

    title: str
    kind: Kind
    series: tuple[tuple[str, Statistic], ...]
    yellow: float | None = None
    red: float | None = None
    unit: Literal["short", "ms", "bytes"] = "short"
    per: str | None = None


@dataclass(frozen=True, slots=True)
class PerTown:
    """A table by town, from log lines. Metrics cannot show single towns, because the town is not a dimension."""

    title: str
    query: str


_SUM, _MAX = Statistic.SUM, Statistic.MAXIMUM

RECONCILER: Final = (
    Panel("Events drained per tick", "timeseries", (("eventsDrained", _SUM),), per="ticksRun"),
    Panel("Actions per tick by type", "bars by type", (("actionsByType", _SUM),), per="ticksRun"),
    Panel(
        "Side effects",
        "timeseries",
        (("sideEffectsAttempted", _SUM), ("sideEffectsSucceeded", _SUM), ("sideEffectsFailed", _SUM)),
    ),
    Panel("Invariant violations", "stat", (("invariantViolations", _MAX),), red=1),
    Panel(
        "Tick wall clock",
        "timeseries",
        (("wallClockMs", Statistic.AVERAGE), ("wallClockMs", Statistic.P99)),
        red=SLOW_MS,
        unit="ms",
    ),
    Panel(
        "Pending events of the worst town",
        "gauge",
        (("pendingEventCount", _MAX),),
        yellow=YELLOW_PENDING,
        red=RED_PENDING,
    ),
)
"""The row `Reconciler`, in the order of the specification."""

FLEET: Final = (
    Panel(
        "Ticks",
        "timeseries",
        (("ticksRun", _SUM), ("ticksQuiet", _SUM), ("ticksCheckedAgain", _SUM), ("townsFailed", _SUM)),
    ),
    Panel("Ticks in the shadow, that differ", "timeseries", (("shadowTicks", _SUM), ("shadowDifferences", _SUM))),
    Panel(
        "Towns due, sent to the queue, left over",
        "timeseries",
        (("townsDue", _SUM), ("townsHandedOver", _SUM), ("townsLeft", _SUM)),
    ),
    Panel(
        "Delays",
        "timeseries",
        (("tickLagMs", _MAX), ("oldestDueMs", _MAX), ("oldestPendingEventMs", _MAX)),
        unit="ms",
    ),
    Panel(
        "Problems",
        "timeseries",
        (
            ("eventsPoisoned", _SUM),
            ("mergesUnproven", _SUM),
            ("saveConflicts", _SUM),
            ("circuitBreakerOpen", _MAX),
            ("sideEffectsNotStarted", _SUM),
            ("actionsSkipped", _SUM),
            ("ReplayDivergence", _SUM),
            ("townsSetAside", _MAX),
        ),
    ),
    Panel(
        "Schedule",
        "timeseries",
        (("scheduledRuns", _SUM), ("scheduledRunsLate", _SUM), ("dispatchPasses", _SUM), ("markersRestored", _SUM)),
    ),
    Panel("Events API", "timeseries", (("eventsAccepted", _SUM), ("eventsRefused", _SUM))),
    Panel("Actions", "timeseries", (("actionsEmitted", _SUM),)),
    Panel("Tokens of agents", "timeseries", (("agentTokens", _SUM),)),
    Panel("Cost of agents, in millionths of a dollar", "timeseries", (("agentCostMicros", _SUM),)),
    Panel("Retention", "timeseries", (("townsTidied", _SUM), ("townsNotTidied", _SUM), ("objectsForgotten", _SUM))),
    Panel("Bytes deleted by retention", "timeseries", (("bytesForgotten", _SUM),), unit="bytes"),
    Panel("Largest town", "timeseries", (("imageBytes", _MAX),), unit="bytes"),
)

_TICKS: Final = 'filter event = "tick.completed" and ispresent(pendingEventCount.0)'

PER_TOWN: Final = (
    PerTown(
        "Pending events by town",
        f"{_TICKS} | stats latest(pendingEventCount.0) as pending, latest(oldestPendingEventMs.0) as oldest_ms, "
        "latest(@timestamp) as at by town_id | sort pending desc | limit 50",
    ),
    PerTown(
        "Busiest towns",
        f"{_TICKS} | stats sum(actionsEmitted.0) as actions, sum(eventsDrained.0) as events, count(*) as ticks, "
        "avg(wallClockMs.0) as mean_ms by town_id | sort actions desc | limit 50",
    ),
    PerTown(
        "Spending towns",
        f"{_TICKS} | stats sum(agentCostMicros.0) / 1000000 as dollars, sum(agentTokens.0) as tokens by town_id "
        "| sort dollars desc, tokens desc | limit 50",
    ),
    PerTown(
        "Failing towns",
        'filter event = "town.failed" | stats count(*) as failures, latest(error) as error by town_id '
        "| sort failures desc | limit 50",
    ),
)
