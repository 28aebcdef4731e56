"""The body of the CloudWatch dashboard. CloudFormation substitutes its region, stage and stack name."""

from typing import Any, Final

from infra.ops.dashboards.panels import FLEET, PER_TOWN, RECONCILER, Panel, PerTown
from shared.telemetry.catalogue import ACTION_TYPE, NAMESPACE, SERVICE

_COLUMNS: Final = 3
_WIDTH: Final = 8
_HEIGHT: Final = 6
_LOGS: Final = ("tick", "worker")


def body() -> dict[str, Any]:
    """The dashboard: the row that the specification requires, the fleet, and the tables by town."""
    widgets: list[dict[str, Any]] = [_heading("Reconciler", 0)]
    y = 1
    for panels, heading in ((RECONCILER, "Fleet"), (FLEET, "By town")):
        for number, panel in enumerate(panels):
            row, column = divmod(number, _COLUMNS)
            place = {"x": column * _WIDTH, "y": y + row * _HEIGHT, "width": _WIDTH, "height": _HEIGHT}
            widgets.append({"type": "metric", **place, "properties": _properties(panel)})
        y += -(-len(panels) // _COLUMNS) * _HEIGHT
        widgets.append(_heading(heading, y))
        y += 1
    for number, table in enumerate(PER_TOWN):
        place = {"x": 0, "y": y + number * _HEIGHT, "width": 24, "height": _HEIGHT}
        widgets.append({"type": "log", **place, "properties": _table(table)})
    return {"widgets": widgets}


def _heading(text: str, y: int) -> dict[str, Any]:
    return {"type": "text", "x": 0, "y": y, "width": 24, "height": 1, "properties": {"markdown": f"## {text}"}}


def _properties(panel: Panel) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "title": panel.title,
        "region": "${AWS::Region}",
        "period": 60,
        "view": "timeSeries",
        "stacked": panel.kind == "bars by type",  # a CloudWatch bar chart has no time axis
        "metrics": _metrics(panel),
    }
    if panel.kind in ("stat", "gauge"):
        # show the newest value instead of a mean over the time range
        shown |= {"view": "singleValue" if panel.kind == "stat" else "gauge", "setPeriodToTimeRange": False}
        if panel.kind == "gauge":
            shown["yAxis"] = {"left": {"min": 0, "max": 2 * (panel.red or 50)}}
    marks = [("yellow", panel.yellow, "#f2cc0c"), ("red", panel.red, "#d62728")]
    annotations = [
        {"label": name, "value": value, "color": colour} for name, value, colour in marks if value is not None
    ]
    if annotations and panel.kind != "stat":
        shown["annotations"] = {"horizontal": annotations}
    return shown


def _metrics(panel: Panel) -> list[Any]:
    if panel.per is None:
        return [
            _metric(name, {"stat": statistic.value, "label": _label(panel, name, statistic.value)})
            for name, statistic in panel.series
        ]
    [(name, statistic)] = panel.series
    divisor = _metric(panel.per, {"stat": "Sum", "id": "divisor", "visible": False})
    if panel.kind == "bars by type":
        search = f'{{{NAMESPACE},service,stage,{ACTION_TYPE}}} MetricName="{name}" stage="${{Stage}}"'
        found = f"SEARCH('{search}', '{statistic.value}', 60)"
        label = f"${{!PROP('Dim.{ACTION_TYPE}')}}"  # CloudFormation leaves out the exclamation mark
        return [[{"expression": f"{found} / divisor", "id": "quotient", "label": label}], divisor]
    dividend = _metric(name, {"stat": statistic.value, "id": "dividend", "visible": False})
    return [[{"expression": "dividend / divisor", "id": "quotient", "label": name}], dividend, divisor]


def _metric(name: str, options: dict[str, Any]) -> list[Any]:
    return [NAMESPACE, name, "service", SERVICE, "stage", "${Stage}", options]


def _label(panel: Panel, name: str, statistic: str) -> str:
    several = len({each for each, _ in panel.series}) < len(panel.series)
    return f"{name} {statistic}" if several else name


def _table(table: PerTown) -> dict[str, Any]:
    sources = " | ".join(f"SOURCE '/aws/lambda/${{AWS::StackName}}-{name}'" for name in _LOGS)
    return {"title": table.title, "region": "${AWS::Region}", "view": "table", "query": f"{sources} | {table.query}"}
