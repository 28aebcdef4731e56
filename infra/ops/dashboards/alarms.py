"""The alarms as CloudFormation resources: alarms of the catalogue, and alarms on metrics of AWS services."""

from dataclasses import dataclass
from typing import Any, Final

from shared.telemetry.catalogue import METRICS, NAMESPACE, SERVICE, Alarm, Metric

PERIOD: Final = 60
"""Seconds for each datapoint. Metrics that CloudWatch extracts from log lines may arrive late, and one bad minute is usually
harmless, so many alarms require several datapoints (`points` of `periods`).
"""


@dataclass(frozen=True, slots=True)
class OfAws:
    """An alarm on a metric that an AWS service publishes for a queue, a function or the API of the template."""

    name: str
    resource: str
    namespace: str
    metric: str
    dimension: str
    of: dict[str, Any]
    says: str
    threshold: float = 0
    points: int = 1
    periods: int = 1


OF_AWS: Final = (
    OfAws(
        "wakes-dead",
        "AlarmWakesDead",
        "AWS/SQS",
        "ApproximateNumberOfMessagesVisible",
        "QueueName",
        {"Fn::GetAtt": ["WakesDead", "QueueName"]},
        "a wake failed five times and is in the dead-letter queue",
    ),
    OfAws(
        "ticks-dead",
        "AlarmTicksDead",
        "AWS/SQS",
        "ApproximateNumberOfMessagesVisible",
        "QueueName",
        {"Fn::GetAtt": ["TicksDead", "QueueName"]},
        "a scheduled invocation failed",
    ),
    OfAws(
        "dispatcher-fails",
        "AlarmDispatcherFails",
        "AWS/Lambda",
        "Errors",
        "FunctionName",
        {"Ref": "TickFunction"},
        "invocations of the dispatcher fail",
        points=3,
        periods=5,
    ),
    OfAws(
        "workers-fail",
        "AlarmWorkersFail",
        "AWS/Lambda",
        "Errors",
        "FunctionName",
        {"Ref": "WorkerFunction"},
        "invocations of the worker fail",
        points=3,
        periods=5,
    ),
    OfAws(
        "authorizer-fails",
        "AlarmAuthorizerFails",
        "AWS/Lambda",
        "Errors",
        "FunctionName",
        {"Ref": "AuthorizerFunction"},
        "the authorizer fails, so town tokens cannot be verified",
        points=2,
        periods=3,
    ),
    OfAws(
        "api-fails",
        "AlarmApiFails",
        "AWS/ApiGateway",
        "5xx",
        "ApiId",
        {"Ref": "Api"},
        "the API answers with 5xx errors",
        points=2,
        periods=3,
    ),
    OfAws(
        "workers-throttled",
        "AlarmWorkersThrottled",
        "AWS/Lambda",
        "Throttles",
        "FunctionName",
        {"Ref": "WorkerFunction"},
        "Lambda throttles the workers",
        points=3,
        periods=5,
    ),
)


SMALL: Final = frozenset(
    (
        "tick-slow-mean",
        "invariant-violated",
        "event-poisoned",
        "replay-diverged",
        "tick-missed",
        "town-fails",
        "town-waits-long",
        "dispatcher-fails",
        "workers-fail",
        "api-fails",
    )
)
"""The alarms of the profile `small`; ten are free. Deployments that alarms take back need those among them that are about ticks."""


def resources() -> dict[str, dict[str, Any]]:
    """Every alarm by its logical id."""
    found = {}
    for metric in METRICS:
        for alarm in metric.alarms:
            found[logical_id(alarm.name)] = _resource(_of_catalogue(metric, alarm), alarm.name, alarm.says)
    for each in OF_AWS:
        properties = {
            "Namespace": each.namespace,
            "MetricName": each.metric,
            "Dimensions": [{"Name": each.dimension, "Value": each.of}],
            "Statistic": "Maximum" if each.namespace == "AWS/SQS" else "Sum",
            "Threshold": each.threshold,
            "ComparisonOperator": "GreaterThanThreshold",
            "EvaluationPeriods": each.periods,
            "DatapointsToAlarm": each.points,
            "TreatMissingData": "notBreaching",
        }
        found[each.resource] = _resource(properties, each.name, each.says)
    return found


def names() -> list[str]:
    """The names of all alarms, which are also the names of their runbook pages."""
    return [alarm.name for metric in METRICS for alarm in metric.alarms] + [each.name for each in OF_AWS]


def logical_id(name: str) -> str:
    """The logical id of an alarm: `tick-missed` becomes AlarmTickMissed."""
    return "Alarm" + "".join(word.capitalize() for word in name.split("-"))


def _of_catalogue(metric: Metric, alarm: Alarm) -> dict[str, Any]:
    percentile = alarm.statistic.value.startswith("p")
    return {
        "Namespace": NAMESPACE,
        "MetricName": metric.name,
        "Dimensions": [{"Name": "service", "Value": SERVICE}, {"Name": "stage", "Value": {"Ref": "Stage"}}],
        ("ExtendedStatistic" if percentile else "Statistic"): alarm.statistic.value,
        "Threshold": alarm.threshold,
        "ComparisonOperator": "LessThanThreshold" if alarm.below else "GreaterThanThreshold",
        "EvaluationPeriods": alarm.periods,
        "DatapointsToAlarm": alarm.points,
        "TreatMissingData": alarm.missing,
    }


def _resource(properties: dict[str, Any], name: str, says: str) -> dict[str, Any]:
    """An alarm with its name, its action and a description that links its runbook page."""
    actions = [{"Fn::If": ["HasOwnTopic", {"Ref": "AlarmTopic"}, {"Ref": "AlarmTopicArn"}]}]
    about = {"Fn::Sub": f"{says[0].upper()}{says[1:]}. What to do: ${{RunbookUrl}}/{name}.md"}
    when = {} if name in SMALL else {"Condition": "WatchesAll"}
    named = {"AlarmName": {"Fn::Sub": "${AWS::StackName}-" + name}, "AlarmDescription": about, "AlarmActions": actions}
    return {"Type": "AWS::CloudWatch::Alarm", **when, "Properties": named | {"Period": PERIOD} | properties}
