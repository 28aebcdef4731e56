"""What `townctl doctor --stack` reads of AWS without touching a town: parameters, secrets, the clock, the bucket, the last hour."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from functions.secret_stores import are_parameters
from infra.buckets import NO_TABLE, TABLE_TAG, Bucket
from infra.townctl.bucket_rules import days_of_past_versions
from infra.townctl.stack import Stack, Symptom
from infra.townctl.stack_secrets import SENTRY_DSN, secrets_of_stack
from infra.townctl.wording import quantity
from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost
from shared.adapters.forge_tokens import secret_name
from shared.adapters.ssm_parameters import parameter_of
from shared.domain.errors import AccessDenied
from shared.domain.limits import CLOCKS_AGREE_WITHIN
from shared.storage import keys

_DEPLOY: Final = "in samconfig.toml, then `sam deploy`"
_KINDS: Final = ("platform", "towns", "agents", "apps")
"""The first part of every name that a function reads."""

_OF_THE_PLATFORM: Final = ("control-key", "sentry-dsn")
_METRICS: Final = ("Errors", "Throttles")
_PAGES: Final = {
    "TickFunction": "dispatcher-fails", "WorkerFunction": "workers-fail", "RetentionFunction": "retention-fails",
    "AuthorizerFunction": "authorizer-fails",
}  # fmt: skip
"""The page of the runbook about errors of a function; for the others, the page about the API."""


def parameters(stack: Stack) -> Iterator[Symptom]:
    """Parameters that have no effect, that contradict each other, or that stop a function."""
    given = stack.parameters

    def symptom(problem: str, hint: str) -> Symptom:
        return Symptom("parameters", problem, hint)

    if given.get("AccessRules", "x").strip() == "[]":
        yield symptom("AccessRules is empty: the API refuses every operator", f"add a rule to AccessRules {_DEPLOY}")
    if given.get("AlarmTopicArn") and given.get("AlarmEmail"):
        problem = "AlarmEmail has no effect, because alarms notify AlarmTopicArn"
        yield symptom(problem, f"subscribe the address to that topic, or remove one of the two {_DEPLOY}")
    if given.get("NoticeTopicArn") and given.get("NoticeEmail"):
        problem = "NoticeEmail has no effect, because notices are sent to NoticeTopicArn"
        yield symptom(problem, f"subscribe the address to that topic, or remove one of the two {_DEPLOY}")
    for name in ("StoreEndpoint", "TableEndpoint", "QueueEndpoint", "SecretsEndpoint"):
        if given.get(name):
            problem = f"{name} names a server that is not AWS, so every function that uses it stops at its start"
            yield symptom(problem, f"remove {name} {_DEPLOY}")
    if not given.get("EcsTaskPer"):
        ignored = sorted(
            name for name in ("EcsCluster", "EcsTaskDefinition", "EcsRoles", "EcsSubnets") if given.get(name)
        )
        if ignored:
            problem = f"without EcsTaskPer, these have no effect: {', '.join(ignored)}"
            yield symptom(problem, f"set EcsTaskPer to agent or town {_DEPLOY}")
    if int(given.get("SnapshotDays", 30)) < int(given.get("RestoreWindowDays", 7)):
        problem = (
            "SnapshotDays is less than RestoreWindowDays, and has no effect: snapshots are kept for the restore window"
        )
        yield symptom(problem, f"set SnapshotDays to at least RestoreWindowDays {_DEPLOY}")
    limits = stack.client("lambda").get_account_settings()["AccountLimit"]
    free, workers = int(limits["UnreservedConcurrentExecutions"]), int(given.get("WorkerConcurrency", 0))
    if workers > free:
        problem = f"WorkerConcurrency is {workers}, but only {free} concurrent executions of the account are unreserved"
        yield symptom(problem, f"lower WorkerConcurrency {_DEPLOY}, or request a higher quota")


def unread_secrets(stack: Stack) -> Iterator[Symptom]:
    """Secrets below the prefix that no function reads, and those that are stored beside it, without the stage."""
    if stack.secrets is None:
        return
    towns = set(_towns(stack))
    own = (ForgeHost.from_text(text) for text in stack.parameters.get("ForgeHosts", "").split(",") if text)
    hosts = {secret_name(each.host).rpartition("/")[2] for each in (*USUAL_HOSTS, *own)}
    for name in stack.secrets.names():
        if (problem := _why_unread(name, towns, hosts, stack.parameters)) is not None:
            full = f"{stack.outputs['SecretsPrefix']}/{name}"
            hint = f"remove {full} with `aws secretsmanager delete-secret`; it can be recovered for a month"
            if are_parameters(full):
                parameter = parameter_of(stack.outputs["SecretsPrefix"], name)
                hint = f"remove it with `aws ssm delete-parameter --name {parameter}`"
            yield Symptom(f"secret {name}", problem, hint)
    prefix, _, stage = stack.outputs.get("SecretsPrefix", "").rpartition("/")
    for name in _beside(stack, prefix):
        problem = f"no function reads it: its name lacks the stage, as in {prefix}/{stage}/{name}"
        yield Symptom(f"secret {prefix}/{name}", problem, "store it again under that name, and delete this one")


def secrets_elsewhere(stack: Stack) -> Iterator[Symptom]:
    """Secrets that are only in the service that SecretsStore does not name, as after a change of it: functions do not find them."""
    if stack.secrets is None:
        return
    prefix = stack.outputs["SecretsPrefix"]
    other = secrets_of_stack(prefix.strip("/") if are_parameters(prefix) else f"/{prefix}")
    try:
        missing = sorted({*other.names()} - {*stack.secrets.names(), SENTRY_DSN})
    except AccessDenied:
        return  # who may not list that service has stored nothing in it
    if missing:
        problem = f"no function looks into {other.service}, and these are only there: {', '.join(missing)}"
        hint = f"copy them from {other.prefix} with `townctl secret copy` (docs/runbook/deploy.md), and then remove the old ones"
        yield Symptom("secrets", problem, hint)


def _towns(stack: Stack) -> Iterator[str]:
    after: str | None = ""
    while after is not None:
        page = stack.api.ask("GET", f"/api/towns?after={after}" if after else "/api/towns")
        yield from (str(town["townId"]) for town in page["towns"])
        after = page["next"]


def _why_unread(name: str, towns: set[str], hosts: set[str], given: Mapping[str, str]) -> str | None:
    """Why no function reads a secret; None if one does."""
    parts = name.split("/")
    if parts[0] not in _KINDS or len(parts) < 2:
        return "no function reads a secret of this name"
    if name == "platform/sentry-dsn" and given.get("ReportToSentry", "true") != "true":
        return "no deployment reads it while ReportToSentry is false"
    if parts[0] == "agents":
        parts = parts[1:]
    if parts[0] == "towns" and parts[1] not in towns and "=" not in parts[1]:
        return f"there is no town {parts[1]}"
    if parts[0] == "platform" and len(parts) == 2 and parts[1] not in _OF_THE_PLATFORM:
        return "no function reads a secret of this name"
    if len(parts) > 2 and parts[-2] == "forges" and parts[-1] not in hosts:
        return f"no forge {parts[-1]} is known; ForgeHosts names those that are self-hosted"
    return None


def _beside(stack: Stack, prefix: str) -> Iterator[str]:
    """The names below the prefix that begin where the stage should stand."""
    if not prefix:
        return
    if are_parameters(prefix):
        yield from _without_a_stage(secrets_of_stack(prefix).names())
        return
    below = f"{prefix}/"
    pages = stack.client("secretsmanager").get_paginator("list_secrets")
    for page in pages.paginate(Filters=[{"Key": "name", "Values": [below]}]):
        names = (str(each["Name"]).removeprefix(below) for each in page["SecretList"] if each["Name"].startswith(below))
        yield from _without_a_stage(names)


def _without_a_stage(names: Iterable[str]) -> Iterator[str]:
    yield from (name for name in names if name.partition("/")[0] in _KINDS and "/" in name)


def clock(stack: Stack) -> Iterator[Symptom]:
    """Whether this machine's clock agrees with that of the bucket. The functions compare theirs before each tick."""
    ahead = datetime.now(UTC) - stack.objects.time()
    if abs(ahead) > CLOCKS_AGREE_WITHIN:
        said = f"{abs(ahead).total_seconds():.0f} s {'ahead of' if ahead > timedelta() else 'behind'} the bucket's"
        hint = "set it with `sudo timedatectl set-ntp true`; AWS refuses signatures of a wrong time"
        yield Symptom("clock", f"the clock of this machine is {said}", hint)


