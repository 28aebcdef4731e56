"""Which resources exist depends on the parameters: by default nothing of ECS, of a VPC or of the shelf for orders."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from functions import wiring
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.ecs_runtime import EcsAgents
from shared.domain.effect_allowances import ALLOWANCE
from shared.domain.states import EffectKind
from tests.contracts.deployments import ON_ECS, SETTINGS, deployed, refused
from tests.contracts.transformed import template
from tests.conventions.sources import ROOT

RUNNERS = ("TickFunction", "WorkerFunction")
CALL_FORGES = (*RUNNERS, "CredentialsFunction")
OTHERS = (
    "EventsFunction",
    "RedriveFunction",
    "ArchiveFunction",
    "DebugFunction",
    "AuthorizerFunction",
    "RetentionFunction",
)
CLUSTER = "arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:cluster/agents"
TASKS = {"Fn::Sub": "arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}:task/agents/*"}
IN_THE_CLUSTER = {"ArnEquals": {"ecs:cluster": {"Fn::Sub": CLUSTER}}}


def statements(resources: dict[str, Any], function: str) -> dict[str, Any]:
    """Every statement of a function's role, in it and attached to it, by its Sid."""
    role = resources[f"{function}Role"]["Properties"]
    attached = [
        each["Properties"]["PolicyDocument"]
        for each in resources.values()
        if each["Type"] == "AWS::IAM::Policy" and {"Ref": f"{function}Role"} in each["Properties"]["Roles"]
    ]
    inside = [each["PolicyDocument"] for each in role["Policies"]]
    return {each["Sid"]: each for document in (*inside, *attached) for each in document["Statement"]}


def environment(resources: dict[str, Any], function: str) -> dict[str, str]:
    """The settings that a function gets, with invented values for what only AWS knows."""
    told = resources[function]["Properties"]["Environment"]["Variables"]
    return {name: "https://of.aws.example" if isinstance(value, dict) else str(value) for name, value in told.items()}


def settings_of(resources: dict[str, Any], function: str) -> Any:
    kind = SETTINGS[function]
    return kind.from_environment(environment(resources, function))


def test_without_a_parameter_nothing_of_ecs_of_a_vpc_and_of_a_shelf_is_there() -> None:
    assert refused() == []
    shown = json.dumps(deployed())
    for trace in ("ecs", "ECS", "Ecs", "Vpc", "VPC", "vpc", "iam:PassRole", "orders", "subnet"):
        assert trace not in shown, trace
    for function in RUNNERS:
        assert wiring.outside(settings_of(deployed(), function)).runtime is None


@pytest.mark.parametrize("function", RUNNERS)
@pytest.mark.parametrize(
    ("parameters", "runtime"),
    [
        ({"ControlServerUrl": "https://{town}.agents.example"}, ControlServerRuntime),
        (ON_ECS, EcsAgents),
        ({**ON_ECS, "EcsTaskPer": "town"}, ControlServerRuntime),
        ({**ON_ECS, "EcsCapacity": "FARGATE_SPOT", "EcsPort": "9000", "EcsPublicIp": "true"}, EcsAgents),
    ],
    ids=["control servers", "a task for each agent", "a task for each town", "spot"],
)
def test_what_the_parameters_name_is_what_starts_agents(
    parameters: dict[str, str], runtime: type, function: str
) -> None:
    assert refused(**parameters) == []
    settings = settings_of(deployed(**parameters), function)
    assert type(wiring.outside(settings).runtime) is runtime
    if settings.ecs is not None:
        assert settings.ecs.subnets == ("subnet-11111111", "subnet-22222222")
        assert settings.ecs.capacity == parameters.get("EcsCapacity", "FARGATE")
        assert (settings.ecs.port, settings.ecs.public_ip) == (
            int(parameters.get("EcsPort", 8080)),
            parameters.get("EcsPublicIp") == "true",
        )


def test_only_a_worker_may_start_an_agent_because_no_dispatcher_lives_long_enough() -> None:
    found = statements(deployed(**ON_ECS), "TickFunction")
    assert {sid for sid, each in found.items() if "ecs:" in json.dumps(each["Action"])} == {
        "SeeAndStopTasks",
        "ListTasks",
    }
    assert not {"PassTheRolesOfTheTask", "LayDownAndFetchOrders"} & set(found)
    lives = timedelta(seconds=deployed()["TickFunction"]["Properties"]["Timeout"])
    assert ALLOWANCE[EffectKind.DISPATCH_AGENT].timeout > lives


