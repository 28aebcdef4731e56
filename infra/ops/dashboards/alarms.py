"""The alarms as CloudFormation resources: those of the catalogue, and those on what AWS itself measures."""

from dataclasses import dataclass
from typing import Any, Final

from shared.telemetry.catalogue import METRICS, NAMESPACE, SERVICE, Alarm, Metric

PERIOD: Final = 60


@dataclass(frozen=True, slots=True)
class OfAws:
    """An alarm on a metric that AWS keeps: of a queue or of a function of the template."""

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
        "wakes of a town failed five times",
    ),
    OfAws(
        "ticks-dead",
        "AlarmTicksDead",
        "AWS/SQS",
        "ApproximateNumberOfMessagesVisible",
        "QueueName",
        {"Fn::GetAtt": ["TicksDead", "QueueName"]},
        "calls of the schedule failed",
    ),
    OfAws(
        "dispatcher-fails",
        "AlarmDispatcherFails",
        "AWS/Lambda",
        "Errors",
        "FunctionName",
        {"Ref": "TickFunction"},
        "the dispatcher itself fails",
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
        "workers end with errors",
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
        "town tokens cannot be judged",
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
        "the API answers with errors of its own",
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
        "workers are throttled",
        points=3,
        periods=5,
    ),
)


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
    """The name of every alarm, which is that of its runbook page too."""
    return [alarm.name for metric in METRICS for alarm in metric.alarms] + [each.name for each in OF_AWS]


def logical_id(name: str) -> str:
    """`tick-missed` is AlarmTickMissed."""
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
    """EMF extraction may lag, hence M out of N where one point is no reason to wake anybody."""
    actions = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    about = {"Fn::Sub": f"{says[0].upper()}{says[1:]}. What to do: ${{RunbookUrl}}/{name}.md"}
    named = {"AlarmName": {"Fn::Sub": "${AWS::StackName}-" + name}, "AlarmDescription": about, "AlarmActions": actions}
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": named | {"Period": PERIOD} | properties}