def waiting_room(stack: Stack) -> Iterator[Symptom]:
    """Whether the bucket names the table in which its events wait, and whether some were left where nobody reads them."""
    table = stack.outputs.get("WaitingTable")
    if table is None:
        return  # a stack from before there were tables
    used = table if stack.parameters.get("WaitingRoom", "table") == "table" else NO_TABLE
    tags = stack.objects.tags()
    if tags.get(TABLE_TAG) != used:
        problem = f"the tag {TABLE_TAG} of the bucket is {tags.get(TABLE_TAG, 'missing')}, and events wait in {used}"
        yield Symptom("waiting room", problem, "deploy the stack again; until then, set TOWNCTL_TABLE to that name")
    bucket = Bucket(stack.outputs["TownsBucket"])
    if used == table:
        status = stack.client("dynamodb").describe_table(TableName=table)["Table"]["TableStatus"]
        if status not in ("ACTIVE", "UPDATING"):
            yield Symptom("waiting room", f"the table {table} is {status}", "see docs/runbook/waiting-room.md")
        left, call = stack.objects.list(keys.DUE, limit=1), "townctl bucket gather"
    else:
        there = bucket.table_named(table, stack.objects)
        left, call = there.list(keys.DUE, limit=1), f"townctl bucket gather --from-table {table}"
    if left.keys:
        where = "the bucket" if used == table else f"the table {table}"
        yield Symptom("waiting room", f"due markers were left in {where}, where nobody reads them", f"call `{call}`")


