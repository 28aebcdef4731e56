"""`make dashboards`: regenerate every file that is derived from the catalogue; `--check` lists the stale ones."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from infra.ops.dashboards import alarms, cloudwatch
from infra.ops.dashboards.panels import PER_TOWN
from shared.telemetry.catalogue import ACTIONS_BY_TYPE, METRICS
from shared.telemetry.profiles import SMALL

ROOT: Final = Path(__file__).resolve().parents[3]
TEMPLATE: Final = ROOT / "template.yaml"
_BEGIN: Final = "  # --- generated ---\n"
_END: Final = "  # --- end of generated ---\n"


def files() -> dict[Path, str]:
    """Every generated file with its expected content."""
    from infra.ops.dashboards import grafana

    template = TEMPLATE.read_text(encoding="utf-8")
    head, _, rest = template.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    return {
        ROOT / "infra/ops/dashboards/cloudwatch.json": _pretty(cloudwatch.body()),
        ROOT / "infra/ops/dashboards/grafana.json": _pretty(grafana.document()),
        ROOT / "docs/runbook/metrics.md": metrics_page(),
        TEMPLATE: head + _BEGIN + "".join(_yaml(generated())) + _END + tail,
    }


def generated() -> dict[str, Any]:
    """The resources that belong between the two marks in the template."""
    found = dict(alarms.resources())
    found["Dashboard"] = {
        "Type": "AWS::CloudWatch::Dashboard",
        "Condition": "WatchesAll",
        "Properties": {
            "DashboardName": {"Fn::Sub": "${AWS::StackName}"},
            "DashboardBody": {"Fn::Sub": json.dumps(cloudwatch.body(), separators=(",", ":"))},
        },
    }
    for number, table in enumerate(PER_TOWN, start=1):
        found[f"QueryByTown{number}"] = {
            "Type": "AWS::Logs::QueryDefinition",
            "Properties": {
                "Name": {"Fn::Sub": f"${{AWS::StackName}}/{table.title}"},
                "LogGroupNames": [{"Ref": "TickLog"}, {"Ref": "WorkerLog"}],
                "QueryString": table.query,
            },
        }
    return found


def metrics_page() -> str:
    """The table of metrics for people."""
    lines = [
        "# Metrics",
        "",
        "`make dashboards` generates this page from `shared/telemetry/catalogue.py`. The namespace is `TownReconciler`, the",
        "dimensions are `service` and `stage`; the town's id is a property of the log line. In every scheduled minute, zeros are",
        "written for every metric; for those marked with * only if no town is due, because a zero would lower the mean of real",
        "ticks. With the profile `small`, only the metrics with + are series of CloudWatch; the others are properties of the same",
        "lines of the log.",
        "",
        "| Metric | Unit | Read as | Meaning | Alarms |",
        "|---|---|---|---|---|",
    ]
    for metric in METRICS:
        pages = ", ".join(f"[{alarm.name}]({alarm.name}.md)" for alarm in metric.alarms)
        star = "" if metric.idle_zero == "always" else " *"
        star += " +" if metric.name in SMALL else ""
        lines.append(
            f"| {metric.name}{star} | {metric.unit.value} | {metric.statistic.value} | {metric.meaning} | {pages} |"
        )
    by_type = ACTIONS_BY_TYPE
    lines.append(f"| {by_type.name} | {by_type.unit.value} | {by_type.statistic.value} | {by_type.meaning} | |")
    return "\n".join(lines) + "\n"


def _yaml(resources: dict[str, Any]) -> Iterator[str]:
    """YAML with one property per line, so that a change is one line of a diff. Values are JSON, which is also YAML."""
    for name, resource in resources.items():
        condition = f"    Condition: {resource['Condition']}\n" if "Condition" in resource else ""
        yield f"  {name}:\n    Type: {resource['Type']}\n{condition}    Properties:\n"
        for key, value in resource["Properties"].items():
            yield f"      {key}: {json.dumps(value)}\n"


def _pretty(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def main() -> int:
    """Write the stale files; with --check, only list them and return 1 if there are any."""
    stale = [path for path, content in files().items() if not path.exists() or path.read_text("utf-8") != content]
    for path in stale:
        print(f"{'stale' if '--check' in sys.argv else 'written'}: {path.relative_to(ROOT)}")
        if "--check" not in sys.argv:
            path.write_text(files()[path], encoding="utf-8")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
