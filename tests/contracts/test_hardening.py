"""What an account with rules of its own asks of the stack: a KMS key, a permissions boundary, deployments that are taken back."""

import json
from typing import Any

import pytest

from infra.ops.dashboards import alarms
from tests.contracts.deployments import ON_ECS, deployed, refused
from tests.contracts.transformed import template
from tests.conventions.sources import ROOT

KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
BOUNDARY = "arn:aws:iam::111122223333:policy/boundary"
ENCRYPTED = {
    "AWS::S3::Bucket": "BucketEncryption",
    "AWS::DynamoDB::Table": "SSESpecification",
    "AWS::SQS::Queue": "KmsMasterKeyId",
    "AWS::SecretsManager::Secret": "KmsKeyId",
    "AWS::Lambda::Function": "KmsKeyArn",
    "AWS::Logs::LogGroup": "KmsKeyId",
    "AWS::SNS::Topic": "KmsMasterKeyId",
}
"""Where each type of resource that stores something names the key."""

STORES_NOTHING = {
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::CodeDeploy::Application",
    "AWS::CodeDeploy::DeploymentGroup",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Lambda::Alias",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Version",
    "AWS::Logs::QueryDefinition",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
}
EVERYTHING = {
    **ON_ECS,
    "KmsKeyArn": KEY,
    "PermissionsBoundaryArn": BOUNDARY,
    "GradualDeployment": "true",
    "AlarmEmail": "me@example.com",
    "NoticeEmail": "me@example.com",
}


