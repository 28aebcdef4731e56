"""Metrics of ticks, scheduled minutes and requests in CloudWatch's embedded metric format: one JSON line for each.

Powertools' `Metrics` is one object for the whole process, in which the figures of towns would mix. So every line has its own
`EphemeralMetrics`.
"""

import json
from collections.abc import Callable, Container, Mapping
from typing import Final

from aws_lambda_powertools.metrics import EphemeralMetrics

from shared.actions import ACTIONS
from shared.domain.times import to_text
from shared.ports.metrics import RunFigures
from shared.runner.run_report import FailedRun, MinuteReport
from shared.telemetry import catalogue
from shared.telemetry.catalogue import Metric
from shared.telemetry.waiting_counts import WaitingCounts

OTHER: Final = "other"
"""The type under which unknown action types are counted, so that the dimension stays bounded."""

_ACTION_TYPES: Final = frozenset(action.type for action in ACTIONS)


class EmfMetrics:
    """The Metrics port over a function that writes one line, for example to the standard output of a Lambda.

    CloudWatch makes a series of each metric in `series` and charges for it; without `series`, of all. The others are properties of
    the line, with the same names and values.
    """

    def __init__(
        self, write_line: Callable[[str], object], *, stage: str, series: Container[str] | None = None
    ) -> None:
        self._write_line = write_line
        self._stage = stage
        self._series = series
        self._waiting = WaitingCounts()

    def tick_ran(self, report: RunFigures) -> None:
        """One line for the tick, once a minute with the numbers of waiting beads; one more for each type of action it emitted."""
        about: dict[str, object] = {"event": "tick.completed", "town_id": report.town_id, "outcome": report.outcome}
        if report.tick is not None:
            about |= {"tick_id": report.tick.input.tick_id, "tick_no": report.tick.input.tick_no}
        about |= self._waiting.noted(report)
        self.write(values_of(report), about)
        for action_type, count in sorted(by_type(report).items()):
            self._write({catalogue.ACTIONS_BY_TYPE: count}, about, {catalogue.ACTION_TYPE: action_type})

    def town_failed(self, failed: FailedRun) -> None:
        """One line for a run that ended with an error."""
        about = {"event": "town.failed", "town_id": failed.town_id, "error": type(failed.error).__name__}
        self.write({"townsFailed": 1}, about)

    def minute_ran(self, report: MinuteReport) -> None:
        """The summary line of one scheduled minute."""
        about = {
            "event": "minute.completed",
            "scheduled_time": to_text(report.minute),
            "execution_id": report.execution_id,
            "attempt": report.attempt,
            "took_ms": int(report.took.total_seconds() * 1000),
            "outcomes": dict(sorted(report.outcomes.items())),
            "failed": dict(sorted(report.failed.items())[:20]),
        }
        self.write(values_of_minute(report), about)

    def write(self, values: Mapping[str, float], about: Mapping[str, object]) -> None:
        """One line with these metrics of the catalogue. `about` are properties of the line, not dimensions."""
        self._write({catalogue.BY_NAME[name]: value for name, value in values.items()}, about, {})

    def _write(
        self, values: Mapping[Metric, float], about: Mapping[str, object], dimensions: Mapping[str, str]
    ) -> None:
        charged = {metric: value for metric, value in values.items() if self._is_series(metric)}
        others = {metric.name: [value] for metric, value in values.items() if metric not in charged}
        named = {"stage": self._stage, **dimensions}
        properties = {**others, **about}
        if not charged:
            said: object = {"service": catalogue.SERVICE, **named, **properties}
        else:
            line = EphemeralMetrics(namespace=catalogue.NAMESPACE, service=catalogue.SERVICE)
            for name, text in named.items():
                line.add_dimension(name, text)
            for metric, value in charged.items():
                line.add_metric(name=metric.name, unit=metric.unit.value, value=value)
            for key, content in properties.items():
                line.add_metadata(key, content)
            said = line.serialize_metric_set()
        self._write_line(json.dumps(said, separators=(",", ":")))

    def _is_series(self, metric: Metric) -> bool:
        return self._series is None or metric.name in self._series


def values_of(report: RunFigures) -> dict[str, float]:
    """The metrics of one run, zeros included; for a discarded tick only the conflict (spec/tick.md section 12)."""
    if report.tick is None:
        return {"saveConflicts": report.save_conflicts}
    tick = report.tick
    age = 0.0 if tick.oldest_pending is None else (tick.input.now - tick.oldest_pending).total_seconds() * 1000
    return {
        "wallClockMs": report.wall_clock.total_seconds() * 1000,
        "eventsDrained": tick.metrics.events_drained,
        "actionsEmitted": tick.metrics.actions_emitted,
        "sideEffectsAttempted": report.effects.attempted,
        "sideEffectsSucceeded": report.effects.succeeded,
        "sideEffectsFailed": report.effects.failed,
        "invariantViolations": tick.metrics.invariant_violations,
        "pendingEventCount": tick.metrics.pending_event_count,
        "oldestPendingEventMs": max(age, 0.0),
        "eventsPoisoned": tick.metrics.events_poisoned,
        "mergesUnproven": tick.metrics.merges_unproven,
        "actionsSkipped": tick.metrics.actions_skipped,
        "saveConflicts": report.save_conflicts,
        "tickLagMs": tick.metrics.tick_lag_ms,
        "agentTokens": tick.metrics.agent_tokens,
        "agentCostMicros": tick.metrics.agent_cost_micros,
        "circuitBreakerOpen": tick.metrics.circuit_breaker_open,
        "ticksRun": 1,
        "ticksQuiet": int(report.outcome == "quiet"),
        "ticksCheckedAgain": int(report.diverged is not None),
        "ReplayDivergence": int(bool(report.diverged)),
        "sideEffectsNotStarted": report.effects.not_started,
        "imageBytes": report.image.size,
    }


def values_of_minute(report: MinuteReport) -> dict[str, float]:
    """The metrics of one scheduled minute, zeros included."""
    return zeros(idle=report.due == 0) | {
        "scheduledRuns": int(not report.late),
        "scheduledRunsLate": int(report.late),
        "dispatchPasses": report.passes,
        "townsDue": report.due,
        "townsHandedOver": report.handed_over,
        "townsLeft": report.left,
        "townsFailed": 0,  # every failed run has written its own line
        "oldestDueMs": report.oldest_due.total_seconds() * 1000,
        "markersRestored": report.restored,
        "townsSetAside": report.set_aside,
        "invariantViolations": int(report.violated > 0),  # the ticks of the towns say how many
    }


def by_type(report: RunFigures) -> dict[str, int]:
    """How many actions of each type the tick emitted; unknown types are counted as `other`."""
    found: dict[str, int] = {}
    for name, count in (report.tick.metrics.actions_by_type if report.tick else {}).items():
        known = name if name in _ACTION_TYPES else OTHER
        found[known] = found.get(known, 0) + count
    return found


def zeros(*, idle: bool) -> dict[str, float]:
    """The zeros that a scheduled minute adds, so that no graph has gaps and every alarm has data.

    Unless the fleet was idle, leaves out the metrics whose statistic a zero would distort.
    """
    return {each.name: 0 for each in catalogue.METRICS if idle or each.idle_zero == "always"}