def versions(stack: Stack) -> Iterator[Symptom]:
    """Whether the bucket keeps replaced heads, and for how long."""
    bucket = stack.outputs.get("TownsBucket")
    if bucket is None:
        return
    client = stack.client("s3")
    if client.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
        problem = "the bucket keeps no past versions, so a town can be restored to its snapshots and spills only"
        put = f"aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled"
        yield Symptom("versions", problem, f"enable them: `{put}`")
    wanted = int(stack.parameters.get("HeadVersionDays", 2))
    days = days_of_past_versions(client, bucket)
    if days != wanted:
        kept = "for ever" if days is None else f"for {quantity(days, 'day')}"
        problem = f"the bucket keeps past versions {kept}; HeadVersionDays says {wanted}"
        yield Symptom("versions", problem, "its lifecycle rules were changed; deploy the stack again")


def last_hour(stack: Stack) -> Iterator[Symptom]:
    """Errors and throttled calls of each function in the last hour."""
    functions = {name.removesuffix("Arn"): arn for name, arn in stack.outputs.items() if name.endswith("FunctionArn")}
    now = datetime.now(UTC)
    queries = [
        {
            "Id": f"m{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/Lambda",
                    "MetricName": metric,
                    "Dimensions": [{"Name": "FunctionName", "Value": arn.rpartition(":")[2]}],
                },
                "Period": 3600,
                "Stat": "Sum",
            },
        }
        for number, (arn, metric) in enumerate((arn, metric) for arn in functions.values() for metric in _METRICS)
    ]
    if not queries:
        return
    found = stack.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries, StartTime=now - timedelta(hours=1), EndTime=now
    )
    sums = {each["Id"]: int(sum(each["Values"])) for each in found["MetricDataResults"]}
    named = [(name, metric) for name in functions for metric in _METRICS]
    for number, (name, metric) in enumerate(named):
        count = sums.get(f"m{number}", 0)
        if count > 0:
            yield _of_an_hour(stack, name, functions[name], metric, count)


def _of_an_hour(stack: Stack, name: str, arn: str, metric: str, count: int) -> Symptom:
    if metric == "Throttles":
        problem = f"{quantity(count, 'call')} of {name} throttled in the last hour"
        return Symptom("last hour", problem, "follow docs/runbook/workers-throttled.md, or request a higher quota")
    configuration: Mapping[str, Any] = stack.client("lambda").get_function_configuration(FunctionName=arn)
    group = configuration.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{arn.rpartition(':')[2]}")
    problem = f"{quantity(count, 'call')} of {name} failed in the last hour"
    look = f"aws logs tail {group} --since 1h"
    return Symptom(
        "last hour", problem, f"look with `{look}`, then follow docs/runbook/{_PAGES.get(name, 'api-fails')}.md"
    )
