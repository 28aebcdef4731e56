"""Each role against the calls of its function: nothing that a function does is denied, and nothing is allowed that it never does.

The real handlers run with the settings that the template gives them, against moto, which takes every call. Their calls are
recorded and judged by the roles of the template.
"""

import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.s3.models import s3_backends
from moto.sns.models import sns_backends

from functions import wiring
from functions.archive import app as archive
from functions.authorizer import app as authorizer
from functions.credentials import app as credentials
from functions.debug import app as debug
from functions.events import app as events
from functions.redrive import app as redrive
from functions.retention import app as retention
from functions.retention.hour import hour_of
from functions.runtimes import ecs_settings
from functions.secret_stores import are_parameters
from functions.settings import WorkerSettings
from functions.tick import app as tick
from functions.worker import app as worker
from infra.devstack.waiting_tables import make_table
from shared.adapters import town_tokens
from shared.adapters.ecs_runtime import EcsContainers
from shared.adapters.ecs_tasks import EcsTasks
from shared.adapters.s3_objects import S3Objects
from shared.adapters.sqs_queue import SqsQueue
from shared.adapters.table_objects import TableObjects
from shared.adapters.town_tokens import Claims
from shared.domain.times import to_text
from shared.events.town import TownStarted
from shared.ports.agent_logs import LogName
from shared.ports.queue import Wake
from shared.ports.runtime import Awake, Done
from shared.ports.steps import drive
from shared.ports.watch import LifeNote
from shared.runner.founding import found_town
from shared.runner.life import DISPATCHER_TURN
from shared.storage import keys
from shared.storage.large_batches import BODIES, bodies_of
from tests.contracts.aws_calls import Recorder, SdkCall, record, rights_of
from tests.contracts.deployments import ON_ECS
from tests.contracts.roles import ACCOUNT, BUCKET, KEY_SECRET, QUEUE, QUEUE_URL, REGION, TABLE, TABLE_ARN, Right, Stack
from tests.contracts.test_hardening import KEY
from tests.fakes import FakeClock
from tests.fargate import a_fargate
from tests.http_events import OPERATOR, Context, request
from tests.small_layers import small_layers
from tests.towns import event
from tests.worlds import World

pytestmark = pytest.mark.long

HANDLERS: dict[str, Callable[[Any, Any], Any]] = {
    "TickFunction": tick.lambda_handler,
    "WorkerFunction": worker.lambda_handler,
    "EventsFunction": events.lambda_handler,
    "RedriveFunction": redrive.lambda_handler,
    "ArchiveFunction": archive.lambda_handler,
    "AuthorizerFunction": authorizer.lambda_handler,
    "CredentialsFunction": credentials.lambda_handler,
    "DebugFunction": debug.lambda_handler,
    "RetentionFunction": retention.lambda_handler,
}
CACHES = (
    tick.dispatcher, worker.worker, events.deployment, redrive.deployment, archive.deployment, authorizer.secret,
    credentials.deployment, debug.deployment, retention.retention, wiring._objects_of, wiring._secrets_below,
)  # fmt: skip
RULES = json.dumps([{"callers": ["*"], "towns": ["*"], "verbs": ["read", "debug", "write", "delete"]}])
TOWN = "t1"
OTHER_TOWNS = ("t2", "t3", "t4", "t5")
TWO_PASSES_MS = int((DISPATCHER_TURN + timedelta(seconds=7)).total_seconds() * 1000)
WHILE_NO_ONE_LOOKS = timedelta(days=200)


