"""What the template promises, checked on the transformed template that CloudFormation sees."""

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import pytest

from functions.api import BESIDES
from functions.archive import app as archive
from functions.credentials import app as credentials
from functions.debug import app as debug
from functions.events import app as events
from functions.paths import OTHER_PATHS
from functions.redrive import app as redrive
from functions.schedule import ScheduledCall
from infra.ops.dashboards import alarms
from shared.adapters.forge_tokens import agents_secret_name, rig_secret_name, secret_name
from shared.telemetry.catalogue import BY_NAME, NAMESPACE
from tests.contracts.deployments import ON_ECS, SETTINGS, deployed, refused
from tests.contracts.roles import BUCKET, TABLE_ARN, Right, Stack
from tests.contracts.transformed import actions, resources, routes, statements, template
from tests.conventions.sources import ROOT
from tests.patience import PATIENCE_SECONDS

FUNCTIONS = [
    "TickFunction",
    "WorkerFunction",
    "EventsFunction",
    "RedriveFunction",
    "ArchiveFunction",
    "AuthorizerFunction",
    "DebugFunction",
    "CredentialsFunction",
    "RetentionFunction",
]
AGENTS = "/api/agents/towns/{townId}"
TOKEN_ROUTES = {
    ("POST", "/api/towns/{townId}/events"),
    ("PUT", "/api/towns/{townId}/agents/{agentId}/log"),
    ("POST", "/api/towns/{townId}/agents/{agentId}/refresh-token"),
    *((route.method, route.path) for route in debug.ROUTES if route.path.startswith(AGENTS)),
}


