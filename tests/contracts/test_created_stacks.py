"""The transformed template is created as a stack, in moto's CloudFormation, for every documented combination of parameters.

moto evaluates conditions, references and attributes as CloudFormation does, and creates what it can: an error in a condition, a
reference to a resource that does not exist for these parameters, or a property that a service refuses ends the creation.
"""

import io
import json
import tomllib
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.contracts.deployments import ON_ECS, deployed, refused
from tests.contracts.test_hardening import EVERYTHING
from tests.contracts.transformed import template
from tests.conventions.sources import ROOT

pytestmark = pytest.mark.long

NOT_IN_MOTO = {
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::IAM::Policy",
    "AWS::Lambda::Alias",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Logs::QueryDefinition",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::Secret",
}
"""Types that moto's CloudFormation does not create; it still evaluates what refers to them."""


def of_samconfig(stage: str) -> dict[str, str]:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    return dict(each.split("=", 1) for each in config[stage]["deploy"]["parameters"]["parameter_overrides"])


RULES = '[{"callers": ["arn:aws:sts::1:assumed-role/Ops/*"], "towns": ["*"], "verbs": ["read"]}]'
COMBINATIONS: dict[str, dict[str, str]] = {
    "every prompt answered with Enter": {},
    "the stage dev": of_samconfig("default"),
    "the stage prod, with rules, mail and Sentry": {
        **of_samconfig("prod"), "AccessRules": RULES, "AlarmEmail": "me@example.com", "ReportToSentry": "true",
        "NoticeEmail": "me@example.com",
    },
    "topics of their own": {
        "AlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:ours",
        "NoticeTopicArn": "arn:aws:sns:eu-west-1:111122223333:people",
    },
    "reserved concurrency": {"TickConcurrency": "1", "DebugConcurrency": "2"},
    "control servers in a network": {
        "ControlServerUrl": "https://{town}.agents.example.com",
        "FunctionSubnets": "subnet-33333333,subnet-44444444",
        "FunctionSecurityGroups": "sg-22222222",
        "ForgeHosts": "gitlab=git.example.com",
    },
    "a task for each agent": dict(ON_ECS),
    "a task for each town": {**ON_ECS, "EcsTaskPer": "town"},
    "a KMS key and a boundary": {**EVERYTHING, "GradualDeployment": "false"},  # moto creates no alias to refer to
    "an adopted bucket": {"TownsBucketName": "town-reconciler-dev-towns-1a2b3c"},
}  # fmt: skip


@pytest.fixture
def account(as_owner: None) -> Iterator[Any]:
    """An account with the bundle, and the secret that the deployment reads."""
    with mock_aws(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tried to parse", UserWarning)
        session = boto3.session.Session(region_name="us-east-1")
        bundle = io.BytesIO()
        with zipfile.ZipFile(bundle, "w") as packed:
            packed.writestr("app.py", "")
        session.client("s3").create_bucket(Bucket="bucket")
        session.client("s3").put_object(Bucket="bucket", Key="key", Body=bundle.getvalue())
        dsn = "town-reconciler/prod/platform/sentry-dsn"
        session.client("secretsmanager").create_secret(Name=dsn, SecretString="https://key@sentry.example.com/1")
        yield session


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_a_stack_with_documented_parameters_is_created(account: Any, combination: str) -> None:
    parameters = COMBINATIONS[combination]
    assert refused(**parameters) == []
    formation = account.client("cloudformation")
    formation.create_stack(
        StackName="towns",
        TemplateBody=json.dumps(template()),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    [stack] = formation.describe_stacks(StackName="towns")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    pages = formation.get_paginator("list_stack_resources").paginate(StackName="towns")
    listed = {each["LogicalResourceId"] for page in pages for each in page["StackResourceSummaries"]}
    made = listed - {""}  # moto lists what a role has inside, too
    wanted = deployed(**parameters)
    assert made <= set(wanted)
    assert {wanted[name]["Type"] for name in set(wanted) - made} <= NOT_IN_MOTO
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    not_there = {"TownTokenKeyArn"}  # that of a secret, which moto does not create
    not_there |= {"DashboardUrl"} if parameters.get("Profile") == "small" else set()
    not_there |= set() if {"NoticeEmail", "NoticeTopicArn"} & set(parameters) else {"NoticeTopicArn"}
    assert set(outputs) == set(template()["Outputs"]) - not_there
    slash = "/" if parameters.get("SecretsStore") == "ssm" else ""
    assert outputs["SecretsPrefix"] == f"{slash}town-reconciler/{parameters.get('Stage', 'dev')}"
    variables = account.client("lambda").get_function_configuration(FunctionName=outputs["WorkerFunctionArn"])
    told = variables["Environment"]["Variables"]
    assert told["TOWN_BUCKET"] == outputs["TownsBucket"] == parameters.get("TownsBucketName", outputs["TownsBucket"])
    if "EcsTaskPer" in parameters:
        assert json.loads(told["ECS"])["one_task_per"] == parameters["EcsTaskPer"]