@dataclass
class Life:
    """A deployment in moto: its handlers, and a town with a long past."""

    stack: Stack
    recorder: Recorder
    world: World

    def call(self, function: str, event_: Any, *, remaining_ms: int = 20_000) -> Any:
        """Invoke a function with the settings that the template gives it."""
        with pytest.MonkeyPatch.context() as around, self.recorder.acting_as(function):
            for name, value in self.stack.environment(function).items():
                around.setenv(name, value)
            return HANDLERS[function](event_, Context(remaining_ms))

    def operator(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """A signed request to the function that has the route, which answers it well."""
        tables = {"EventsFunction": events.ROUTES, "RedriveFunction": redrive.ROUTES, "ArchiveFunction": archive.ROUTES}
        having = (
            name
            for name, routes in tables.items()
            if any(_fits(route.method, route.path, method, path) for route in routes)
        )
        function = next(having, "DebugFunction")
        return self._answered(function, request(method, path, body, caller=OPERATOR, query=query))

    def holder(
        self, method: str, path: str, body: Any = None, *, function: str = "EventsFunction", **claims: str
    ) -> Any:
        """A request with a town token."""
        held = {"town": TOWN, "scope": "operator", "expires": "99999999999", **claims}
        return self._answered(function, request(method, path, body, claims=held))

    def _answered(self, function: str, asked: Any) -> Any:
        answer = self.call(function, asked)
        assert answer["statusCode"] < 500, (asked["rawPath"], answer)
        return json.loads(answer["body"] or "null")

    def post(self, town: str, event_type: str, payload: Any, **more: Any) -> None:
        """A producer reports a fact."""
        fact = {
            "event_id": f"{event_type}-{len(self.recorder.calls)}",
            "event_type": event_type,
            "payload": payload,
            **more,
        }
        self.holder("POST", f"/api/towns/{town}/events", [fact], town=town)

    def minute(self) -> Any:
        """The schedule calls the dispatcher."""
        now = to_text(datetime.now(UTC))
        return self.call(
            "TickFunction", {"scheduled_time": now, "execution_id": "x", "attempt": "1"}, remaining_ms=TWO_PASSES_MS
        )

    def work(self) -> None:
        """The queue calls the worker with each message that waits."""
        queue = boto3.client("sqs")
        while messages := queue.receive_message(QueueUrl=QUEUE_URL, AttributeNames=["All"]).get("Messages"):
            [message] = messages
            record = {
                "messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"],
                "attributes": message["Attributes"],
            }  # fmt: skip
            self.call("WorkerFunction", {"Records": [record]}, remaining_ms=170_000)
            queue.delete_message(QueueUrl=QUEUE_URL, ReceiptHandle=message["ReceiptHandle"])


def _fits(method: str, path: str, asked: str, at: str) -> bool:
    parts, given = path.split("/"), at.split("/")
    return (
        method == asked
        and len(parts) == len(given)
        and all(a == b or a.startswith("{") for a, b in zip(parts, given, strict=True))
    )


def a_past(world: World) -> None:
    """A town of two hundred days: snapshots, spills, patches, a journal and an archive that nothing needs any more."""
    drive(found_town(TOWN, world.around, worker_id="founder"))
    world.post(
        event("rig_registered", {"rig_id": "r1", "name": "main", "git_url": "git@github.com:acme/app.git"}),
        town_id=TOWN,
    )
    world.run(town_id=TOWN)
    for number in range(24):
        world.clock.move(days=4)
        body = random.Random(number).randbytes(6000).hex()
        bead = {"bead_id": f"old-{number}", "type": "issue", "title": "t", "body": body, "labels": ["gt:held"]}
        world.post(event("bead_created", {"bead": bead}, event_id=f"bead-{number:04}"), town_id=TOWN)
        if number:
            world.post(
                event("bead_cancelled", {"by": "me"}, bead=f"old-{number - 1}", event_id=f"cancel-{number:04}"),
                town_id=TOWN,
            )
        world.run(town_id=TOWN)


def a_poisoned_event(world: World) -> None:
    """An event whose application fails three times, a moment ago."""
    world.clock.at = datetime.now(UTC) - timedelta(minutes=1)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(TownStarted, "apply", _fail)
        world.post(event("town_started", event_id="poisoned-event"), town_id=TOWN)
        for _ in range(3):
            world.run(town_id=TOWN)
            world.clock.move(seconds=10)


def _fail(*_: Any) -> Any:
    raise KeyError("not now")


