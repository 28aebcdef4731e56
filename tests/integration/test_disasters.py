"""The pages about moves and losses, against the emulated stack: the real functions, moto, and every command of the pages."""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from shared.adapters.s3_objects import S3Objects
from shared.ports.steps import drive
from shared.storage import keys
from shared.storage.towns import ObjectTownStore
from tests.contracts.deployments import deployed
from tests.contracts.roles import ACCOUNT, BUCKET, QUEUE, QUEUE_URL, REGION, TABLE
from tests.contracts.test_roles import Life, deployment
from tests.integration.runbook_shell import RunbookShell

pytestmark = pytest.mark.long

ARNS = {f"{name.upper()}-ARN": f"{name.capitalize()}Function" for name in ("tick", "worker", "retention", "events")}
RIG = {"rig_id": "r1", "name": "main", "git_url": "https://git.example.com/a/b.git"}


@dataclass
class Stack:
    """A deployment with one town that works, and the shell of the runbook."""

    life: Life
    shell: RunbookShell
    backup: dict[str, bytes] = field(default_factory=dict)

    def create(self, bead_id: str) -> None:
        """A bead for the town, and a worker that starts an agent for it."""
        bead = {"bead_id": bead_id, "type": "issue", "title": bead_id, "rig_id": "r1"}
        self.life.post("t1", "bead_created", {"bead": bead})
        self.life.work()

    def beads(self) -> set[str]:
        return {each["beadId"] for each in self.life.operator("GET", "/api/towns/t1/beads", type="issue")["beads"]}

    def is_stopped(self, function: str) -> bool:
        """Whether the page has taken the function all its concurrency."""
        found = boto3.client("lambda").get_function_concurrency(FunctionName=function)
        return found.get("ReservedConcurrentExecutions") == 0

    def back_up(self) -> None:
        s3 = boto3.client("s3")
        listed = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
        self.backup = {each["Key"]: s3.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read() for each in listed}

    def lose_the_bucket_and_bring_the_backup_back(self) -> None:
        s3 = boto3.client("s3")
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
            for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                s3.delete_object(Bucket=BUCKET, Key=each["Key"], VersionId=each["VersionId"])
        for key, body in self.backup.items():
            s3.put_object(Bucket=BUCKET, Key=key, Body=body)


def newest(bucket: str = BUCKET) -> Any:
    """The newest commit of the town."""
    return drive(ObjectTownStore(S3Objects(bucket)).load("t1"))


def functions() -> None:
    """The functions of the stack, as far as their concurrency is concerned."""
    role = boto3.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w") as packed:
        packed.writestr("app.py", "")
    for name in ARNS.values():
        boto3.client("lambda").create_function(
            FunctionName=name, Runtime="python3.13", Role=role, Handler="app.f", Code={"ZipFile": bundle.getvalue()}
        )


@pytest.fixture
def stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Stack]:
    with deployment("agent", tmp_path / "fargate") as life:
        functions()
        names = {**ARNS, "BUCKET": BUCKET, "OLD": BUCKET, "NEW": "towns-of-another", "TOWN": "t1", "STACK": "towns"}
        made = Stack(life, RunbookShell(tmp_path, capsys, names))
        life.operator("PUT", "/api/towns/t1", {})
        life.post("t1", "rig_registered", RIG)
        life.work()
        made.create("b1")
        yield made


def test_a_queue_that_was_deleted_is_made_again_and_no_event_is_lost(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs = boto3.client("sqs")
    dead = sqs.create_queue(QueueName="towns-wakes-dead.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    sqs.delete_queue(QueueUrl=QUEUE_URL)
    stack.life.post("t1", "bead_created", {"bead": {"bead_id": "b2", "type": "issue", "title": "x", "rig_id": "r1"}})
    with pytest.raises(ClientError):
        sqs.get_queue_attributes(QueueUrl=QUEUE_URL)

    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{dead.rpartition('/')[2]}"
    redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})}
    (stack.shell.home / "redrive.json").write_text(json.dumps(redrive))
    stack.shell.names |= {"STACK-wakes.fifo": QUEUE, "WAKES-URL": QUEUE_URL}
    stack.shell.run("disaster", section="The queue")
    made = sqs.get_queue_attributes(QueueUrl=QUEUE_URL, AttributeNames=["All"])["Attributes"]
    wanted = deployed()["Wakes"]["Properties"]
    for name in (
        "FifoQueue",
        "DeduplicationScope",
        "FifoThroughputLimit",
        "VisibilityTimeout",
        "MessageRetentionPeriod",
    ):
        assert made[name].lower() == str(wanted[name]).lower()
    assert json.loads(made["RedrivePolicy"])["maxReceiveCount"] == wanted["RedrivePolicy"]["maxReceiveCount"]
    stack.life.minute()
    stack.life.work()
    assert stack.beads() == {"b1", "b2"}


def test_a_bucket_without_its_newest_day_goes_on_under_numbers_that_the_lost_day_has_not_used(stack: Stack) -> None:
    stack.back_up()
    stack.create("b2")
    lost = newest()
    stack.lose_the_bucket_and_bring_the_backup_back()
    stopped: list[bool] = []
    stack.shell.before = {"townctl --bucket BUCKET restore": lambda: stopped.append(stack.is_stopped("WorkerFunction"))}
    stack.shell.run("disaster", section="The bucket's newest day")
    assert stopped == [True]
    assert not stack.is_stopped("TickFunction")
    assert not stack.is_stopped("WorkerFunction")
    restored = newest()
    assert restored.txid > lost.txid
    assert restored.facts.tick_no > lost.facts.tick_no
    assert restored.facts.epoch == lost.facts.epoch + 1
    stack.life.minute()
    stack.life.work()
    assert stack.beads() == {"b1"}
    stack.create("b3")
    assert stack.beads() == {"b1", "b3"}


def test_a_bucket_moves_to_another_account_with_everything_that_a_town_needs(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = newest()
    stack.shell.names["TABLE"] = TABLE
    stack.shell.programs = {"export TOWNCTL_TABLE=none": lambda: monkeypatch.setenv("TOWNCTL_TABLE", "none")}
    boto3.client("s3").put_object(Bucket=BUCKET, Key=keys.life("an-old-process"), Body=b"{}")
    stack.shell.run("move-a-bucket")
    assert all(stack.is_stopped(function) for function in ARNS.values())
    moved = newest("towns-of-another")
    assert (moved.txid, moved.image) == (before.txid, before.image)
    listed = {each["Key"] for each in boto3.client("s3").list_objects_v2(Bucket="towns-of-another")["Contents"]}
    assert not [key for key in listed if key.startswith(("watch/", "orders/", "probe/"))]
    assert stack.shell.said["doctor"]["findings"] == []


def test_a_town_moves_to_another_stack_and_the_old_one_has_it_no_more(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stack.shell.home)
    boto3.client("s3").create_bucket(Bucket="towns-of-another")
    stack.life.operator("PUT", "/api/towns/t2", {})
    stack.life.work()
    stack.shell.run("move-a-town")
    assert stack.shell.said["town"]["townId"] == "t1"
    assert [town["townId"] for town in stack.life.operator("GET", "/api/towns")["towns"]] == ["t2"]
    assert not stack.is_stopped("TickFunction")
    stack.life.minute()  # a due marker that is left of the town does no harm
