"""Amazon ECS tasks of towns: run one, find those of a town, stop one. Expected answers are values.

A town's tasks have `startedBy` = town/<town id> and tags. ECS is eventually consistent: a task that was just started may not
be found for some seconds. The clientToken makes RunTask idempotent (64 characters, the length of an effect id); ECS
remembers it for a day, longer than it shows an ended task. A 200 may contain `failures` instead of a task.
"""

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final

from shared.adapters import aws_sdk
from shared.adapters.aws_sdk import AwsClient, OnDemand, code_of, sdk_errors, sentence_of, status_of
from shared.ports.runtime import Done, NotDone, StartRejected, StartUnknown

_CONNECT_SECONDS: Final = 2.0
_READ_SECONDS: Final = 8.0
_ATTEMPTS: Final = 2
LONGEST_CALL_SECONDS: Final = _ATTEMPTS * (_CONNECT_SECONDS + _READ_SECONDS)
"""The longest time that one API call takes, answered or not."""

_PAGE: Final = 100
_LONGEST_SENTENCE: Final = 300
_SEEN_SECONDS: Final = 2.0
_PASSING: Final = frozenset({"ThrottlingException", "TooManyRequestsException", "LimitExceededException"})
_ALSO_OF_CAPACITY: Final = frozenset({"ClientException", "InvalidParameterException"})
_NOTHING_SENT: Final = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "NoCredentialsError", "NoRegionError", "ParamValidationError"}
)
_FULL: Final = ("capacity", "limit", "quota", "throttl", "rate exceeded", "too many requests")
"""Words in ECS messages that mean that there is no capacity for a task now, or that a request behind the call was throttled."""

_TWO_FILTERS: Final = frozenset({"InvalidParameterException", "ClientException"})
"""With these, ECS would refuse a list by `startedBy` and `desiredStatus`: its API reference calls `startedBy` the only filter."""

_TAG_VALUE: Final = re.compile(r"[A-Za-z0-9+\-=._:/@]{1,256}", re.ASCII)
_OLDEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class EcsSettings:
    """Where tasks run. Name subnets in several zones, so that a zone without capacity does not stop agents from starting.

    `capacity` is FARGATE, which needs no setup, or a capacity provider of the cluster (FARGATE_SPOT, or one of your own).
    """

    cluster: str
    task_definition: str
    subnets: Sequence[str]
    security_groups: Sequence[str]
    container: str = "agent"
    port: int = 8080
    capacity: str = "FARGATE"
    assign_public_ip: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EcsTask:
    """One task as ECS describes it."""

    arn: str
    status: str
    wanted: str
    ip: str | None
    tags: Mapping[str, str]
    started_by: str
    created_at: datetime
    stopped_reason: str | None
    exit_code: int | None

    @property
    def lives(self) -> bool:
        """Whether it runs or will run, and no stop was requested."""
        return self.wanted == "RUNNING" and self.status in ("PROVISIONING", "PENDING", "ACTIVATING", "RUNNING")

    @property
    def generation(self) -> int:
        """The generation of the agent for which it was started; 0 if it was not started for an agent."""
        text = self.tags.get("town-generation", "0")
        return int(text) if text.isdigit() else 0


@dataclass(frozen=True, slots=True)
class NotSeen:
    """ECS did not say which tasks exist. There may be some."""

    reason: str


