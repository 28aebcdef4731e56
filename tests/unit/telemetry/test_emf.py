"""The figures of a tick as CloudWatch takes them: valid, with zeros, and with no town in a dimension."""

import json
from collections.abc import Container
from typing import Any

import pytest

from shared.actions import ACTIONS
from shared.runner.run_report import FailedRun, RunReport
from shared.telemetry import catalogue
from shared.telemetry.emf import OTHER, EmfMetrics, by_type, values_of, zeros
from shared.telemetry.profiles import SMALL
from tests.emf import dimensions_of, metrics_of
from tests.towns import a_town, event
from tests.worlds import World, a_world

TICK_METRICS = {metric.name for metric in catalogue.METRICS if metric.source == "tick"}
NINE_OF_THE_SPEC = {
    "wallClockMs",
    "eventsDrained",
    "actionsEmitted",
    "sideEffectsAttempted",
    "sideEffectsSucceeded",
    "sideEffectsFailed",
    "invariantViolations",
    "pendingEventCount",
}


def a_busy_world() -> World:
    world = a_world(a_town().bead("b1", rig_id="rig-1"))
    world.post(event("town_started"))
    return world


def lines_of(*reports: RunReport, series: Container[str] | None = None) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    metrics = EmfMetrics(lambda line: lines.append(json.loads(line)), stage="test", series=series)
    for report in reports:
        metrics.tick_ran(report)
    return lines


def test_a_tick_writes_one_line_with_every_tick_metric_and_its_ids_as_properties() -> None:
    run = a_busy_world().run()
    line, *types = lines_of(run)

    assert set(metrics_of(line)) == TICK_METRICS
    assert NINE_OF_THE_SPEC <= TICK_METRICS
    assert dimensions_of(line) == {"service": "town-reconciler", "stage": "test"}
    assert run.tick is not None
    assert (line["town_id"], line["tick_id"], line["event"]) == ("t1", run.tick.input.tick_id, "tick.completed")
    assert {each["actionType"] for each in types} == set(run.tick.metrics.actions_by_type)


def test_actions_by_type_are_lines_of_their_own_that_add_up_to_the_actions() -> None:
    line, *types = lines_of(a_busy_world().run())

    assert types
    for each in types:
        assert set(metrics_of(each)) == {"actionsByType"}
        assert set(dimensions_of(each)) == {"service", "stage", "actionType"}
    assert sum(metrics_of(each)["actionsByType"] for each in types) == metrics_of(line)["actionsEmitted"]


def test_a_quiet_tick_writes_zeros() -> None:
    world = a_world(a_town())
    run = world.run()
    [line] = lines_of(run)

    assert run.outcome == "quiet"
    figures = metrics_of(line)
    assert set(figures) == TICK_METRICS
    assert {name for name, value in figures.items() if value} == {"ticksRun", "ticksQuiet", "imageBytes"}


def test_a_lost_race_counts_the_conflict_and_nothing_else() -> None:
    world = a_busy_world()
    lost = RunReport("t1", "lost", world.image(), save_conflicts=1)

    assert values_of(lost) == {"saveConflicts": 1}
    assert by_type(lost) == {}
    [line] = lines_of(lost)
    assert metrics_of(line) == {"saveConflicts": 1}


def test_two_towns_after_one_another_share_nothing() -> None:
    world = a_world(a_town("first").bead("b1", rig_id="rig-1"), a_town("other"))
    first, second = world.run(town_id="first"), world.run(town_id="other")
    lines = lines_of(first, second)

    assert all("other" not in json.dumps(line) for line in lines if line["town_id"] == "first")
    assert all("first" not in json.dumps(line) for line in lines if line["town_id"] == "other")
    for line in lines:
        metrics_of(line)  # one value each: two towns would make lists of two


def test_an_action_of_no_known_type_does_not_open_a_series_of_its_own() -> None:
    run = a_busy_world().run()
    assert run.tick is not None
    run.tick.metrics.actions_by_type["made up"] = 2
    known = {action.type for action in ACTIONS}

    assert set(by_type(run)) <= known | {OTHER}
    assert by_type(run)[OTHER] == 2


def test_a_small_profile_makes_few_series_and_logs_the_same_figures() -> None:
    run = a_busy_world().run()
    whole, *types = lines_of(run)
    small, *small_types = lines_of(run, series=SMALL)

    assert set(metrics_of(small)) == TICK_METRICS & SMALL
    assert {name: small[name] for name in TICK_METRICS} == {name: whole[name] for name in TICK_METRICS}
    assert dimensions_of(small) == dimensions_of(whole)
    assert not any("_aws" in line for line in small_types)
    for line, of_all in zip(small_types, types, strict=True):
        assert line == {name: value for name, value in of_all.items() if name != "_aws"}


def test_a_failed_run_is_one_line_that_names_the_town_and_the_class_of_its_error() -> None:
    lines: list[dict[str, Any]] = []
    metrics = EmfMetrics(lambda line: lines.append(json.loads(line)), stage="test")
    metrics.town_failed(FailedRun("t1", KeyError("a secret that a message may hold")))

    [line] = lines
    assert metrics_of(line) == {"townsFailed": 1}
    assert (line["town_id"], line["error"]) == ("t1", "KeyError")
    assert "secret" not in json.dumps(line)


def test_the_oldest_event_that_still_waits_is_measured_from_its_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_busy_world()
    world.clock.move(seconds=3)
    broken = event("town_started", event_id="broken-event")
    world.post(broken)
    from shared.events.town import TownStarted

    def fail(*_: Any) -> Any:
        raise KeyError("not now")

    monkeypatch.setattr(TownStarted, "apply", fail)
    world.clock.move(seconds=7)
    [line, *_] = lines_of(world.run())

    figures = metrics_of(line)
    assert figures["pendingEventCount"] == 2
    assert figures["oldestPendingEventMs"] == 10_000


def test_an_idle_minute_has_a_zero_for_every_metric_and_a_busy_one_none_that_would_lie() -> None:
    assert set(zeros(idle=True)) == set(catalogue.BY_NAME)
    assert set(catalogue.BY_NAME) - set(zeros(idle=False)) == {"wallClockMs", "tickLagMs"}
