"""Both dashboards query existing metrics, as the specification requires, and are up to date."""

import json
import re
from datetime import timedelta
from typing import Any

import jsonschema
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from infra.ops.dashboards import __main__ as made
from infra.ops.dashboards import alarms, cloudwatch, grafana
from infra.ops.dashboards.panels import PER_TOWN
from shared.runner.run_report import FailedRun
from shared.telemetry.catalogue import ACTIONS_BY_TYPE, BY_NAME, METRICS, NAMESPACE
from tests.cloud import a_fleet
from tests.conventions.sources import ROOT

GRAFANA = json.loads((ROOT / "infra/ops/dashboards/grafana.json").read_text(encoding="utf-8"))
CLOUDWATCH = json.loads((ROOT / "infra/ops/dashboards/cloudwatch.json").read_text(encoding="utf-8"))
KNOWN = {*BY_NAME, ACTIONS_BY_TYPE.name}


def panels() -> list[dict[str, Any]]:
    found = []
    for panel in GRAFANA["panels"]:
        found += [panel, *panel.get("panels", ())]
    return [panel for panel in found if panel["type"] != "row"]


def panel(title: str) -> dict[str, Any]:
    [found] = [each for each in panels() if each["title"] == title]
    return found


def steps(each: dict[str, Any]) -> dict[str, float | None]:
    return {step["color"]: step["value"] for step in each["fieldConfig"]["defaults"]["thresholds"]["steps"]}


@pytest.mark.parametrize("path", sorted(made.files()), ids=lambda path: path.name)
def test_every_generated_file_is_up_to_date(path: Any) -> None:
    assert path.read_text(encoding="utf-8") == made.files()[path], "run: make dashboards"


def test_every_widget_of_grafana_queries_an_existing_metric() -> None:
    asked = [target for each in panels() for target in each["targets"] if target.get("queryMode") == "Metrics"]
    assert asked
    for target in asked:
        assert target.get("metricName", ACTIONS_BY_TYPE.name) in KNOWN
        assert ("metricName" in target) != bool(target.get("expression"))
        assert target["namespace"] == NAMESPACE
        assert target["datasource"] == {"type": "cloudwatch", "uid": "${datasource}"}
        assert target["period"] == "60"


def test_every_widget_of_cloudwatch_queries_an_existing_metric() -> None:
    asked = [
        metric
        for widget in CLOUDWATCH["widgets"]
        if widget["type"] == "metric"
        for metric in widget["properties"]["metrics"]
    ]
    assert asked
    for metric in asked:
        if isinstance(metric[0], dict):
            expression = metric[0]["expression"]
            assert f'MetricName="{ACTIONS_BY_TYPE.name}"' in expression or expression == "dividend / divisor"
        else:
            assert metric[0] == NAMESPACE
            assert metric[1] in KNOWN


def test_every_metric_is_shown_somewhere() -> None:
    shown = {target["metricName"] for each in panels() for target in each["targets"] if "metricName" in target}
    assert shown == KNOWN


def test_the_row_reconciler_is_that_of_the_specification() -> None:
    row, *following = GRAFANA["panels"]
    assert (row["type"], row["title"]) == ("row", "Reconciler")
    assert [(each["type"], each["title"]) for each in following[:6]] == [
        ("timeseries", "Events drained per tick"),
        ("barchart", "Actions per tick by type"),
        ("timeseries", "Side effects"),
        ("stat", "Invariant violations"),
        ("timeseries", "Tick wall clock"),
        ("gauge", "Pending events of the worst town"),
    ]


def test_grafana_reads_its_dashboard_with_its_own_schema_and_writes_the_same() -> None:
    read = models.Dashboard.from_json(GRAFANA)
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == GRAFANA


WIDGET = {
    "type": "object",
    "required": ["type", "x", "y", "width", "height", "properties"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["metric", "log", "text"]},
        "x": {"type": "integer", "minimum": 0, "maximum": 23},
        "y": {"type": "integer", "minimum": 0},
        "width": {"type": "integer", "minimum": 1, "maximum": 24},
        "height": {"type": "integer", "minimum": 1, "maximum": 1000},
        "properties": {"type": "object"},
    },
}
OF_A_METRIC = {
    "type": "object",
    "required": ["metrics", "region"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string"},
        "region": {"type": "string"},
        "period": {"type": "integer", "multipleOf": 60},
        "view": {"enum": ["timeSeries", "singleValue", "gauge", "bar", "pie"]},
        "stacked": {"type": "boolean"},
        "setPeriodToTimeRange": {"type": "boolean"},
        "metrics": {"type": "array", "minItems": 1, "maxItems": 500, "items": {"type": "array", "minItems": 1}},
        "annotations": {"type": "object"},
        "yAxis": {"type": "object"},
    },
}
OF_A_LOG = {
    "type": "object",
    "required": ["query", "region"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string"},
        "region": {"type": "string"},
        "query": {"type": "string", "pattern": "^SOURCE "},
        "view": {"enum": ["table", "timeSeries", "bar", "pie"]},
    },
}
OF_A_TEXT = {
    "type": "object",
    "required": ["markdown"],
    "additionalProperties": False,
    "properties": {"markdown": {"type": "string"}},
}
RENDERING = {"expression", "label", "id", "stat", "visible", "period", "color", "yAxis", "region", "accountId"}
"""The fields of the last element of a metric, as the reference "Dashboard body structure and syntax" of CloudWatch lists them."""