def of_type(found: dict[str, dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {name: each["Properties"] for name, each in found.items() if each["Type"] == kind}


def test_every_resource_that_stores_something_is_encrypted_with_the_key_that_is_named() -> None:
    found = deployed(**EVERYTHING)
    assert refused(**EVERYTHING) == []
    assert {each["Type"] for each in found.values()} == {*ENCRYPTED, *STORES_NOTHING}
    for kind, place in ENCRYPTED.items():
        assert of_type(found, kind)
        for name, properties in of_type(found, kind).items():
            assert KEY in json.dumps(properties[place]), name
    for queue in of_type(found, "AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is False  # SQS refuses both


def test_without_a_key_aws_encrypts_with_its_own() -> None:
    found = deployed()
    shown = json.dumps(found)
    assert "aws:kms" not in shown
    assert '"Kms' not in shown
    for queue in of_type(found, "AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize(
    ("policy", "action", "without"),
    [
        ("ReadWithOwnKey", "kms:Decrypt", {"DeploymentRole"}),
        (
            "WriteWithOwnKey",
            "kms:GenerateDataKey",
            {"DeploymentRole", "DebugFunctionRole", "AuthorizerFunctionRole", "CredentialsFunctionRole"},
        ),
    ],
)
def test_the_roles_that_read_and_write_may_use_the_key_and_no_other(
    policy: str, action: str, without: set[str]
) -> None:
    found = deployed(**EVERYTHING)
    properties = found[policy]["Properties"]
    [statement] = properties["PolicyDocument"]["Statement"]
    assert (statement["Action"], statement["Resource"]) == (action, KEY)
    assert {role["Ref"] for role in properties["Roles"]} == set(of_type(found, "AWS::IAM::Role")) - without


def test_every_role_is_bounded_by_the_boundary_that_is_named() -> None:
    roles = of_type(deployed(**EVERYTHING), "AWS::IAM::Role")
    assert len(roles) == 11
    assert {role["PermissionsBoundary"] for role in roles.values()} == {BOUNDARY}
    assert not any("PermissionsBoundary" in role for role in of_type(deployed(), "AWS::IAM::Role").values())


def test_by_default_nothing_calls_an_alias_so_that_a_changed_parameter_reaches_every_function_at_once() -> None:
    found = deployed()
    assert found["TickFunctionEveryMinute"]["Properties"]["Target"]["Arn"] == {"Fn::GetAtt": ["TickFunction", "Arn"]}
    assert found["WorkerFunctionWakes"]["Properties"]["FunctionName"] == {"Ref": "WorkerFunction"}
    assert found["TickFunctionEventInvokeConfig"]["Properties"]["Qualifier"] == "$LATEST"
    assert not [name for name, each in found.items() if "CodeDeploy" in each["Type"] or name == "DeploymentRole"]


def test_a_gradual_deployment_moves_the_alias_that_schedule_and_queue_call_and_is_taken_back_by_alarms_about_ticks() -> (
    None
):
    found = deployed(GradualDeployment="true")
    alias = {"Ref": "TickFunctionAliaslive"}
    assert found["TickFunctionEveryMinute"]["Properties"]["Target"]["Arn"] == alias
    [call] = found["ScheduleRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"][:1]
    assert alias in call["Resource"]
    assert found["TickFunctionEventInvokeConfig"]["Properties"]["Qualifier"] == "live"
    assert found["WorkerFunctionWakes"]["Properties"]["FunctionName"] == {"Ref": "WorkerFunctionAliaslive"}
    known = {name for name, each in found.items() if each["Type"] == "AWS::CloudWatch::Alarm"}
    for function in ("TickFunction", "WorkerFunction"):
        group = found[f"{function}DeploymentGroup"]["Properties"]
        named = {each["Name"]["Ref"] for each in group["AlarmConfiguration"]["Alarms"]}
        assert {alarms.logical_id("invariant-violated"), alarms.logical_id("town-fails")} <= named <= known
        assert group["AutoRollbackConfiguration"]["Enabled"] is True
        assert "Canary10Percent10Minutes" in json.dumps(group["DeploymentConfigName"])
        update = found[f"{function}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        assert update["DeploymentGroupName"] == {"Ref": f"{function}DeploymentGroup"}


def test_a_new_revision_of_the_settings_publishes_a_version_although_the_code_is_the_same() -> None:
    """A version keeps the settings that it was published with, and SAM publishes one only for new code."""
    versions = of_type(deployed(GradualDeployment="true", SettingsRevision="7"), "AWS::Lambda::Version")
    assert len(versions) == 2
    assert {each["Description"] for each in versions.values()} == {"7"}
    assert all(
        each["DeletionPolicy"] == "Delete" for each in deployed().values() if each["Type"] == "AWS::Lambda::Version"
    )


def test_calls_are_traced_only_if_a_parameter_says_so_and_then_every_role_may_send_its_traces() -> None:
    plain, traced = deployed(), deployed(Tracing="Active")
    assert not any("TracingConfig" in each for each in of_type(plain, "AWS::Lambda::Function").values())
    assert "xray" not in json.dumps(plain).lower()
    for name, function in of_type(traced, "AWS::Lambda::Function").items():
        assert function["TracingConfig"] == {"Mode": "Active"}
        role = function["Role"]["Fn::GetAtt"][0]
        policy = traced["TracesOfCalls"]["Properties"]
        may = {"Ref": role} in policy["Roles"] or "Xray" in json.dumps(traced[role]["Properties"]["ManagedPolicyArns"])
        assert may, name


def test_the_bucket_has_the_name_that_is_given_so_that_one_that_was_left_behind_can_be_adopted() -> None:
    assert "BucketName" not in deployed()["Towns"]["Properties"]
    named = deployed(TownsBucketName="stack-towns-1a2b3c")
    assert named["Towns"]["Properties"]["BucketName"] == "stack-towns-1a2b3c"
    assert template()["Resources"]["Towns"]["DeletionPolicy"] == "RetainExceptOnCreate"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KmsKeyArn", "alias/mine"),
        ("KmsKeyArn", "arn:aws:kms:eu-west-1:111122223333:alias/mine"),
        ("PermissionsBoundaryArn", "boundary"),
        ("TownsBucketName", "Towns"),
        ("GradualDeployment", "yes"),
        ("Tracing", "active"),
        ("SettingsRevision", "one"),
        ("HeadVersionDays", "31"),
    ],
)
def test_a_value_that_could_only_fail_during_the_deployment_is_refused_before(name: str, value: str) -> None:
    assert refused(**{name: value}) == [name]


def test_each_exception_of_checkov_has_its_reason() -> None:
    lines = (ROOT / "infra/ops/checkov.yaml").read_text(encoding="utf-8").splitlines()
    skipped = [number for number, line in enumerate(lines) if line.lstrip().startswith("- CKV")]
    assert skipped
    assert all(lines[number - 1].lstrip().startswith("# ") for number in skipped)
