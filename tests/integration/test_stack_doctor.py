"""`townctl doctor --stack` where AWS itself is in the way; a deployment that answers is examined in tests/e2e."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from infra.townctl.stack import Stack
from infra.townctl.stack_doctor import deployed, examine, outputs_of
from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import Refused

TICK = "arn:tick"


@dataclass
class Account:
    """What the doctor asks of AWS: its schedules, two a page, and what it may not ask."""

    schedules: list[str] = field(default_factory=lambda: [TICK])
    denied: bool = False
    free: int = 1000
    subscriptions: list[str] = field(default_factory=list)

    def client(self, _: str) -> "Account":
        return self

    def get_account_settings(self) -> dict[str, Any]:
        if self.denied:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "x"}}, "GetAccountSettings")
        return {"AccountLimit": {"UnreservedConcurrentExecutions": self.free}}

    def get_metric_data(self, **_: Any) -> dict[str, Any]:
        return {"MetricDataResults": []}

    def get_paginator(self, name: str) -> "Account":
        assert name == "list_subscriptions_by_topic"
        return self

    def paginate(self, *, TopicArn: str) -> list[dict[str, Any]]:  # noqa: N803 - the SDK's name
        assert TopicArn == "arn:topic"
        return [{"Subscriptions": [{"SubscriptionArn": arn} for arn in self.subscriptions]}]

    def list_schedules(self, NextToken: str = "0") -> dict[str, Any]:  # noqa: N803 - the SDK's name
        begin = int(NextToken)
        page = [{"Target": {"Arn": arn}, "State": "ENABLED"} for arn in self.schedules[begin : begin + 2]]
        more = {"NextToken": str(begin + 2)} if begin + 2 < len(self.schedules) else {}
        return {"Schedules": page} | more


class NoApi:
    """An API that lets nobody in."""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        raise Refused("nobody", status=403, hint="sign in")

    report = ask


class Keys:
    """Two good keys."""

    def values(self) -> tuple[str, ...]:
        return ("k" * 48, "l" * 48)


def checks(account: Account) -> dict[str, str]:
    stack = Stack({"TickFunctionArn": TICK}, account.client, MemoryObjects(), Keys(), NoApi())  # type: ignore[arg-type]
    return {symptom["check"]: symptom["problem"] for symptom in examine(stack).document["symptoms"]}


def test_a_schedule_on_a_later_page_is_found() -> None:
    """An account with a hundred schedules of others was told that nothing calls the dispatcher."""
    assert "schedule" not in checks(Account(["arn:a", "arn:b", "arn:c", "arn:d", TICK]))
    assert "schedule" in checks(Account(["arn:a", "arn:b", "arn:c"]))


def test_what_aws_forbids_to_ask_is_a_finding_and_the_other_checks_go_on() -> None:
    """A refusal of the SDK ended the doctor with a traceback and without what it had found."""
    found = checks(Account(["arn:another"], denied=True))
    assert found["quota"] == "AWS refused the request or did not answer: AccessDeniedException"
    assert {"schedule", "whole_way"} <= set(found)


@pytest.mark.parametrize(
    ("subscriptions", "found"),
    [([], True), (["PendingConfirmation"], True), (["PendingConfirmation", "arn:aws:sns:eu-west-1:1:t:s"], False)],
)
@pytest.mark.parametrize(("output", "check"), [("AlarmTopicArn", "alarms"), ("NoticeTopicArn", "notices")])
def test_alarms_and_notices_that_reach_nobody_are_found(
    output: str, check: str, subscriptions: list[str], found: bool
) -> None:
    account = Account(subscriptions=subscriptions)
    outputs = {"TickFunctionArn": TICK, output: "arn:topic"}
    stack = Stack(outputs, account.client, MemoryObjects(), Keys(), NoApi())  # type: ignore[arg-type]
    assert {each["check"] for each in examine(stack).document["symptoms"]} & {"alarms", "notices"} == (
        {check} if found else set()
    )


@pytest.mark.parametrize(
    ("free", "says"),
    [(10, "at 0"), (102, "at 0"), (103, "allows TickConcurrency=1"), (1000, "allows TickConcurrency=1")],
)
def test_the_doctor_says_whether_concurrency_can_be_reserved(free: int, says: str) -> None:
    account = Account(free=free)
    stack = Stack({"TickFunctionArn": TICK}, account.client, MemoryObjects(), Keys(), NoApi())  # type: ignore[arg-type]
    [note] = examine(stack).document["notes"]
    assert says in note


ECS = {"task_definition": "town-agent", "container": "agent"}
GOOD = {"name": "agent", "secrets": [{"name": "MODEL_KEY", "valueFrom": "arn:key"}], "stopTimeout": 60}
EVERYBODYS = [{"name": "TOWN_CONTROL_KEY", "valueFrom": "arn:key"}]


@dataclass
class WithAgents(Account):
    """An account with a worker, which starts agents on ECS, and a task definition."""

    told: dict[str, str] = field(default_factory=lambda: {"ECS": json.dumps(ECS)})
    container: dict[str, Any] = field(default_factory=lambda: GOOD)
    network: str = "awsvpc"

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803 - the SDK's name
        assert FunctionName == "arn:worker"
        return {"Environment": {"Variables": self.told}}

    def describe_task_definition(self, *, taskDefinition: str) -> dict[str, Any]:  # noqa: N803 - the SDK's name
        if taskDefinition != "town-agent":
            raise ClientError({"Error": {"Code": "ClientException", "Message": "x"}}, "DescribeTaskDefinition")
        return {"taskDefinition": {"networkMode": self.network, "containerDefinitions": [self.container]}}


@pytest.mark.parametrize(
    ("account", "problems"),
    [
        (WithAgents(), []),
        (WithAgents(told={}), []),
        (WithAgents(network="bridge"), ["is not awsvpc"]),
        (WithAgents(container={**GOOD, "name": "server"}), ["has no container agent"]),
        (WithAgents(container={**GOOD, "secrets": EVERYBODYS}), ["every town's container the same TOWN_CONTROL_KEY"]),
        (WithAgents(container={**GOOD, "stopTimeout": 10}), ["less than 30 s, too short to save"]),
        (WithAgents(told={"ECS": json.dumps(ECS | {"task_definition": "another"})}), ["ClientException"]),
    ],
    ids=["good", "no ECS", "network", "container", "key", "stop", "no definition"],
)
def test_a_task_in_which_no_control_server_comes_up_is_found(account: WithAgents, problems: list[str]) -> None:
    outputs = {"TickFunctionArn": TICK, "WorkerFunctionArn": "arn:worker"}
    stack = Stack(outputs, account.client, MemoryObjects(), Keys(), NoApi())  # type: ignore[arg-type]
    found = [each["problem"] for each in examine(stack).document["symptoms"] if each["check"] == "agents"]
    assert len(found) == len(problems)
    assert all(said in problem for said, problem in zip(problems, found, strict=True))


class Formation:
    """CloudFormation with one stack in it, or an answer that is none."""

    def __init__(self, outputs: dict[str, str], fails: Exception | None = None) -> None:
        self._outputs = outputs
        self._fails = fails

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - the SDK's name
        if self._fails is not None:
            raise self._fails
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in self._outputs.items()]
        return {"Stacks": [{"StackName": StackName, "Outputs": outputs}]}


@pytest.mark.parametrize(
    ("formation", "says"),
    [
        (Formation({}), "is not a town reconciler: it lacks the outputs ApiUrl"),
        (Formation({}, ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStacks")), "ValidationError"),
        (Formation({}, NoCredentialsError()), "NoCredentialsError"),
    ],
    ids=["another stack", "no stack", "nobody"],
)
def test_a_stack_that_cannot_be_looked_at_is_refused_with_the_reason(formation: Formation, says: str) -> None:
    with pytest.raises(Refused, match=says):
        outputs_of(formation, "mine")


def test_without_a_region_no_stack_is_looked_for(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(Refused, match="no AWS region is set"):
        deployed("mine")


@dataclass
class Operated(Account):
    """An account with dead-letter queues, and functions whose alias may be behind."""

    waiting: dict[str, int] = field(default_factory=dict)
    versions: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:  # noqa: N803 - the SDK's names
        [name] = AttributeNames
        return {"Attributes": {name: str(self.waiting.get(QueueUrl, 0))}}

    def get_function_configuration(self, *, FunctionName: str, Qualifier: str = "") -> dict[str, Any]:  # noqa: N803 - as above
        return self.versions.get((FunctionName, Qualifier), {"MemorySize": 1769, "Environment": {"Variables": {}}})


def symptoms_of(account: Account, **outputs: str) -> dict[str, tuple[str, str]]:
    told = {"TickFunctionArn": TICK, **outputs}
    stack = Stack(told, account.client, MemoryObjects(), Keys(), NoApi())  # type: ignore[arg-type]
    return {each["check"]: (each["problem"], each["hint"]) for each in examine(stack).document["symptoms"]}


def test_messages_in_a_dead_letter_queue_are_found_with_the_command_that_shows_them() -> None:
    urls = {"WakesDeadUrl": "https://q/wakes", "TicksDeadUrl": "https://q/ticks"}
    assert not {"wakes-dead", "ticks-dead"} & set(symptoms_of(Operated(), **urls))
    problem, hint = symptoms_of(Operated(waiting={"https://q/ticks": 1}), **urls)["ticks-dead"]
    assert problem == "1 message in a dead-letter queue"
    assert "aws sqs receive-message --queue-url https://q/ticks" in hint
    assert "docs/runbook/ticks-dead.md" in hint


def test_settings_that_have_not_reached_the_alias_of_a_gradual_deployment_are_found() -> None:
    """A version keeps the settings that it was published with, and a deployment without new code publishes none."""
    gradual = {"ScheduledArn": f"{TICK}:live", "WorkerFunctionArn": "arn:worker"}
    assert "settings" not in symptoms_of(Operated(schedules=[f"{TICK}:live"]), **gradual)
    old = {"MemorySize": 1769, "Environment": {"Variables": {"FORGE_HOSTS": "gitlab=old"}}}
    behind = Operated(schedules=[f"{TICK}:live"], versions={("arn:worker", "live"): old})
    problem, hint = symptoms_of(behind, **gradual)["settings"]
    assert problem == "the alias live of arn:worker has older settings than the stack: Environment"
    assert "SettingsRevision" in hint
    assert "settings" not in symptoms_of(behind, ScheduledArn=TICK, WorkerFunctionArn="arn:worker")


def test_the_schedule_of_a_gradual_deployment_calls_the_alias() -> None:
    gradual = {"ScheduledArn": f"{TICK}:live"}
    assert "schedule" not in symptoms_of(Operated(schedules=[f"{TICK}:live"]), **gradual)
    assert "schedule" in symptoms_of(Operated(schedules=[TICK]), **gradual)