@pytest.mark.parametrize("path", ["template.yaml", "build/template.json", "build/template-gradual.json"])
def test_cfn_lint_finds_nothing(path: str) -> None:
    assert template() != template(gradual=True)
    command = [str(Path(sys.executable).parent / "cfn-lint"), "--regions", "eu-west-1", "--", str(ROOT / path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5 * PATIENCE_SECONDS)
    assert (done.returncode, done.stdout) == (0, "")


LINK_ROUTES = {(method, "/acknowledge/{link}") for method in ("GET", "HEAD", "POST")}
"""The link itself is the credential."""


def test_every_route_requires_authentication_except_the_links_in_notices() -> None:
    assert set(routes()) >= LINK_ROUTES
    for route, operation in routes().items():
        wanted = "TownToken" if route in TOKEN_ROUTES else "AWS_IAM"
        assert operation.get("security") == (None if route in LINK_ROUTES else [{wanted: []}]), route


def test_a_route_that_everybody_may_call_has_little_room() -> None:
    [stage] = resources("AWS::ApiGatewayV2::Stage").values()
    assert set(stage["RouteSettings"]) == {f"{method} {path}" for method, path in LINK_ROUTES}
    defaults = {name: about.get("Default") for name, about in template()["Parameters"].items()}
    for settings in stage["RouteSettings"].values():
        assert settings["ThrottlingRateLimit"] < defaults["ApiRate"] / 10
        assert settings["ThrottlingBurstLimit"] < defaults["ApiBurst"] / 5


def test_every_route_of_the_code_is_a_route_of_the_gateway_and_leads_to_its_function() -> None:
    wired = {}
    for route, operation in routes().items():
        uri = json.dumps(operation["x-amazon-apigateway-integration"]["uri"])
        wired[route] = next(name for name in FUNCTIONS if name in uri)
    functions = {
        "events": "EventsFunction",
        "redrive": "RedriveFunction",
        "archive": "ArchiveFunction",
        "debug": "DebugFunction",
    }
    written = {(route.method, route.path): functions["events"] for route in events.ROUTES}
    written |= {(route.method, route.path): functions["debug"] for route in debug.ROUTES}
    written |= {(route.method, route.path): "RedriveFunction" for route in redrive.ROUTES}
    written |= {(route.method, route.path): "ArchiveFunction" for route in archive.ROUTES}
    written |= {(route.method, route.path): "CredentialsFunction" for route in credentials.ROUTES}
    assert wired == written | {(method, path): functions[name] for method, path, name, _ in BESIDES}


def test_the_debug_function_knows_every_method_of_the_paths_that_other_functions_have() -> None:
    methods: dict[str, set[str]] = {}
    others = (*events.ROUTES, *redrive.ROUTES, *archive.ROUTES, *credentials.ROUTES)
    for route in (*others, *debug.ROUTES):
        methods.setdefault(route.path, set()).add(route.method)
    assert {path: set(known) for path, known in OTHER_PATHS.items()} == {
        path: methods[path] for path in {route.path for route in others}
    }


def test_the_authorizer_of_town_tokens_is_our_function_and_its_answers_are_cached_by_token() -> None:
    [api] = resources("AWS::ApiGatewayV2::Api").values()
    schemes = api["Body"]["components"]["securitySchemes"]
    found = schemes["TownToken"]["x-amazon-apigateway-authorizer"]
    assert found["type"] == "request"
    assert found["identitySource"] == ["$request.header.Authorization"]
    assert found["authorizerPayloadFormatVersion"] == "2.0"
    assert found["enableSimpleResponses"] is True
    assert found["authorizerResultTtlInSeconds"] <= 60
    assert "AuthorizerFunction" in json.dumps(found["authorizerUri"])
    assert schemes["AWS_IAM"]["x-amazon-apigateway-authtype"] == "awsSigv4"


def test_debug_can_only_read() -> None:
    assert actions("DebugFunction") == {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"}
    for statement in statements("DebugFunction"):
        if "s3:GetObjectVersion" in statement["Action"]:
            assert statement["Resource"] == {"Fn::Sub": "${Towns.Arn}/towns/*"}
        elif "s3:GetObject" in statement["Action"]:
            assert statement["Resource"] == {"Fn::Sub": "${Towns.Arn}/watch/apart/*"}


def test_dispatcher_and_worker_may_touch_their_prefixes_and_nothing_else() -> None:
    towns = {"s3:GetObject", "s3:ListBucket", "s3:PutObject", "s3:DeleteObject"}
    towns |= {"secretsmanager:GetSecretValue"}
    assert actions("WorkerFunction") == towns | {"sqs:ChangeMessageVisibility"}
    assert actions("TickFunction") == towns | {"sqs:SendMessage"}
    for function in ("TickFunction", "WorkerFunction"):
        for statement in statements(function):
            named = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            for resource in named:
                if "s3:ListBucket" in statement["Action"]:
                    assert resource == {"Fn::GetAtt": ["Towns", "Arn"]}
                    assert statement["Condition"] == {
                        "StringLikeIfExists": {"s3:prefix": ["towns/*", "due/*", "watch/*"]}
                    }
                elif "secretsmanager:GetSecretValue" in statement["Action"]:
                    ours = {"Ref": "TownTokenKey"}
                    assert resource == ours or resource["Fn::Sub"].endswith(":secret:${SecretsPrefix}/${Stage}/*")
                elif statement["Action"] == "sqs:ChangeMessageVisibility":
                    assert resource == {"Fn::GetAtt": ["Wakes", "Arn"]}
                elif statement["Action"] != "sqs:SendMessage":
                    assert resource["Fn::Sub"].removeprefix("${Towns.Arn}/").split("/")[0] in ("towns", "watch")


def _listed(resource: Any) -> list[Any]:
    return resource if isinstance(resource, list) else [resource]


def test_only_the_archive_may_delete_heads_and_versions_and_only_it_and_retention_may_delete_history() -> None:
    allowed = {
        function: [name["Fn::Sub"].removeprefix("${Towns.Arn}/") for name in _listed(statement["Resource"])]
        for function in FUNCTIONS
        for statement in statements(function)
        if "s3:DeleteObject" in _listed(statement["Action"])
    }
    assert allowed == {
        "EventsFunction": ["watch/apart/*"],
        "ArchiveFunction": ["towns/*", "bodies/*", "watch/apart/*", "watch/violated/*"],
        "TickFunction": ["watch/*"],
        "WorkerFunction": ["watch/*"],
        "RetentionFunction": [
            "towns/*/ltx/*",
            "towns/*/patches/*",
            "towns/*/journal/*",
            "towns/*/archive/index/*",
            "towns/*/logs/*",
        ],
    }
    assert [each for each in FUNCTIONS if "s3:DeleteObjectVersion" in actions(each)] == ["ArchiveFunction"]


def test_the_archive_writes_nothing_of_a_town_but_its_head_and_where_that_is_kept() -> None:
    stack = Stack(WaitingRoom="table")
    shown = {
        key: stack.allows(
            "ArchiveFunctionRole", Right("s3:PutObject", f"arn:aws:s3:::{BUCKET}/{key}", {"s3:if-match": "e"})
        )
        for key in (
            "towns/t1/head",
            "towns/t1/put-away",
            "towns/t1/ltx/x",
            "towns/t1/journal/x",
            "watch/apart/t1",
            "due/x/t1",
        )
    }
    assert [key for key, allowed in shown.items() if allowed] == ["towns/t1/head", "towns/t1/put-away"]
    versions = [each["Resource"] for each in statements("ArchiveFunction") if "Version" in str(each["Action"])]
    assert versions[1:] == [[{"Fn::Sub": "${Towns.Arn}/towns/*/head"}, {"Fn::Sub": "${Towns.Arn}/towns/*/put-away"}]]


WHAT_WAITS = (
    "dynamodb:GetItem waiting",
    "dynamodb:Query waiting",
    "dynamodb:PutItem waiting",
    "dynamodb:DeleteItem waiting",
    *(f"s3:{verb}Object {key}" for verb in ("Get", "Put", "Delete") for key in ("due/x/t1", "bodies/x")),
    "s3:DeleteObject towns/t1/inbox/x",
    "s3:PutObjectTagging towns/t1/inbox/x",
)


def test_each_function_may_do_with_what_waits_what_it_does_and_only_where_it_waits() -> None:
    def allowed(function: str, room: str) -> list[str]:
        stack = Stack(WaitingRoom=room)
        arns = {
            each: TABLE_ARN if " waiting" in each else f"arn:aws:s3:::{BUCKET}/{each.split(' ')[1]}"
            for each in WHAT_WAITS
        }
        return [each for each, arn in arns.items() if stack.allows(f"{function}Role", Right(each.split(" ")[0], arn))]

    table, bodies = list(WHAT_WAITS[:4]), [each for each in WHAT_WAITS if "bodies" in each]
    left = ["s3:DeleteObject due/x/t1", "s3:DeleteObject towns/t1/inbox/x"]
    in_bucket = [each for each in WHAT_WAITS if "due/" in each or "inbox" in each]
    assert set(allowed("WorkerFunction", "table")) == {*table, *bodies}
    assert set(allowed("TickFunction", "table")) == {*table, *bodies, *left}
    assert set(allowed("EventsFunction", "table")) == {*table[:3], *bodies}
    assert set(allowed("DebugFunction", "table")) == {*table[:2], bodies[0]}
    assert set(allowed("WorkerFunction", "bucket")) == set(in_bucket)
    assert set(allowed("TickFunction", "bucket")) == set(in_bucket)
    assert set(allowed("EventsFunction", "bucket")) == {each for each in in_bucket if "Delete" not in each}
    assert set(allowed("ArchiveFunction", "table")) == {*table, bodies[2], left[1]}
    assert set(allowed("ArchiveFunction", "bucket")) == {*in_bucket, bodies[2]}
    for room in ("table", "bucket"):
        assert allowed("RedriveFunction", room) == allowed("EventsFunction", room)
        for function in ("CredentialsFunction", "AuthorizerFunction"):
            assert allowed(function, room) == []
    assert set(allowed("RetentionFunction", "table")) == {table[0], *(each for each in bodies if "Put" not in each)}
    assert allowed("RetentionFunction", "bucket") == []
    assert allowed("DebugFunction", "bucket") == []


def test_retention_reads_and_deletes_but_writes_nothing() -> None:
    reads = {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions"}
    assert actions("RetentionFunction") == reads | {"s3:DeleteObject", "sqs:SendMessage"}


def test_the_events_function_creates_towns_and_never_replaces_one() -> None:
    [heads] = [each for each in statements("EventsFunction") if "head" in json.dumps(each["Resource"])]
    assert heads["Condition"] == {"Null": {"s3:if-none-match": "false"}}
    assert heads["Action"] == "s3:PutObject"
    writes = [each for each in statements("EventsFunction") if "s3:PutObject" in _listed(each["Action"])]
    others = [each for each in writes if each != heads]
    assert [each["Resource"] for each in others] == [{"Fn::Sub": "${Towns.Arn}/towns/*/logs/*"}]


def test_a_redrive_reads_towns_and_wakes_workers_and_may_nothing_else_but_post() -> None:
    reads = {"s3:GetObject", "s3:ListBucket", "secretsmanager:GetSecretValue"}
    assert actions("RedriveFunction") == {*reads, "sqs:SendMessage"}
    [secret] = [each for each in statements("RedriveFunction") if "secretsmanager" in each["Action"]]
    assert secret["Resource"] == {"Ref": "TownTokenKey"}  # with which links are signed


def test_the_authorizer_reads_its_secret_and_nothing_else() -> None:
    [statement] = statements("AuthorizerFunction")
    assert (statement["Action"], statement["Resource"]) == ("secretsmanager:GetSecretValue", {"Ref": "TownTokenKey"})


def test_the_credentials_function_reads_images_and_what_is_stored_for_agents_and_writes_nothing() -> None:
    assert actions("CredentialsFunction") == {"s3:GetObject", "s3:ListBucket", "secretsmanager:GetSecretValue"}
    [secrets] = [each for each in statements("CredentialsFunction") if "secretsmanager" in each["Action"]]
    below = [each["Fn::Sub"].partition(":secret:")[2] for each in secrets["Resource"]]
    assert below == [
        "${SecretsPrefix}/${Stage}/agents/*",
        "${SecretsPrefix}/${Stage}/apps/*",
    ]
    [images] = [each for each in statements("CredentialsFunction") if each["Action"] == "s3:GetObject"]
    assert [each["Fn::Sub"] for each in images["Resource"]] == [
        "${Towns.Arn}/towns/*/head",
        "${Towns.Arn}/towns/*/ltx/*",
        "${Towns.Arn}/towns/*/patches/*",
    ]


def test_a_pattern_of_what_is_stored_for_agents_fits_no_other_secret() -> None:
    [secrets] = [each for each in statements("CredentialsFunction") if "secretsmanager" in each["Action"]]
    patterns = [each["Fn::Sub"].partition("/${Stage}/")[2] for each in secrets["Resource"]]
    towns = ["t1", "agents", "agents/forges/x", "apps", "../agents"]
    others = [
        secret_name("github.com", town_id=town, rig_id=rig)
        for town in towns
        for rig in (None, "agents", "agents/forges/r", "../../../agents")
    ]
    others += [secret_name("github.com"), "platform/control-key", "platform/sentry-dsn", "towns/t1/control-key"]
    assert [name for name in others if any(fnmatchcase(name, pattern) for pattern in patterns)] == []
    ours = [agents_secret_name("github.com", town_id="t1", rig_id=rig) for rig in (None, "r1")]
    whats: tuple[Literal["deploy-key", "known-hosts"], ...] = ("deploy-key", "known-hosts")
    ours += [rig_secret_name(what, town_id="t1", rig_id=rig) for what in whats for rig in ("r1", "../r", "a/b")]
    assert all(any(fnmatchcase(name, pattern) for pattern in patterns) for name in ours)
    assert all(name.startswith("agents/towns/t1/") and "/../" not in name for name in ours)


def test_roles_have_no_managed_policies_except_those_for_logs_and_the_queue() -> None:
    roles = {name: each["Properties"] for name, each in deployed().items() if each["Type"] == "AWS::IAM::Role"}
    for name, role in roles.items():
        for managed in role.get("ManagedPolicyArns", ()):
            shown = json.dumps(managed)
            assert "AWSLambdaBasicExecutionRole" in shown or "AWSLambdaSQSQueueExecutionRole" in shown, name


def test_no_statement_allows_everything() -> None:
    for function in FUNCTIONS:
        for statement in statements(function):
            assert statement["Resource"] != "*"
            assert not any(action.endswith("*") for action in actions(function))


def schedule_of(function: str) -> dict[str, Any]:
    schedules = [each["Properties"] for each in deployed().values() if each["Type"] == "AWS::Scheduler::Schedule"]
    [found] = [each for each in schedules if each["Target"]["Arn"] == {"Fn::GetAtt": [function, "Arn"]}]
    return found


def test_the_schedule_calls_once_a_minute_and_never_again_for_the_same_minute() -> None:
    schedule = schedule_of("TickFunction")
    assert schedule["ScheduleExpression"] == "rate(1 minute)"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    target = schedule["Target"]
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["TicksDead", "Arn"]}}
    [config] = [
        each
        for each in resources("AWS::Lambda::EventInvokeConfig").values()
        if each["FunctionName"] == {"Ref": "TickFunction"}
    ]
    assert config["MaximumRetryAttempts"] == 0
    assert config["MaximumEventAgeInSeconds"] == 60
    assert config["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["TicksDead", "Arn"]}


def test_no_schedule_has_a_name_that_a_second_stage_of_the_account_could_not_have() -> None:
    assert not any("Name" in each for each in resources("AWS::Scheduler::Schedule").values())


def test_retention_is_invoked_once_an_hour_and_failed_invocations_are_kept() -> None:
    schedule = schedule_of("RetentionFunction")
    assert schedule["ScheduleExpression"] == "cron(30 * * * ? *)"
    assert schedule["Target"]["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["TicksDead", "Arn"]}}


@pytest.mark.parametrize("function", ["TickFunction", "RetentionFunction"])
def test_a_function_can_read_what_its_schedule_sends(function: str) -> None:
    filled = (
        schedule_of(function)["Target"]["Input"]
        .replace("<aws.scheduler.scheduled-time>", "2026-01-10T12:00:00Z")
        .replace("<aws.scheduler.execution-id>", "d32c5kddcf5bb8c3")
        .replace("<aws.scheduler.attempt-number>", "1")
    )
    assert "<" not in filled
    assert ScheduledCall.read(json.loads(filled)).attempt == 1


def test_a_dispatcher_ends_before_the_next_one_starts_and_a_message_stays_invisible_while_its_worker_runs() -> None:
    functions = resources("AWS::Lambda::Function")
    assert functions["TickFunction"]["Timeout"] < 60
    wakes = resources("AWS::SQS::Queue")["Wakes"]
    assert 0 < wakes["VisibilityTimeout"] - functions["WorkerFunction"]["Timeout"] <= 30
    for name in ("EventsFunction", "DebugFunction"):
        assert functions[name]["Timeout"] <= 30  # what the gateway waits


def test_wakes_are_ordered_by_town_and_dead_ones_are_kept() -> None:
    queues = resources("AWS::SQS::Queue")
    wakes = queues["Wakes"]
    assert (wakes["FifoQueue"], wakes["DeduplicationScope"], wakes["FifoThroughputLimit"]) == (
        True,
        "messageGroup",
        "perMessageGroupId",
    )
    assert wakes["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["WakesDead", "Arn"]}
    assert queues["WakesDead"]["FifoQueue"] is True
    assert {json.dumps(queue["SqsManagedSseEnabled"]) for queue in queues.values()} == {
        '{"Fn::If": ["UsesOwnKey", false, true]}'
    }
    [mapping] = resources("AWS::Lambda::EventSourceMapping").values()
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] == 1  # no town waits for the agents of another one


def test_the_bucket_is_closed_encrypted_and_keeps_what_was_replaced() -> None:
    [bucket] = resources("AWS::S3::Bucket").values()
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    [towns] = [each for each in template()["Resources"].values() if each["Type"] == "AWS::S3::Bucket"]
    assert (towns["DeletionPolicy"], towns["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def test_nothing_of_a_town_expires_by_age_and_versions_live_as_the_settings_say() -> None:
    bucket = deployed(**ON_ECS)["Towns"]["Properties"]
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    expiring = {name: rule for name, rule in rules.items() if {"ExpirationInDays", "ExpirationDate"} & set(rule)}
    assert {name: rule["Prefix"] for name, rule in expiring.items()} == {
        "probes-of-the-doctor": "probe/",
        "orders-of-agents": "orders/",
    }
    heads = rules["replaced-heads-and-deleted-objects-of-towns"]
    assert heads["NoncurrentVersionExpiration"] == {
        "NoncurrentDays": template()["Parameters"]["HeadVersionDays"]["Default"]
    }
    assert heads["ExpiredObjectDeleteMarker"] is True
    assert template()["Parameters"]["HeadVersionDays"]["MinValue"] >= 2
    assert rules["taken-inbox-objects"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert rules["taken-inbox-objects"]["TagFilters"] == [{"Key": "kind", "Value": "inbox"}]
    due = rules["due-markers-that-are-gone"]
    assert (due["NoncurrentVersionExpiration"], due["ExpiredObjectDeleteMarker"]) == ({"NoncurrentDays": 1}, True)


def test_the_bucket_refuses_plain_http_and_unconditional_writes_of_heads() -> None:
    [policy] = resources("AWS::S3::BucketPolicy").values()
    tls, heads = policy["PolicyDocument"]["Statement"]
    assert (tls["Effect"], tls["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    assert len(tls["Resource"]) == 2
    assert (heads["Effect"], heads["Principal"], heads["Action"]) == ("Deny", "*", "s3:PutObject")
    assert heads["Resource"] == {"Fn::Sub": "${Towns.Arn}/towns/*/head"}
    assert heads["Condition"] == {"Null": {"s3:if-match": "true", "s3:if-none-match": "true"}}


def test_reserved_concurrency_is_a_parameter_and_zero_reserves_none() -> None:
    functions = resources("AWS::Lambda::Function")
    for name, condition, parameter in (
        ("TickFunction", "ReserveTick", "TickConcurrency"),
        ("DebugFunction", "ReserveDebug", "DebugConcurrency"),
    ):
        reserved = functions[name]["ReservedConcurrentExecutions"]
        assert reserved == {"Fn::If": [condition, {"Ref": parameter}, {"Ref": "AWS::NoValue"}]}
        assert template()["Parameters"][parameter]["Default"] == 0
        assert template()["Conditions"][condition] == {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, 0]}]}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_on_arm_with_json_logs_that_are_kept_for_a_time(name: str) -> None:
    function = resources("AWS::Lambda::Function")[name]
    assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
    log = function["LoggingConfig"]
    assert log["LogFormat"] == "JSON"
    assert resources("AWS::Logs::LogGroup")[log["LogGroup"]["Ref"]]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    module, _, handler = function["Handler"].rpartition(".")
    assert (ROOT / f"{module.replace('.', '/')}.py").exists()
    assert handler == "lambda_handler"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gets_every_setting_that_it_requires(name: str) -> None:
    told = deployed()[name]["Properties"]["Environment"]["Variables"]
    values = {variable: _value(value) for variable, value in told.items()}
    settings = SETTINGS[name].from_environment(values)
    assert settings.stage == "dev"
    wanted = {field.upper() for field, about in SETTINGS[name].model_fields.items() if about.is_required()}
    assert wanted <= set(told)


def _value(value: Any) -> str:
    return "https://sqs.eu-west-1.amazonaws.com/1/queue" if isinstance(value, dict) else str(value)


def test_every_alarm_of_the_catalogue_is_in_the_template_and_links_a_page() -> None:
    found = resources("AWS::CloudWatch::Alarm")
    assert len(found) == len(alarms.names())
    for name in alarms.names():
        assert (ROOT / f"docs/runbook/{name}.md").exists(), name
        [alarm] = [each for each in found.values() if each["AlarmName"] == {"Fn::Sub": f"${{AWS::StackName}}-{name}"}]
        assert f"${{RunbookUrl}}/{name}.md" in alarm["AlarmDescription"]["Fn::Sub"]
        assert alarm["AlarmActions"]
        if alarm["Namespace"] == NAMESPACE:
            assert alarm["MetricName"] in BY_NAME


def test_every_required_metric_has_an_alarm_with_its_threshold() -> None:
    wanted = {
        "invariantViolations": 0,
        "wallClockMs": 500,
        "pendingEventCount": 50,
        "oldestPendingEventMs": 300_000,
        "eventsPoisoned": 0,
        "scheduledRuns": 1,
        "saveConflicts": 10,
        "sideEffectsFailed": 10,
        "circuitBreakerOpen": 0,
    }
    found = resources("AWS::CloudWatch::Alarm").values()
    for metric, threshold in wanted.items():
        assert {each["Threshold"] for each in found if each["MetricName"] == metric} == {threshold}, metric
    wall = {
        each.get("Statistic", each.get("ExtendedStatistic")) for each in found if each["MetricName"] == "wallClockMs"
    }
    assert wall == {"p99", "Average"}
    [missed] = [each for each in found if each["MetricName"] == "scheduledRuns"]
    assert (missed["ComparisonOperator"], missed["TreatMissingData"]) == ("LessThanThreshold", "breaching")
    assert {each["MetricName"] for each in found} >= {"ApproximateNumberOfMessagesVisible"}


def test_every_parameter_and_output_is_described() -> None:
    for name, parameter in template()["Parameters"].items():
        assert len(parameter["Description"]) > 20, name
    for name, output in template()["Outputs"].items():
        assert output["Description"], name
    shown = json.dumps(template()["Outputs"])
    for name in ("Towns", "Wakes", "WakesDead", "TicksDead", "TownTokenKey", *FUNCTIONS):
        assert f'"{name}"' in shown, name


def test_no_parameter_is_a_secret_or_without_a_default_so_that_each_prompt_can_be_answered_with_enter() -> None:
    """`sam deploy --guided` asked for the DSN, a hidden parameter with an empty default, again and again."""
    for name, parameter in template()["Parameters"].items():
        assert "Default" in parameter, name
        assert "NoEcho" not in parameter, f"{name}: a secret belongs into Secrets Manager"


@pytest.mark.parametrize("answer", [" ", "-", "none"])
def test_a_careless_answer_to_a_prompt_is_refused_before_anything_is_deployed_or_harmless(answer: str) -> None:
    free = {
        name
        for name, about in template()["Parameters"].items()
        if about["Type"] == "String" and name not in refused(**{name: answer})
    }
    names = {"EcsCluster", "EcsTaskDefinition", "EcsContainer", "EcsCapacity"}  # ignored without EcsTaskPer
    assert free == (set() if answer == " " else {*names, "Stage", "SecretsPrefix", "RunbookUrl"})


def overrides() -> dict[str, dict[str, str]]:
    """The parameters that `samconfig.toml` sets, by stage."""
    config = tomllib.loads(Path(ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    stages = [config[stage]["deploy"]["parameters"]["parameter_overrides"] for stage in ("default", "prod")]
    pairs = [[override.partition("=") for override in stage] for stage in stages]
    return {found["Stage"]: found for found in ({name: value for name, _, value in stage} for stage in pairs)}


def test_a_secret_has_the_same_name_in_every_document_and_in_the_functions_of_its_stage() -> None:
    """The guide named `town-reconciler/platform/control-key`, and no stage read below that prefix."""
    prefixes = set()
    for parameters in overrides().values():
        worker = deployed(**parameters)["WorkerFunction"]["Properties"]["Environment"]["Variables"]
        prefixes.add(worker["SECRETS_PREFIX"])
    assert prefixes == {"/town-reconciler/dev", "/town-reconciler/prod"}  # parameters
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    named = {
        name for page in pages for name in re.findall(r"town-reconciler/[\w/-]+", page.read_text(encoding="utf-8"))
    }
    assert named
    for name in named:
        stage, _, secret = name.removeprefix("town-reconciler/").partition("/")
        assert stage in overrides(), name
        assert secret in ("", "platform/control-key", "platform/sentry-dsn"), name


def test_the_functions_get_the_dsn_of_the_secret_that_the_guide_names_and_by_default_none() -> None:
    told = deployed(ReportToSentry="true", Stage="prod")["TickFunction"]["Properties"]["Environment"]["Variables"]
    assert told["SENTRY_DSN"] == "{{resolve:secretsmanager:town-reconciler/prod/platform/sentry-dsn}}"
    assert deployed()["TickFunction"]["Properties"]["Environment"]["Variables"]["SENTRY_DSN"] == ""


def test_no_document_sets_parameters_on_the_command_line_because_they_would_replace_those_of_samconfig() -> None:
    for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]:
        assert "--parameter-overrides" not in page.read_text(encoding="utf-8"), page


@pytest.mark.parametrize(
    ("parameters", "topic", "subscribed"),
    [
        ({}, {"Ref": "AlarmTopic"}, None),
        ({"AlarmEmail": "me@example.com"}, {"Ref": "AlarmTopic"}, "me@example.com"),
        ({"AlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:ours"}, "arn:aws:sns:eu-west-1:111122223333:ours", None),
    ],
)
def test_every_alarm_notifies_a_topic(parameters: dict[str, str], topic: Any, subscribed: str | None) -> None:
    found = deployed(**parameters)
    for resource in found.values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            assert resource["Properties"]["AlarmActions"] == [topic]
    assert ("AlarmTopic" in found) == ("AlarmTopicArn" not in parameters)
    subscription = found.get("AlarmSubscription")
    assert (subscription and subscription["Properties"]["Endpoint"]) == subscribed


@pytest.mark.parametrize(
    ("parameters", "topic", "subscribed"),
    [
        ({}, None, None),
        ({"NoticeEmail": "me@example.com"}, {"Ref": "NoticeTopic"}, "me@example.com"),
        (
            {"NoticeTopicArn": "arn:aws:sns:eu-west-1:111122223333:ours"},
            "arn:aws:sns:eu-west-1:111122223333:ours",
            None,
        ),
        (
            {"NoticeTopicArn": "arn:aws:sns:eu-west-1:111122223333:ours", "NoticeEmail": "me@example.com"},
            "arn:aws:sns:eu-west-1:111122223333:ours",
            None,
        ),
    ],
)
def test_notices_are_sent_to_the_topic_that_is_named_or_to_one_of_the_stack(
    parameters: dict[str, str], topic: Any, subscribed: str | None
) -> None:
    found = deployed(**parameters)
    for function in ("TickFunction", "WorkerFunction", "DebugFunction"):
        assert found[function]["Properties"]["Environment"]["Variables"]["NOTICE_TOPIC"] == (topic or "")
    policy = found.get("MailsNotices")
    allowed = [] if policy is None else policy["Properties"]["PolicyDocument"]["Statement"]
    assert [each["Resource"] for each in allowed] == ([] if topic is None else [topic])
    subscription = found.get("NoticeSubscription")
    assert (subscription and subscription["Properties"]["Endpoint"]) == subscribed
    assert ("NoticeTopic" in found) == (subscribed is not None)


def test_the_stages_of_samconfig_set_only_parameters_that_exist_and_reserve_no_concurrency() -> None:
    config = tomllib.loads(Path(ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    for stage in overrides().values():
        assert set(stage) <= set(template()["Parameters"])
        assert refused(**stage) == []
        assert not {"TickConcurrency", "DebugConcurrency"} & set(stage)
    assert config["default"]["build"]["parameters"]["build_in_source"] is True
    assert config["default"]["validate"]["parameters"]["lint"] is True