class EcsTasks:
    """The ECS API of one cluster. `client` creates the boto3 client at its first use. Safe for threads."""

    def __init__(self, settings: EcsSettings, *, client: Callable[[], AwsClient] | None = None) -> None:
        self.settings = settings
        self._made = OnDemand(client or _client)
        self._one_filter = False
        self._seen: dict[str, tuple[float, tuple[EcsTask, ...]]] = {}
        self._looking = Lock()

    def recent(self, town_id: str) -> tuple[EcsTask, ...] | NotSeen:
        """All tasks of the town, cached for two seconds: a tick asks about each of its agents."""
        with self._looking:
            at, tasks = self._seen.get(town_id, (float("-inf"), ()))
            if time.monotonic() - at < _SEEN_SECONDS:
                return tasks
            found = self.find(town_id, ended=True)
            if not isinstance(found, NotSeen):
                self._seen[town_id] = (time.monotonic(), found)
            return found

    def find(self, town_id: str, *, ended: bool) -> tuple[EcsTask, ...] | NotSeen:
        """The town's tasks, oldest first; with `ended`, stopped ones too (ECS shows them for about an hour)."""
        try:
            arns = [
                arn
                for wanted in (("RUNNING", "STOPPED") if ended else ("RUNNING",))
                for arn in self._of_town(town_id, wanted)
            ]
            found = [
                task for start in range(0, len(arns), _PAGE) for task in self._describe(arns[start : start + _PAGE])
            ]
        except sdk_errors() as error:
            return NotSeen(_sentence(error))
        ours = (task for task in found if task.started_by == started_by(town_id))
        return tuple(sorted(ours, key=lambda task: (task.created_at, task.arn)))

    def run(
        self, town_id: str, *, token: str, environment: Mapping[str, str], tags: Mapping[str, str]
    ) -> EcsTask | StartRejected | StartUnknown:
        """Run one task. The same token with the same arguments gives the same task."""
        settings = self.settings
        network = {
            "subnets": list(settings.subnets),
            "securityGroups": list(settings.security_groups),
            "assignPublicIp": "ENABLED" if settings.assign_public_ip else "DISABLED",
        }
        variables = [
            {"name": name, "value": value} for name, value in sorted({**settings.environment, **environment}.items())
        ]
        try:
            answer = self._client.run_task(
                cluster=settings.cluster,
                taskDefinition=settings.task_definition,
                count=1,
                clientToken=token[:64],
                startedBy=started_by(town_id),
                networkConfiguration={"awsvpcConfiguration": network},
                overrides={"containerOverrides": [{"name": settings.container, "environment": variables}]},
                tags=[{"key": key, "value": value} for key, value in sorted(tags.items())],
                enableECSManagedTags=True,
                enableExecuteCommand=False,
                propagateTags="TASK_DEFINITION",
                **_capacity(settings.capacity),
            )
        except sdk_errors() as error:
            return _not_run(error)
        finally:
            self._seen.clear()
        if answer.get("tasks"):
            return _task(answer["tasks"][0])
        return _failure(answer.get("failures") or [])

    def stop(self, arn: str, *, reason: str) -> Done | NotDone:
        """Request the stop of a task. Done if it is gone."""
        try:
            self._client.stop_task(cluster=self.settings.cluster, task=arn, reason=reason[:255])
        except sdk_errors() as error:
            if code_of(error) == "InvalidParameterException" and "not found" in str(error).lower():
                return Done()
            return NotDone(_sentence(error), passing=_may_pass(error))
        finally:
            self._seen.clear()
        return Done()

    @property
    def _client(self) -> AwsClient:
        return self._made()

    def _of_town(self, town_id: str, wanted: str) -> list[str]:
        """The town's tasks, and perhaps those of others: with one filter, the stopped ones are those of the whole cluster."""
        ours = {"startedBy": started_by(town_id)}
        if not self._one_filter:
            try:
                return self._list(**ours, desiredStatus=wanted)
            except sdk_errors() as error:
                if code_of(error) not in _TWO_FILTERS:
                    raise
                self._one_filter = True
        return self._list(**ours) if wanted == "RUNNING" else self._list(desiredStatus=wanted)

    def _list(self, **filters: str) -> list[str]:
        found: list[str] = []
        more: dict[str, str] = {}
        while True:
            answer = self._client.list_tasks(cluster=self.settings.cluster, maxResults=_PAGE, **filters, **more)
            found += answer["taskArns"]
            if not answer.get("nextToken"):
                return found
            more = {"nextToken": answer["nextToken"]}

    def _describe(self, arns: Sequence[str]) -> list[EcsTask]:
        answer = self._client.describe_tasks(cluster=self.settings.cluster, tasks=list(arns), include=["TAGS"])
        return [_task(task) for task in answer["tasks"]]


def started_by(town_id: str) -> str:
    """The `startedBy` by which all tasks of a town are found."""
    return f"town/{town_id}"


def tag_value(text: str) -> str:
    """A text as the value of a tag: itself, or its digest if AWS would reject it (an agent's id may be any text)."""
    if _TAG_VALUE.fullmatch(text) and not text.lower().startswith("aws:"):
        return text
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _capacity(name: str) -> dict[str, object]:
    if name == "FARGATE":
        return {"launchType": name}
    return {"capacityProviderStrategy": [{"capacityProvider": name, "weight": 1}]}


def _client() -> AwsClient:
    return aws_sdk.client("ecs", connect_seconds=_CONNECT_SECONDS, read_seconds=_READ_SECONDS, attempts=_ATTEMPTS)


def _task(shown: Mapping[str, Any]) -> EcsTask:
    details = [detail for part in shown.get("attachments") or () for detail in part.get("details") or ()]
    codes = [part["exitCode"] for part in shown.get("containers") or () if part.get("exitCode") is not None]
    return EcsTask(
        arn=shown["taskArn"],
        status=shown.get("lastStatus") or "UNKNOWN",
        wanted=shown.get("desiredStatus") or "UNKNOWN",
        ip=next((detail["value"] for detail in details if detail.get("name") == "privateIPv4Address"), None),
        tags={tag["key"]: tag["value"] for tag in shown.get("tags") or ()},
        started_by=shown.get("startedBy") or "",
        created_at=shown.get("createdAt") or _OLDEST,
        stopped_reason=shown.get("stoppedReason") or None,
        exit_code=next(iter(codes), None),
    )


def _not_run(error: Exception) -> StartRejected | StartUnknown:
    """The meaning of a RunTask error: nothing was started, or the outcome is unknown."""
    name, code = type(error).__name__, code_of(error)
    if code in _PASSING or (code in _ALSO_OF_CAPACITY and _says_full(_sentence(error))):
        return StartRejected(f"ECS takes no start now: {_sentence(error)}", kind="no_capacity")
    if name in _NOTHING_SENT or (code and status_of(error) < 500 and code != "ConflictException"):
        return StartRejected(f"ECS refused the start: {_sentence(error)}", kind="bad_configuration")
    return StartUnknown(f"ECS did not say whether it started the task: {_sentence(error)}")


def _failure(failures: Sequence[Mapping[str, Any]]) -> StartRejected:
    """A 200 without a task: the reason of the first failure."""
    first = failures[0] if failures else {}
    reason = " ".join(str(first[key]) for key in ("reason", "detail") if first.get(key)) or "no reason given"
    full = reason.startswith("RESOURCE") or _says_full(reason)
    said = f"ECS started no task: {reason[:_LONGEST_SENTENCE]}"
    return StartRejected(said, kind="no_capacity" if full else "refused")


def _says_full(text: str) -> bool:
    return any(word in text.lower() for word in _FULL)


def _may_pass(error: Exception) -> bool:
    return not code_of(error) or code_of(error) in _PASSING or status_of(error) >= 500


def _sentence(error: Exception) -> str:
    name, said = code_of(error) or type(error).__name__, sentence_of(error)
    return f"{name}: {said}" if said else name