@contextmanager
def deployment(task_per: str, home: Path, *, secrets: str = "secretsmanager") -> Iterator[Life]:
    """A deployment with agents on ECS, in which nothing has happened yet. `secrets` is the service that keeps its secrets."""
    with pytest.MonkeyPatch.context() as patched, a_fargate(home) as fargate:
        patched.setenv("AWS_ACCESS_KEY_ID", "AKIA" + "0" * 16)
        patched.setenv("AWS_REGION", REGION)
        patched.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
        small_layers(patched, 24 * 1024, patch_files=2)
        on_ecs = {
            "EcsTaskPer": task_per,
            "EcsCluster": "towns",
            "EcsTaskDefinition": "agent",
            "EcsSubnets": ",".join(fargate.network["subnets"]),
            "EcsSecurityGroups": ",".join(fargate.network["groups"]),
        }
        more = {"AccessRules": RULES, "KmsKeyArn": KEY, "SecretsStore": secrets, "NoticeEmail": "me@example.com"}
        stack = Stack(**{**ON_ECS, **on_ecs, **more})
        clock = FakeClock(datetime.now(UTC) - WHILE_NO_ONE_LOOKS)
        objects = S3Objects(
            BUCKET,
            kind_of=keys.kind_of,
            waiting=lambda bodies: TableObjects(TABLE, bodies, spread=keys.DUE, large=BODIES),
        )
        world = World(objects=objects, clock=clock)
        _services()
        try:
            yield Life(stack, record(patched), world)
        finally:
            for cached in CACHES:
                cached.cache_clear()


@pytest.fixture(scope="module", params=["secretsmanager", "ssm"])
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    with deployment("agent", tmp_path_factory.mktemp("fargate"), secrets=request.param) as made:
        a_past(made.world)
        aged()
        without_replaced_heads()
        a_poisoned_event(made.world)
        live(made)
        yield made


def _services() -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    make_table(boto3.client("dynamodb"), TABLE)
    boto3.client("sqs").create_queue(QueueName=QUEUE, Attributes={"FifoQueue": "true", "VisibilityTimeout": "0"})
    boto3.client("sns").create_topic(Name="NoticeTopic")
    boto3.client("secretsmanager").create_secret(Name=KEY_SECRET.rpartition(":")[2], SecretString="k" * 48)


def live(life: Life) -> None:
    """Everything that a deployment does in a day."""
    here = f"/api/towns/{TOWN}"
    for town in OTHER_TOWNS:
        life.operator("PUT", f"/api/towns/{town}", {})
    life.operator("GET", "/api/towns")
    life.minute()  # too many towns are due for the dispatcher alone
    life.work()
    life.post(TOWN, "bead_created", {"bead": {"bead_id": "b1", "type": "issue", "title": "Do it", "rig_id": "r1"}})
    life.work()
    agents = life.operator("GET", f"{here}/agents")["agents"]
    [agent] = [each["agentId"] for each in agents if each["hook"] == "b1"]
    holder = {"scope": "agent", "agent": agent, "generation": "1"}
    life.holder("PUT", f"{here}/agents/{agent}/log", b"working", **holder)
    aged(f"towns/{TOWN}/logs/")
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{bodies_of(TOWN)}left-behind.1", Body=b"[]")
    aged(BODIES)
    life.post(TOWN, "agent_heartbeat", {"last_event_type": "turn"}, agent_id=agent)
    for town in (TOWN, "t9"):
        path = f"/api/towns/{town}/agents/{agent}/refresh-token"
        life.holder("POST", path, function="CredentialsFunction", **{**holder, "town": town})
    life.operator("POST", f"{here}/events/poisoned-event/redrive")
    life.operator("POST", "/api/towns/t9/events/poisoned-event/redrive")
    life.operator("POST", f"{here}/mayor/messages", {"text": "hello"})
    fact = {"event_id": "operator-0001", "event_type": "bead_updated", "bead_id": "b1", "payload": {"priority": "high"}}
    life.operator("POST", f"{here}/operator/events", fact)
    life.operator("POST", f"{here}/resume")
    _asked(life, agent)
    life.minute()
    life.work()
    life.post(TOWN, "bead_cancelled", {"by": "me"}, bead_id="b1")
    life.post(TOWN, "escalation_raised", {"title": "The disk is full", "severity": "high"})
    life.work()  # a worker stops the agent, and sends a mail
    _acknowledged_by_the_mail(life)
    _beside_workers(life)
    _without_luck(life)
    _put_away(life)
    hour = f"2026-01-10T{hour_of(TOWN):02d}:30:00Z"
    said = life.call(
        "RetentionFunction", {"scheduled_time": hour, "execution_id": "x", "attempt": "1"}, remaining_ms=800_000
    )
    assert said["objects"] > 0


