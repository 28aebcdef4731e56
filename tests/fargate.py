"""A Fargate of this machine: moto keeps the tasks, real control servers are what runs in them.

moto knows clusters, tasks, tags and states. What it does not do is done here: `clientToken` (the same token and request is
the same task, for longer than that task can be seen; the same token with another request a ConflictException), capacity
that runs out (a 200 with `failures`), answers that are lost, and containers that really start, end with their agent, and
end when their task is stopped.
"""

import itertools
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws
from moto.moto_api import state_manager

from infra.agents.control_server.requests import StartAgentRequest
from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.control_server.single import is_over, keep_own_token
from shared.adapters.ecs_runtime import START_KEY_VARIABLE, START_URL_VARIABLE
from shared.adapters.ecs_tasks import EcsSettings, EcsTask, EcsTasks
from tests.control_servers import SLEEPER, Listener, TestServer, started

NO_CAPACITY = {"reason": "Capacity is unavailable at this time. Please try again later or in a different zone."}
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


KEY = "the-key-of-every-container"


@dataclass
class Fargate:
    """One cluster and the containers in it. `client` is what an adapter is given."""

    root: Path
    ecs: Any
    network: dict[str, list[str]]
    servers: dict[str, TestServer] = field(default_factory=dict)
    shelf: dict[str, bytes] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    lost_answers: int = 0
    boot: bool = True
    forgotten: set[str] = field(default_factory=set)
    requests: list[dict[str, Any]] = field(default_factory=list)
    _tokens: dict[str, tuple[str, str]] = field(default_factory=dict)
    _born: dict[str, datetime] = field(default_factory=dict)
    _count: Iterator[int] = field(default_factory=itertools.count)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def tasks(self) -> EcsTasks:
        """The adapter's view of this cluster."""
        settings = EcsSettings("towns", "agent", self.network["subnets"], self.network["groups"])
        return EcsTasks(settings, client=lambda: self)

    def keep(self, name: str, body: bytes) -> str:
        """A Shelf: every address is another, as presigned ones are."""
        url = f"https://shelf.example.com/{name}?{next(self._count)}"
        self.shelf[url] = body
        return url

    def address_of(self, task: EcsTask) -> str | None:
        """Where the control server of a task listens: on loopback, not at the address that moto made up."""
        server = self.servers.get(task.arn)
        return None if server is None else server.address

    def living(self) -> list[str]:
        """Tasks that nobody has stopped, oldest first."""
        return sorted(
            self.ecs.list_tasks(cluster="towns", desiredStatus="RUNNING")["taskArns"], key=self._born.__getitem__
        )

    def forget_the_ended(self) -> None:
        """What ECS does an hour after a task's end; the token of its start it remembers for a day."""
        self.forgotten |= set(self.ecs.list_tasks(cluster="towns", desiredStatus="STOPPED")["taskArns"])

    # the client -----------------------------------------------------------------------------------

    def run_task(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            self.requests.append(request)
            token, said = request["clientToken"], json.dumps(request, sort_keys=True)
            if token in self._tokens:
                arn, first = self._tokens[token]
                if first != said:
                    raise ClientError({"Error": {"Code": "ConflictException", "Message": "token in use"}}, "RunTask")
                return {"tasks": self._shown([arn]), "failures": []}
            if self.failures:
                return {"tasks": [], "failures": [self.failures.pop(0)]}
            answer: dict[str, Any] = self.ecs.run_task(**{k: v for k, v in request.items() if k != "propagateTags"})
            [task] = answer["tasks"]
            self._tokens[token] = (task["taskArn"], said)
            self._born[task["taskArn"]] = _EPOCH + timedelta(seconds=len(self._born))
            if self.boot:
                self.start_container(task["taskArn"])
            if self.lost_answers:
                self.lost_answers -= 1
                raise ReadTimeoutError(endpoint_url="ecs")
            return {"tasks": self._shown([task["taskArn"]]), "failures": []}

    def stop_task(self, *, cluster: str, task: str, reason: str) -> dict[str, Any]:
        with self._lock:
            server = self.servers.get(task)
            if server is not None:
                server.close()
            answer: dict[str, Any] = self.ecs.stop_task(cluster=cluster, task=task, reason=reason)
            return answer

    def list_tasks(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            self._notice_ends()
            found = self.ecs.list_tasks(**{"desiredStatus": "RUNNING", **request})[
                "taskArns"
            ]  # ECS's default, not moto's
            return {"taskArns": [arn for arn in found if arn not in self.forgotten]}

    def describe_tasks(self, *, cluster: str, tasks: list[str], include: list[str]) -> dict[str, Any]:
        with self._lock:
            self._notice_ends()
            return {"tasks": self._shown(tasks), "failures": []}

    # the containers -------------------------------------------------------------------------------

    def start_container(self, arn: str) -> None:
        """What Fargate does half a minute after RunTask: the image runs."""
        environment = self._environment(arn)
        settings = ControlServerSettings(
            town_id=environment["TOWN_ID"],
            command=SLEEPER,
            root=self.root / arn.rsplit("/", 1)[-1],
            instance_id=arn[-12:],
            key=KEY,
            port=0,
            look_every=0.05,
        )
        server = started(settings, Listener())
        self.servers[arn] = server
        url = environment.get(START_URL_VARIABLE)
        if url is not None:
            request = keep_own_token(StartAgentRequest.model_validate_json(self.shelf[url]), settings.root)
            server.running.sessions.start(request, effect_id=environment[START_KEY_VARIABLE])

    def close(self) -> None:
        for server in self.servers.values():
            server.close()

    def _notice_ends(self) -> None:
        """A task whose agent has ended is over; the same for one whose container was killed."""
        for arn in self.ecs.list_tasks(cluster="towns", desiredStatus="RUNNING")["taskArns"]:
            server, environment = self.servers.get(arn), self._environment(arn)
            if server is None or START_URL_VARIABLE not in environment:
                continue
            agent_id = json.loads(self.shelf[environment[START_URL_VARIABLE]])["agentId"]
            if is_over(server.running, agent_id):
                server.close()
                self.ecs.stop_task(cluster="towns", task=arn, reason="Essential container in task exited")

    def _environment(self, arn: str) -> dict[str, str]:
        [task] = self.ecs.describe_tasks(cluster="towns", tasks=[arn])["tasks"]
        [override] = task["overrides"]["containerOverrides"]
        return {each["name"]: each["value"] for each in override["environment"]}

    def _shown(self, arns: list[str]) -> list[dict[str, Any]]:
        found = self.ecs.describe_tasks(cluster="towns", tasks=arns, include=["TAGS"])["tasks"]
        return [
            {
                **task,
                "createdAt": self._born[task["taskArn"]],
                "lastStatus": "STOPPED" if task["desiredStatus"] == "STOPPED" else self._state(task["taskArn"]),
            }
            for task in found
        ]

    def _state(self, arn: str) -> str:
        return "RUNNING" if arn in self.servers else "PENDING"


def key_of(town_id: str) -> str:
    """The key of every control server here."""
    return KEY


@cache
def _client(service: str) -> Any:
    """A client costs a quarter of a second; moto gives each test an empty cloud behind the same one."""
    return boto3.client(service)


@contextmanager
def a_fargate(root: Path) -> Iterator[Fargate]:
    """An empty cluster; none of its containers is left behind."""
    names = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        with mock_aws():
            state_manager.set_transition("ecs::task", transition={"progression": "manual", "times": 1 << 30})
            ec2, ecs = _client("ec2"), _client("ecs")
            subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]][:2]
            group = ec2.create_security_group(GroupName="agents", Description="agents")["GroupId"]
            ecs.create_cluster(clusterName="towns")
            ecs.register_task_definition(
                family="agent",
                containerDefinitions=[{"name": "agent", "image": "town-agent", "memory": 512}],
                requiresCompatibilities=["FARGATE"],
                networkMode="awsvpc",
                cpu="256",
                memory="512",
            )
            fargate = Fargate(root, ecs, {"subnets": subnets, "groups": [group]})
            try:
                yield fargate
            finally:
                fargate.close()
                state_manager.unset_transition("ecs::task")


def environment_of(request: Mapping[str, Any]) -> dict[str, str]:
    """What a RunTask request puts into the container's environment."""
    [override] = request["overrides"]["containerOverrides"]
    return {each["name"]: each["value"] for each in override["environment"]}
