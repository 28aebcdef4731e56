"""What `townctl doctor --stack` reads of AWS: each finding names its cause, and the command or the parameter that ends it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.buckets import TABLE_TAG, Bucket
from infra.devstack.waiting_tables import make_table
from infra.townctl import stack_checks
from infra.townctl.stack import Stack, Symptom
from infra.townctl.stack_secrets import StackParameters, StackSecrets
from shared.adapters.memory_objects import MemoryObjects
from shared.adapters.s3_objects import S3Objects
from shared.ports.secrets import Secret
from shared.storage import keys
from tests.contracts.transformed import template
from tests.unit.storage.images import NOON

PREFIX = "town-reconciler/dev"
FUNCTIONS = {
    f"{name}FunctionArn": f"arn:aws:lambda:eu-west-1:1:function:dev-{name}" for name in ("Tick", "Worker", "Events")
}


class Towns:
    """An API with one town."""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return {"towns": [{"townId": "one"}], "next": None}

    def report(self, path: str, body: bytes, token: str) -> Any:
        raise AssertionError("no check posts anything")


@dataclass
class Lambdas:
    """The Lambda and the CloudWatch of an account: free concurrency, and what each function did in the last hour."""

    free: int = 1000
    sums: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"UnreservedConcurrentExecutions": self.free}}

    def get_metric_data(self, *, MetricDataQueries: Any, StartTime: datetime, EndTime: datetime) -> dict[str, Any]:  # noqa: N803 - the SDK's names
        assert EndTime - StartTime == timedelta(hours=1)
        results = []
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            [dimension] = metric["Dimensions"]
            count = self.sums.get((dimension["Value"], metric["MetricName"]))
            results.append({"Id": query["Id"], "Values": [] if count is None else [float(count)]})
        return {"MetricDataResults": results}

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803 - as above
        return {"LoggingConfig": {"LogGroup": f"/aws/lambda/{FunctionName.rpartition('-')[2].lower()}"}}


@pytest.fixture
def aws(as_owner: None) -> Iterator[None]:
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="towns")
        yield


def stack(lambdas: Any = None, *, objects: Any = None, **parameters: str) -> Stack:
    fake = lambdas or Lambdas()
    defaults = {name: str(about["Default"]) for name, about in template()["Parameters"].items()}
    rules = '[{"callers": ["*"], "towns": ["*"], "verbs": ["read"]}]'

    def client(service: str) -> Any:
        return fake if service in ("lambda", "cloudwatch") else boto3.client(service)

    return Stack(
        outputs={"TownsBucket": "towns", "SecretsPrefix": PREFIX, **FUNCTIONS},
        client=client,
        objects=objects,
        keys=None,  # type: ignore[arg-type]
        api=Towns(),
        secrets=StackSecrets(PREFIX),
        parameters={**defaults, "AccessRules": rules, **parameters},
    )


def found(check: Callable[[Stack], Iterator[Symptom]], at: Stack) -> list[tuple[str, str]]:
    return [(each.problem, each.hint) for each in check(at)]


def test_the_defaults_of_the_template_fit() -> None:
    assert found(stack_checks.parameters, stack()) == []


@pytest.mark.parametrize(
    ("parameters", "problem", "hint"),
    [
        ({"AccessRules": "[]"}, "the API refuses every operator", "AccessRules"),
        ({"AlarmTopicArn": "arn:topic", "AlarmEmail": "me@example.com"}, "AlarmEmail has no effect", "subscribe"),
        ({"NoticeTopicArn": "arn:topic", "NoticeEmail": "me@example.com"}, "NoticeEmail has no effect", "subscribe"),
        (
            {"StoreEndpoint": "http://127.0.0.1:9000"},
            "StoreEndpoint names a server that is not AWS",
            "remove StoreEndpoint",
        ),
        ({"EcsCluster": "agents"}, "without EcsTaskPer, these have no effect: EcsCluster", "set EcsTaskPer"),
        ({"SnapshotDays": "3", "RestoreWindowDays": "9"}, "SnapshotDays is less than RestoreWindowDays", "at least"),
        ({"WorkerConcurrency": "1001"}, "only 1000 concurrent executions", "lower WorkerConcurrency"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named_with_what_to_change(
    parameters: dict[str, str], problem: str, hint: str
) -> None:
    [(said, told)] = found(stack_checks.parameters, stack(**parameters))
    assert problem in said
    assert hint in told
    assert "samconfig.toml" in told


@pytest.mark.parametrize(
    "name",
    [
        "platform/control-key", "platform/forges/github.com", "towns/one/forges/github.com", "towns/one/control-key",
        "agents/towns/one/forges/github.com", "agents/towns/one/rigs/r1/deploy-key", "towns/one/rigs/r1/forges/gitlab.com",
        "apps/github.com", "towns/one/forges/git.example.com",
    ],
)  # fmt: skip
def test_a_secret_that_a_function_reads_is_no_finding(aws: None, name: str) -> None:
    boto3.client("secretsmanager").create_secret(Name=f"{PREFIX}/{name}", SecretString="x")
    assert found(stack_checks.unread_secrets, stack(ForgeHosts="gitlab=git.example.com")) == []


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("towns/gone/forges/github.com", "there is no town gone"),
        ("agents/towns/gone/rigs/r1/deploy-key", "there is no town gone"),
        ("platform/forges/git.example.com", "no forge git.example.com is known"),
        ("platform/sentry-dsn", "while ReportToSentry is false"),
        ("platform/control-kee", "no function reads a secret of this name"),
        ("sentry-dsn", "no function reads a secret of this name"),
    ],
)
def test_a_secret_that_no_function_reads_is_found_with_the_command_that_removes_it(
    aws: None, name: str, problem: str
) -> None:
    boto3.client("secretsmanager").create_secret(Name=f"{PREFIX}/{name}", SecretString="x")
    [(said, hint)] = found(stack_checks.unread_secrets, stack())
    assert problem in said
    assert f"remove {PREFIX}/{name} with `aws secretsmanager delete-secret`" in hint


def test_a_secret_whose_name_lacks_the_stage_is_found(aws: None) -> None:
    """The documentation named secrets so, and every one of them was read as missing."""
    client = boto3.client("secretsmanager")
    for name in ("town-reconciler/platform/control-key", "town-reconciler/prod/platform/control-key"):
        client.create_secret(Name=name, SecretString="x")
    [(said, _)] = found(stack_checks.unread_secrets, stack())
    assert f"its name lacks the stage, as in {PREFIX}/platform/control-key" in said


def test_secrets_that_are_only_where_no_function_looks_are_found_with_the_command_that_copies_them(aws: None) -> None:
    """A stack whose SecretsStore was changed without them merged nothing any more."""
    parameters = StackParameters(PREFIX)
    at = replace(stack(), outputs={"SecretsPrefix": f"/{PREFIX}"}, secrets=parameters)
    for name in ("platform/control-key", "platform/forges/github.com", "platform/sentry-dsn"):
        StackSecrets(PREFIX).put(name, Secret("x"))
    parameters.put("platform/control-key", Secret("x"))

    [(said, hint)] = found(stack_checks.secrets_elsewhere, at)
    assert said.endswith(
        "no function looks into AWS Secrets Manager, and these are only there: platform/forges/github.com"
    )
    assert hint.startswith(f"copy them from {PREFIX} with `townctl secret copy`")

    parameters.put("platform/forges/github.com", Secret("x"))
    assert found(stack_checks.secrets_elsewhere, at) == []


@pytest.mark.parametrize(("seconds", "says"), [(0, None), (29, None), (-40, "ahead of"), (40, "behind")])
def test_a_clock_that_disagrees_with_the_bucket_is_found(seconds: int, says: str | None) -> None:
    store = MemoryObjects(now=lambda: datetime.now(UTC) + timedelta(seconds=seconds))
    symptoms = found(stack_checks.clock, stack(objects=store))
    assert [says in said for said, _ in symptoms if says] == ([] if says is None else [True])
    assert len(symptoms) == (says is not None)


def test_a_bucket_without_past_versions_or_with_other_rules_is_found(aws: None) -> None:
    from infra.townctl.bucket_rules import lifecycle

    [(none, enable), (ever, _)] = found(stack_checks.versions, stack())
    assert "keeps no past versions" in none
    assert "aws s3api put-bucket-versioning --bucket towns --versioning-configuration Status=Enabled" in enable
    assert "keeps past versions for ever" in ever
    client = boto3.client("s3")
    client.put_bucket_versioning(Bucket="towns", VersioningConfiguration={"Status": "Enabled"})
    client.put_bucket_lifecycle_configuration(Bucket="towns", LifecycleConfiguration=lifecycle(7))
    assert found(stack_checks.versions, stack(HeadVersionDays="7")) == []
    [(other, _)] = found(stack_checks.versions, stack(HeadVersionDays="2"))
    assert other == "the bucket keeps past versions for 7 days; HeadVersionDays says 2"


def test_a_tag_that_is_wrong_and_markers_that_nobody_reads_are_found(aws: None) -> None:
    def tag(name: str) -> None:
        boto3.client("s3").put_bucket_tagging(Bucket="towns", Tagging={"TagSet": [{"Key": TABLE_TAG, "Value": name}]})

    make_table(boto3.client("dynamodb"), "waiting")
    objects = S3Objects("towns")
    in_table = Bucket("towns").table_named("waiting", objects)

    def said(**parameters: str) -> list[tuple[str, str]]:
        at = stack(objects=objects, **parameters)
        return found(stack_checks.waiting_room, replace(at, outputs={**at.outputs, "WaitingTable": "waiting"}))

    assert found(stack_checks.waiting_room, stack(objects=objects)) == []
    [(missing, hint)] = said()
    assert missing == "the tag waiting-table of the bucket is missing, and events wait in waiting"
    assert "set TOWNCTL_TABLE" in hint
    tag("waiting")
    assert said() == []
    in_table.put(keys.due_marker("t1", NOON).key, b"")
    assert said() == []
    objects.put(keys.due_marker("t1", NOON).key, b"")
    assert said() == [
        ("due markers were left in the bucket, where nobody reads them", "call `townctl bucket gather`"),
    ]
    tag("none")
    [(left, call)] = said(WaitingRoom="bucket")
    assert left == "due markers were left in the table waiting, where nobody reads them"
    assert call == "call `townctl bucket gather --from-table waiting`"


def test_errors_and_throttles_of_the_last_hour_are_found_with_the_command_that_shows_them() -> None:
    assert found(stack_checks.last_hour, stack()) == []
    busy = Lambdas(sums={("dev-Worker", "Errors"): 3, ("dev-Events", "Throttles"): 1, ("dev-Tick", "Errors"): 0})
    failed, throttled = found(stack_checks.last_hour, stack(busy))
    assert failed[0] == "3 calls of WorkerFunction failed in the last hour"
    assert "aws logs tail /aws/lambda/worker --since 1h`" in failed[1]
    assert "docs/runbook/workers-fail.md" in failed[1]
    assert throttled[0] == "1 call of EventsFunction throttled in the last hour"