def _put_away(life: Life) -> None:
    """A town is archived, brought back, archived again and deleted for good; one that does not exist is not."""
    life.operator("PUT", "/api/towns/t8", {"paused": True})
    life.minute()
    drive(life.world.store.mark_due("t8", datetime.now(UTC) + timedelta(days=1)))  # as a town with a wait has one
    for town in ("t8", "nowhere"):
        life.operator("POST", f"/api/towns/{town}/archive", {"confirm": town})
        life.operator("GET", "/api/archived-towns")
        life.operator("POST", f"/api/towns/{town}/bring-back")
        life.work()
        life.minute()
        life.operator("POST", f"/api/towns/{town}/archive", {"confirm": town, "reason": "over"})
        life.operator("POST", f"/api/towns/{town}/delete", {"confirm": town, "now": True})


def _beside_workers(life: Life) -> None:
    """The queue loses its wakes, so the dispatcher itself runs a town, and stops an agent."""
    life.post("t2", "rig_registered", {"rig_id": "r1", "name": "main", "git_url": "https://git.example.com/a/b.git"})
    life.post("t2", "bead_created", {"bead": {"bead_id": "b1", "type": "issue", "title": "Do it", "rig_id": "r1"}})
    life.work()
    life.post("t2", "bead_cancelled", {"by": "me"}, bead_id="b1")
    boto3.client("sqs").purge_queue(QueueUrl=QUEUE_URL)
    life.minute()


def _without_luck(life: Life) -> None:
    """A town that cannot be read, one that runs apart, and a process that has ended among its towns."""
    boto3.client("s3").put_object(Bucket=BUCKET, Key="towns/t9/head", Body=b"no head")
    SqsQueue(QUEUE_URL).send((Wake("t9", (), "t9:1"), Wake(TOWN, (), f"{TOWN}:alone", alone=True)))
    life.work()
    now = datetime.now(UTC)
    drive(life.world.store.note_life(LifeNote("a-life-that-ended", ("t3",), now - timedelta(hours=1))))
    life.minute()


def _acknowledged_by_the_mail(life: Life) -> None:
    """A person opens the link in a mail, and uses its button."""
    [sent] = sns_backends[ACCOUNT][REGION].topics[life.stack.arn("NoticeTopic")].sent_notifications
    [link] = re.findall(r"^https://.*(/acknowledge/.+)$", sent[1], re.MULTILINE)
    for method, status in (("GET", 200), ("POST", 202)):
        asked = request(method, link, route=redrive.LINK, parameters={"link": link.rpartition("/")[2]})
        assert life.call("RedriveFunction", asked)["statusCode"] == status
    life.work()
    [escalation] = life.operator("GET", f"/api/towns/{TOWN}/escalations")["escalations"]
    assert escalation["acknowledged"] is True


def _asked(life: Life, agent: str) -> None:
    """Every question of the debug API, by an operator and by an agent; and a token."""
    now = datetime.now(UTC)
    window = {"from": to_text(now - timedelta(days=1)), "to": to_text(now)}
    newest = life.operator("GET", f"/api/towns/{TOWN}/ticks")["ticks"][-1]["tick"]
    txid = life.operator("GET", f"/api/towns/{TOWN}/points")["points"][0]["txid"]
    more = {"timeline": {"start": window["from"], "end": window["to"]}}
    for route in debug.ROUTES:
        named = {"beadId": "b1", "agentId": agent, "tick": newest, "txid": txid, "eventId": "poisoned-event"}
        path = route.path.format(townId=TOWN, **named)
        body = window if path.endswith("/replay-events") else {} if route.method == "POST" else None
        if route.guard == "townToken":
            asked = {"scope": "agent", "agent": agent, "generation": "1"}
            life.holder(route.method, path, body, function="DebugFunction", **asked)
        else:
            life.operator(route.method, path, body, **more.get(path.rpartition("/")[2], {}))
    token = town_tokens.issue(Claims(TOWN, "operator"), ["k" * 48], now=now)
    answer = life.call("AuthorizerFunction", {"headers": {"authorization": f"Bearer {token}"}})
    assert answer["isAuthorized"] is True