def test_one_task_definition_in_one_cluster_may_be_run_with_its_roles_and_no_other() -> None:
    found = statements(deployed(**ON_ECS), "WorkerFunction")
    assert {sid for sid, each in found.items() if "ecs:" in json.dumps(each["Action"])} == {
        "RunTheOneTask",
        "TagWhatIsRun",
        "SeeAndStopTasks",
        "ListTasks",
    }
    run = found["RunTheOneTask"]
    assert (run["Action"], run["Condition"]) == ("ecs:RunTask", IN_THE_CLUSTER)
    assert run["Resource"]["Fn::Sub"].endswith(":task-definition/town-agent:*")
    tag = found["TagWhatIsRun"]
    assert (tag["Action"], tag["Resource"]) == ("ecs:TagResource", TASKS)
    assert tag["Condition"] == {"StringEquals": {"ecs:CreateAction": "RunTask"}}
    see = found["SeeAndStopTasks"]
    assert see["Action"] == ["ecs:DescribeTasks", "ecs:StopTask"]
    assert (see["Resource"], see["Condition"]) == (TASKS, IN_THE_CLUSTER)
    listing = found["ListTasks"]
    assert (listing["Action"], listing["Resource"], listing["Condition"]) == ("ecs:ListTasks", "*", IN_THE_CLUSTER)
    passing = found["PassTheRolesOfTheTask"]
    assert passing["Action"] == "iam:PassRole"
    assert passing["Resource"] == ON_ECS["EcsRoles"].split(",")
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


@pytest.mark.parametrize("task_per", ["agent", "town"])
def test_orders_lie_below_one_prefix_for_a_day_and_only_where_an_agent_fetches_its_own(task_per: str) -> None:
    resources = deployed(**{**ON_ECS, "EcsTaskPer": task_per})
    rules = resources["Towns"]["Properties"]["LifecycleConfiguration"]["Rules"]
    kept = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    assert kept == ({"probe/": 1, "orders/": 1} if task_per == "agent" else {"probe/": 1})
    shelf = statements(resources, "WorkerFunction").get("LayDownAndFetchOrders")
    assert (shelf is not None) == (task_per == "agent")
    if shelf is not None:
        assert shelf["Action"] == ["s3:GetObject", "s3:PutObject"]
        assert shelf["Resource"] == {"Fn::Sub": "${Towns.Arn}/orders/*"}


@pytest.mark.parametrize("function", CALL_FORGES)
def test_functions_that_call_agents_and_forges_live_in_the_vpc(function: str) -> None:
    resources = deployed(**ON_ECS)
    network = resources[function]["Properties"]["VpcConfig"]
    assert network == {"SubnetIds": ["subnet-33333333"], "SecurityGroupIds": ["sg-33333333"]}
    managed = json.dumps(resources[f"{function}Role"]["Properties"]["ManagedPolicyArns"])
    assert "AWSLambdaVPCAccessExecutionRole" in managed
    assert "AWSLambdaVPCAccessExecutionRole" not in json.dumps(deployed()[f"{function}Role"])


@pytest.mark.parametrize("function", OTHERS)
def test_other_functions_get_none_of_it(function: str) -> None:
    plain, on_ecs = deployed(), deployed(**ON_ECS)
    assert on_ecs[function] == plain[function]
    assert on_ecs[f"{function}Role"] == plain[f"{function}Role"]
    added = [each for name, each in on_ecs.items() if each["Type"] == "AWS::IAM::Policy" and name not in plain]
    attached = [each["Properties"]["Roles"] for each in added]
    runners = [{"Ref": f"{name}Role"} for name in RUNNERS]
    assert attached == [runners, runners[1:], runners[1:]]


@pytest.mark.parametrize(
    "missing", ["EcsCluster", "EcsTaskDefinition", "EcsRoles", "EcsSubnets", "EcsSecurityGroups", "FunctionSubnets"]
)
def test_ecs_without_what_it_needs_is_refused_before_anything_is_deployed(missing: str) -> None:
    [said] = refused(**{**ON_ECS, missing: ""})
    assert f"requires {missing}" in said


def test_two_runtimes_and_a_vpc_without_a_security_group_are_refused_too() -> None:
    [two] = refused(**ON_ECS, ControlServerUrl="https://agents.example")
    assert "ControlServerUrl and EcsTaskPer" in two
    assert refused(FunctionSubnets="subnet-33333333") == ["FunctionSubnets requires FunctionSecurityGroups."]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EcsTaskPer", "both"),
        ("EcsCluster", "arn:aws:ecs:eu-west-1:111122223333:cluster/agents"),
        ("EcsTaskDefinition", "town-agent:7"),
        ("EcsContainer", 'agent", "x": "'),
        ("EcsSubnets", "subnet-11111111, subnet-22222222"),
        ("EcsSecurityGroups", "default"),
        ("EcsRoles", "arn:aws:iam::111122223333:role/*"),
        ("EcsRoles", "*"),
        ("EcsPublicIp", "yes"),
        ("FunctionSubnets", "*"),
    ],
)
def test_a_value_that_does_not_match_its_pattern_is_refused(name: str, value: str) -> None:
    assert name in refused(**{**ON_ECS, name: value})


def test_self_hosted_forges_are_settings_of_the_functions_that_call_them() -> None:
    resources = deployed(ForgeHosts="gitlab=git.example.com")
    for function in CALL_FORGES:
        assert settings_of(resources, function).forge_hosts == ("gitlab=git.example.com",)
    assert all("FORGE_HOSTS" not in json.dumps(resources[function]) for function in OTHERS)


def test_the_guide_names_every_parameter_about_agents_and_no_other() -> None:
    guide = (ROOT / "docs/runbook/deploy.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:Ecs|Function|Forge|ControlServer)[A-Z]\w+", guide))
    wanted = {
        name for name in template()["Parameters"] if name.startswith(("Ecs", "Function", "Forge", "ControlServer"))
    }
    assert named == wanted
