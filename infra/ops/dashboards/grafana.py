"""The Grafana dashboard for the CloudWatch data source, built with Grafana's SDK for the schema of version 11.6.

The tests verify its queries. Nobody has looked at it in a running Grafana yet.
"""

import json
from typing import Any, Final

from grafana_foundation_sdk.builders import barchart, cloudwatch, common, dashboard, gauge, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import cloudwatch as cloudwatch_models
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from infra.ops.dashboards.panels import FLEET, PER_TOWN, RECONCILER, Panel, PerTown
from shared.telemetry.catalogue import ACTION_TYPE, NAMESPACE, SERVICE

SOURCE: Final = models.DataSourceRef(type_val="cloudwatch", uid="${datasource}")
_SPAN: Final = 8
_HEIGHT: Final = 8
_NEWEST: Final = "lastNotNull"
_LOG_GROUPS: Final = ("/aws/lambda/${stack}-tick", "/aws/lambda/${stack}-worker")


def document() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    built = (
        dashboard.Dashboard("Town reconciler")
        .uid("town-reconciler")
        .tags(["town-reconciler"])
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("utc")
        .with_variable(dashboard.DatasourceVariable("datasource").label("CloudWatch").type("cloudwatch"))
        .with_variable(dashboard.TextBoxVariable("region").label("Region").default_value("default"))
        .with_variable(dashboard.TextBoxVariable("stage").label("Stage").default_value("dev"))
        .with_variable(dashboard.TextBoxVariable("stack").label("Stack").default_value("town-reconciler-dev"))
        .with_row(dashboard.Row("Reconciler"))
    )
    for panel in RECONCILER:
        built = built.with_panel(_panel(panel))
    built = built.with_row(dashboard.Row("By town"))
    for each in PER_TOWN:
        built = built.with_panel(_table(each))
    built = built.with_row(dashboard.Row("Fleet"))
    for panel in FLEET:
        built = built.with_panel(_panel(panel))
    shown: dict[str, Any] = json.loads(json.dumps(built.build(), cls=JSONEncoder, sort_keys=True))
    return shown


def _panel(panel: Panel) -> Any:
    built = (
        _builder_of(panel)
        .title(panel.title)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(_SPAN)
        .height(_HEIGHT)
        .thresholds(_thresholds(panel))
    )
    for number, (name, statistic) in enumerate(panel.series):
        built = built.with_target(_target(panel, number, name, statistic.value).hide(panel.per is not None))
    if panel.per is not None:
        built = built.with_target(_divisor(panel.per)).with_target(_quotient(panel))
    return built


def _builder_of(panel: Panel) -> Any:
    """The builder for the panel's kind, with the settings of that kind."""
    if panel.kind == "gauge":
        return gauge.Panel().min(0).max(2 * (panel.red or 50)).reduce_options(_newest())
    if panel.kind == "stat":
        return stat.Panel().reduce_options(_newest()).color_mode(common_models.BigValueColorMode.BACKGROUND)
    if panel.kind == "bars by type":
        return (
            barchart.Panel()
            .stacking(common_models.StackingMode.NORMAL)
            .x_tick_label_spacing(100)
            .with_transformation(models.DataTransformerConfig(id_val="joinByField", options={"mode": "outer"}))
        )
    built = timeseries.Panel()
    if panel.red is None:
        return built
    line = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.LINE)
    return built.thresholds_style(line)


def _target(panel: Panel, number: int, name: str, statistic: str) -> Any:
    """The query of one series."""
    dimensions = {"service": SERVICE, "stage": "$stage"}
    if panel.kind == "bars by type":
        dimensions[ACTION_TYPE] = "*"
    return _query(number, name, statistic, dimensions).label(_label(panel, f"{name} {statistic}"))


def _label(panel: Panel, name: str) -> str:
    return f"${{PROP('Dim.{ACTION_TYPE}')}}" if panel.kind == "bars by type" else name


def _divisor(name: str) -> Any:
    return _query(1, name, "Sum", {"service": SERVICE, "stage": "$stage"}).label(name).hide(True)


def _quotient(panel: Panel) -> Any:
    """The first query divided by the second one."""
    return (
        _metrics_query(2)
        .metric_editor_mode(cloudwatch_models.MetricEditorMode.CODE)
        .expression("q0 / q1")
        .label(_label(panel, panel.series[0][0]))
    )


def _query(number: int, name: str, statistic: str, dimensions: dict[str, str]) -> Any:
    return (
        _metrics_query(number)
        .metric_editor_mode(cloudwatch_models.MetricEditorMode.BUILDER)
        .metric_name(name)
        .dimensions(dict(dimensions))
        .match_exact(True)
        .statistic(statistic)
    )


def _metrics_query(number: int) -> Any:
    return (
        cloudwatch.CloudWatchMetricsQuery()
        .ref_id(chr(ord("A") + number))
        .id(f"q{number}")
        .query_mode(cloudwatch_models.CloudWatchQueryMode.METRICS)
        .metric_query_type(cloudwatch_models.MetricQueryType.SEARCH)
        .region("$region")
        .namespace(NAMESPACE)
        .period("60")
        .datasource(SOURCE)
    )


def _newest() -> Any:
    """Show the newest value instead of a mean over the time range."""
    return common.ReduceDataOptions().calcs([_NEWEST]).values(False)


def _thresholds(panel: Panel) -> Any:
    steps = [models.Threshold(value=None, color="green")]
    steps += [
        models.Threshold(value=value, color=colour)
        for value, colour in ((panel.yellow, "yellow"), (panel.red, "red"))
        if value is not None
    ]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _table(each: PerTown) -> Any:
    query = (
        cloudwatch.CloudWatchLogsQuery()
        .ref_id("A")
        .id("q0")
        .query_mode(cloudwatch_models.CloudWatchQueryMode.LOGS)
        .region("$region")
        .expression(each.query)
        .log_group_names(list(_LOG_GROUPS))
        .datasource(SOURCE)
    )
    return table.Panel().title(each.title).datasource(SOURCE).span(_SPAN).height(_HEIGHT).with_target(query)
