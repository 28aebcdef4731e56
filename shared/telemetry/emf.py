"""Metrics of ticks, scheduled minutes and requests in CloudWatch's embedded metric format: one JSON line for each.

Powertools' `Metrics` is one object for the whole process, in which the figures of towns would mix. So every line has its own
`EphemeralMetrics`.
"""

import json
from collections.abc import Callable, Mapping
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
    """The Metrics port over a function that writes one line, for example to the standard output of a Lambda."""

    def __init__(self, write_line: Callable[[str], object], *, stage: str) -> None:
        self._write_line = write_line
        self._stage = stage
        self._waiting = WaitingCounts()

    def tick_ran(self, report: RunFigures) -> None:
        """One line for the tick, once a minute with the numbers of waiting beads; one more for each type of action it emitted."""
        about: dict[str, object] = {"event": "tick.completed", "town_id": report.town_id, "outcome": report.outcome}
        if report.tick is not None:
            about |= {"tick_id": report.tick.input.tick_id, "tick_no": report.tick.input.tick_no}
        about |= self._waiting.noted(report)
        self.write(values_of(report), about)
        for action_type, count in sorted(by_type(report).items()):
            line = self._line()
            line.add_dimension(catalogue.ACTION_TYPE, action_type)
            self._add(line, catalogue.ACTIONS_BY_TYPE, count)
            self._finish(line, about)

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
        line = self._line()
        for name, value in values.items():
            self._add(line, catalogue.BY_NAME[name], value)
        self._finish(line, about)

    def _line(self) -> EphemeralMetrics:
        line = EphemeralMetrics(namespace=catalogue.NAMESPACE, service=catalogue.SERVICE)
        line.add_dimension("stage", self._stage)
        return line

    def _add(self, line: EphemeralMetrics, metric: Metric, value: float) -> None:
        line.add_metric(name=metric.name, unit=metric.unit.value, value=value)

    def _finish(self, line: EphemeralMetrics, about: Mapping[str, object]) -> None:
        for key, value in about.items():
            line.add_metadata(key, value)
        self._write_line(json.dumps(line.serialize_metric_set(), separators=(",", ":")))


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