def aged(prefix: str = "") -> None:
    """Let the objects below a prefix be of long ago."""
    bucket = s3_backends[ACCOUNT]["aws"].buckets[BUCKET]
    for key in list(bucket.keys):
        if key.startswith(prefix):
            for version in bucket.keys.getlist(key):
                version.last_modified -= WHILE_NO_ONE_LOOKS


def without_replaced_heads() -> None:
    """What the lifecycle of the bucket does."""
    s3 = boto3.client("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for version in page.get("Versions", ()):
            if not version["IsLatest"]:
                s3.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])


def rights_used_by_aws(stack: Stack) -> dict[str, list[Right]]:
    """By role: what AWS itself does in its name."""
    used: dict[str, list[Right]] = {}
    dead = [
        Right("sqs:SendMessage", stack.arn("TicksDead")),
        Right("kms:GenerateDataKey", KEY),
        Right("kms:Decrypt", KEY),
    ]
    for each in stack.resources.values():
        told = each["Properties"]
        if each["Type"] == "AWS::Lambda::EventInvokeConfig":
            assert told["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["TicksDead", "Arn"]}
            used.setdefault(f"{told['FunctionName']['Ref']}Role", []).extend(dead)
        elif each["Type"] == "AWS::Scheduler::Schedule":
            target = told["Target"]
            role = used.setdefault(target["RoleArn"]["Fn::GetAtt"][0], [])
            role += [Right("lambda:InvokeFunction", stack.said(target["Arn"])), *dead]
            assert target["DeadLetterConfig"]["Arn"] == {"Fn::GetAtt": ["TicksDead", "Arn"]}
        elif each["Type"] == "AWS::Lambda::Function":  # its settings are encrypted
            used.setdefault(f"{told['Role']['Fn::GetAtt'][0]}", []).append(Right("kms:Decrypt", KEY))
    return used


def rights_of_other_days(stack: Stack) -> dict[str, list[Right]]:
    """By role: what its function does on days that this life has not; other tests show that it does."""
    now = datetime.now(UTC)
    inbox = keys.inbox_object(TOWN, now, "batch")
    marker = keys.due_marker(TOWN, now).key
    forgotten = [
        keys.snapshot(TOWN, 1),
        keys.spill(TOWN, 1, 2),
        keys.patch_file(TOWN, 1, 2),
        keys.journal(TOWN, 1, 2),
        keys.archive_index(TOWN, 1),
        keys.log(TOWN, LogName("toast", 1, "log", "container")),
    ]
    deleted = [Right("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/{key}") for key in forgotten]
    prefix = stack.environment("TickFunction")["SECRETS_PREFIX"]
    token = (
        Right("ssm:GetParameters", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{prefix}/towns/t1/forges/github.com")
        if are_parameters(prefix)
        else Right(
            "secretsmanager:GetSecretValue",
            f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{prefix}/towns/t1/forges/github.com-a1b2c3",
        )
    )
    # where many towns have secrets, no listing tells them all (tests/unit/adapters/test_ssm_parameters.py)
    of_agents = [replace(token, resource=token.resource.replace("/towns/", "/agents/towns/"))]
    listing = (
        [Right("ssm:GetParametersByPath", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{prefix}/towns")]
        if are_parameters(prefix)
        else []
    )
    task = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/towns/a-task"
    cluster = {"ecs:cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/towns"}
    body = f"arn:aws:s3:::{BUCKET}/{BODIES}{inbox}.1"
    moved = [Right(f"s3:{verb}Object", body) for verb in ("Get", "Put", "Delete")]
    return {
        # what is too large for the table is in the bucket (tests/unit/storage/test_waiting_rooms.py)
        "WorkerFunctionRole": moved,
        "EventsFunctionRole": moved,
        "RedriveFunctionRole": [*moved, Right("dynamodb:GetItem", TABLE_ARN)],
        "ArchiveFunctionRole": moved[2:],
        "DebugFunctionRole": [moved[0], Right("dynamodb:GetItem", TABLE_ARN)],
        # tests/integration/test_restore_and_retention.py deletes one of each kind
        "RetentionFunctionRole": [*deleted, moved[0]],
        # the layers of an image are a spill, patch files or both (tests/unit/storage/test_patches.py)
        "CredentialsFunctionRole": [
            Right("s3:GetObject", f"arn:aws:s3:::{BUCKET}/{keys.patch_file(TOWN, 1, 2)}"),
            *of_agents,
        ],
        # a dispatcher whose minute has just begun runs what takes at most half of it: it stops agents, renews their tokens, polls
        # pull requests, and posts the results (tests/unit/runner/test_minute.py)
        "TickFunctionRole": [
            Right("s3:PutObject", f"arn:aws:s3:::{BUCKET}/{keys.head(TOWN)}", {"s3:if-match": "e"}),
            *moved,
            *(Right(f"dynamodb:{verb}Item", TABLE_ARN) for verb in ("Get", "Put", "Delete")),
            # the hourly sweep takes in what was left in the bucket (tests/unit/storage/test_gathering.py)
            Right("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/{inbox}"),
            Right("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/{marker}"),
            Right("secretsmanager:GetSecretValue", KEY_SECRET),
            token,
            *listing,
            Right("ecs:StopTask", task, cluster),
            Right("sns:Publish", stack.arn("NoticeTopic")),
        ],
    }


def rights_used(life: Life) -> dict[str, list[Right]]:
    """By role: what the calls of its function needed, what they need on other days, and what AWS does in its name."""
    used = rights_used_by_aws(life.stack)
    for role, rights in rights_of_other_days(life.stack).items():
        used.setdefault(role, []).extend(rights)
    for function, call in life.recorder.calls:
        if not _asks_only_for_the_time(call):
            used.setdefault(f"{function}Role", []).extend(rights_of(call, kms_key=KEY))
    return used


def _asks_only_for_the_time(call: SdkCall) -> bool:
    """Whether it needs no permission: a refusal says the time as well."""
    return (call.operation, call.given.get("Key")) == ("HeadObject", "probe/time")


def denied_in(life: Life) -> list[str]:
    found = {
        f"{role}: {right}"
        for role, rights in rights_used(life).items()
        for right in rights
        if not life.stack.allows(role, right)
    }
    return sorted(found)


def test_a_town_that_has_one_task_for_all_its_agents_is_denied_nothing(tmp_path: Path) -> None:
    with deployment("town", tmp_path) as made:
        with pytest.MonkeyPatch.context() as around, made.recorder.acting_as("WorkerFunction"):
            for name, value in made.stack.environment("WorkerFunction").items():
                around.setenv(name, value)
            settings = WorkerSettings.from_environment()
            assert settings.ecs is not None
            tasks = EcsTasks(ecs_settings(settings.ecs, api=settings.agents_api))
            containers = EcsContainers(tasks, key_of=lambda _: "a-key", look_every=0.05)
            assert not isinstance(containers.wake("t1", effect_id="e", seconds=0.1), Awake)  # it starts
            assert containers.state("t1") in ("starting", "running")
            assert containers.stop("t1", effect_id="e") == Done()
        used = {call.operation for call in made.recorder.of("WorkerFunction")}
        assert used >= {"RunTask", "ListTasks", "DescribeTasks", "StopTask"}
        assert denied_in(made) == []


def test_no_function_is_denied_anything_that_it_does(life: Life) -> None:
    assert len(life.recorder.calls) > 500
    assert denied_in(life) == []


def test_an_unconditional_write_of_a_head_and_a_strangers_bucket_are_denied(life: Life) -> None:
    """The evaluator itself: it would find a role that lacks something."""
    head = f"arn:aws:s3:::{BUCKET}/towns/t1/head"
    assert life.stack.allows("WorkerFunctionRole", Right("s3:PutObject", head, {"s3:if-match": "e"}))
    assert not life.stack.allows("WorkerFunctionRole", Right("s3:PutObject", head))
    assert not life.stack.allows("EventsFunctionRole", Right("s3:PutObject", head, {"s3:if-match": "e"}))
    assert not life.stack.allows("WorkerFunctionRole", Right("s3:GetObject", "arn:aws:s3:::another/towns/t1/head"))
    assert not life.stack.allows(
        "TickFunctionRole", Right("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", {"s3:prefix": "x/"})
    )


def test_no_role_allows_what_nobody_does_with_it(life: Life) -> None:
    unused = {
        f"{role}: {permission}"
        for role, rights in rights_used(life).items()
        for permission in life.stack.permissions(role)
        if not any(permission.covers(right) for right in rights)
    }
    assert not unused, "\n".join(sorted(unused))
