"""A deployment whose agents run on ECS, from its environment to the task: moto is AWS, and nothing else is put in place."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from functions import wiring
from functions.settings import WorkerSettings
from infra.agents.control_server.requests import StartAgentRequest
from shared.adapters import town_tokens
from shared.adapters.clock import SystemClock
from shared.domain.processes import ProcessStatus
from tests.cloud import a_cloud
from tests.fargate import Fargate, a_fargate, environment_of
from tests.towns import a_town
from tests.worlds import a_world

BUCKET = "towns-of-a-deployment"
KEY = "k" * 48


@pytest.fixture
def fargate(tmp_path: Path) -> Iterator[Fargate]:
    with a_fargate(tmp_path) as fargate:
        wiring._objects_of.cache_clear()
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        boto3.client("secretsmanager").create_secret(Name="town-tokens", SecretString=KEY)
        yield fargate
    wiring._objects_of.cache_clear()


def settings(fargate: Fargate, **other: Any) -> WorkerSettings:
    ecs = {
        "one_task_per": "agent",
        "cluster": "towns",
        "task_definition": "agent",
        "subnets": ",".join(fargate.network["subnets"]),
        "security_groups": ",".join(fargate.network["groups"]),
        **other,
    }
    return WorkerSettings.from_environment(
        {
            "STAGE": "test",
            "TOWN_BUCKET": BUCKET,
            "QUEUE_URL": "https://queue.example.com/wakes.fifo",
            "ECS": json.dumps(ecs),
            "AGENTS_API": "https://api.example.com",
            "TOKEN_SECRET": "town-tokens",
        }
    )


def test_a_worker_runs_the_task_of_an_agent_which_finds_its_order_on_the_shelf(fargate: Fargate) -> None:
    cloud = a_cloud(a_world(a_town().bead("b1")))
    cloud.worker.around = replace(cloud.worker.around, outside=wiring.outside(settings(fargate)))
    cloud.minute()
    cloud.queue.pump(cloud.work)

    [arn] = fargate.ecs.list_tasks(cluster="towns", startedBy="town/t1")["taskArns"]
    [task] = fargate.ecs.describe_tasks(cluster="towns", tasks=[arn], include=["TAGS"])["tasks"]
    told = environment_of({"overrides": task["overrides"]})
    assert (told["TOWN_ID"], told["TOWN_API"]) == ("t1", "https://api.example.com")

    [kept] = boto3.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
    assert kept["Key"] == f"orders/{told['TOWN_START_KEY']}.json"
    assert f"/{kept['Key']}?" in told["TOWN_START_URL"]
    request = StartAgentRequest.model_validate_json(
        boto3.client("s3").get_object(Bucket=BUCKET, Key=kept["Key"])["Body"].read()
    )
    claims = town_tokens.read(request.env_vars["TOWN_TOKEN"], [KEY], now=SystemClock().now())
    assert (claims.town, claims.scope, claims.agent) == ("t1", "agent", request.agent_id)
    assert {tag["key"]: tag["value"] for tag in task["tags"]}["town-agent"] == request.agent_id
    runtime = cloud.worker.around.outside.runtime
    assert runtime is not None
    assert runtime.status("t1", request.agent_id) == ProcessStatus("running", generation=1)


def test_a_town_that_has_no_container_yet_has_none_and_is_asked_at_ecs(fargate: Fargate) -> None:
    runtime = wiring.outside(settings(fargate, one_task_per="town")).runtime
    assert runtime is not None
    assert runtime.container_state("t1") == "stopped"
    assert runtime.status("t1", "toast") == ProcessStatus("not_found")