def test_the_dashboard_of_cloudwatch_has_the_structure_that_its_reference_describes() -> None:
    assert set(CLOUDWATCH) == {"widgets"}
    assert len(CLOUDWATCH["widgets"]) <= 500
    for widget in CLOUDWATCH["widgets"]:
        jsonschema.validate(widget, WIDGET)
        assert widget["x"] + widget["width"] <= 24
        kind = {"metric": OF_A_METRIC, "log": OF_A_LOG, "text": OF_A_TEXT}[widget["type"]]
        jsonschema.validate(widget["properties"], kind)
        for metric in widget["properties"].get("metrics", ()):
            *named, rendering = metric
            assert set(rendering) <= RENDERING
            assert len(named) == 0 or len(named) % 2 == 0  # namespace and metric, then pairs of names and values


def test_what_is_named_per_tick_is_divided_by_the_ticks_of_the_same_minute() -> None:
    """They showed sums of a minute, in which a hundred towns tick."""
    for widget in CLOUDWATCH["widgets"]:
        if "per tick" in widget["properties"].get("title", ""):
            shown, *hidden = widget["properties"]["metrics"]
            assert shown[0]["expression"].endswith("/ divisor")
            assert [each[1] for each in hidden if each[-1]["id"] == "divisor"] == ["ticksRun"]
            assert not any(each[-1]["visible"] for each in hidden)
    for each in panels():
        if "per tick" in each["title"]:
            *hidden, shown = each["targets"]
            assert shown["expression"] == "q0 / q1"
            assert hidden[1]["metricName"] == "ticksRun"
            assert all(target["hide"] for target in hidden)
            assert not shown.get("hide")


def test_the_legend_of_actions_names_their_types() -> None:
    by_type = panel("Actions per tick by type")
    assert by_type["targets"][-1]["label"] == "${PROP('Dim.actionType')}"
    [widget] = [each for each in CLOUDWATCH["widgets"] if each["properties"].get("title") == "Actions per tick by type"]
    assert widget["properties"]["metrics"][0][0]["label"] == "${!PROP('Dim.actionType')}"


def test_side_effects_are_three_series_and_actions_are_stacked_by_type() -> None:
    series = [target["metricName"] for target in panel("Side effects")["targets"]]
    assert series == ["sideEffectsAttempted", "sideEffectsSucceeded", "sideEffectsFailed"]
    by_type = panel("Actions per tick by type")
    assert by_type["options"]["stacking"] == "normal"
    assert by_type["targets"][0]["dimensions"]["actionType"] == "*"


def test_a_violation_is_red_at_one_and_the_wall_clock_has_its_line_at_half_a_second() -> None:
    violations = panel("Invariant violations")
    assert steps(violations) == {"green": None, "red": 1}
    assert violations["targets"][0]["statistic"] == "Maximum"
    clock = panel("Tick wall clock")
    assert steps(clock) == {"green": None, "red": 500}
    assert clock["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "line"
    assert clock["fieldConfig"]["defaults"]["unit"] == "ms"


def test_the_gauge_shows_the_newest_value_of_the_worst_town_and_no_mean() -> None:
    gauge = panel("Pending events of the worst town")
    assert gauge["targets"][0]["statistic"] == "Maximum"
    assert gauge["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]
    assert steps(gauge) == {"green": None, "yellow": 25, "red": 50}
    [there] = [each for each in CLOUDWATCH["widgets"] if each["properties"].get("view") == "gauge"]
    assert there["properties"]["setPeriodToTimeRange"] is False
    assert there["properties"]["metrics"][0][-1]["stat"] == "Maximum"
    assert [mark["value"] for mark in there["properties"]["annotations"]["horizontal"]] == [25, 50]


def test_beside_the_gauge_every_town_has_its_newest_value() -> None:
    [target] = panel("Pending events by town")["targets"]
    assert "latest(pendingEventCount.0)" in target["expression"]
    assert "by town_id" in target["expression"]


def test_tables_by_town_come_from_the_log_and_no_widget_has_a_town_as_a_dimension() -> None:
    for document in (cloudwatch.body(), grafana.document()):
        for name in ("town_id", "tick_id", "agent_id"):
            assert f'"{name}"' not in json.dumps(document)
    logs = [widget["properties"]["query"] for widget in CLOUDWATCH["widgets"] if widget["type"] == "log"]
    assert len(logs) == len(PER_TOWN)
    assert all("by town_id" in query for query in logs)


def test_every_page_of_the_runbook_belongs_to_an_alarm_and_says_what_to_do() -> None:
    for name in alarms.names():
        page = (ROOT / f"docs/runbook/{name}.md").read_text(encoding="utf-8")
        assert f"`{name}`" in page
        assert "## Look" in page
        assert "## Do" in page
    assert len(set(alarms.names())) == len(alarms.names())


def test_the_catalogue_is_within_the_limits_of_one_line() -> None:
    assert len(METRICS) <= 99
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_tables_by_town_query_fields_that_the_lines_have() -> None:
    cloud = a_fleet("one")
    cloud.minute(remaining=timedelta(seconds=12))
    cloud.worker.figures.town_failed(FailedRun("one", ValueError("x")))
    fields = {event: _fields_of(line) for line in cloud.lines for event in [line["event"]] if "town_id" in line}
    for table in PER_TOWN:
        [event] = re.findall(r'event = "([a-z.]+)"', table.query)
        asked = set(re.findall(r"(?:ispresent|latest|sum|avg)\(([\w.@]+)\)", table.query))
        assert {name.removesuffix(".0") for name in asked - {"@timestamp"}} <= fields[event], table.title
        assert " by town_id" in table.query


def _fields_of(line: dict[str, Any]) -> set[str]:
    """The fields that Logs Insights discovers in our lines, where a metric's value is a list with one element."""
    return {name for name in line if name != "_aws"}
