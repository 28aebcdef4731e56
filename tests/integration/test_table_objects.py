"""What the adapter of DynamoDB makes of bad answers, and townctl on a bucket with a table."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.buckets import NO_TABLE, TABLE_TAG, TABLE_VARIABLE, Bucket
from infra.townctl import main
from shared.adapters import aws_http, table_objects
from shared.adapters.memory_objects import MemoryObjects
from shared.adapters.s3_objects import S3Objects
from shared.adapters.table_objects import TableObjects
from shared.domain.errors import (
    AccessDenied,
    PreconditionFailed,
    StoreNotFound,
    StoreUnavailable,
    Terminal,
    TownError,
)
from shared.ports.steps import drive
from shared.storage import keys
from shared.storage.large_batches import BODIES
from shared.storage.towns import ObjectTownStore
from tests.integration.townctl_calls import RIG
from tests.raw_servers import answer, answering
from tests.stores import BUCKET, mocked_bucket, mocked_table
from tests.unit.storage.images import NOON

KEY = "towns/demo/inbox/1768046407000-b1.json"


def _refusal(status: int, code: str, said: str = "what it says") -> bytes:
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": said}).encode()
    return answer(body, "Content-Type: application/x-amz-json-1.0", status=status)


def a_table(endpoint_url: str) -> TableObjects:
    return TableObjects("waiting", MemoryObjects(), spread=keys.DUE, large=BODIES, endpoint_url=endpoint_url)


@pytest.mark.parametrize(
    ("status", "code", "error", "hint"),
    [
        (400, "ConditionalCheckFailedException", PreconditionFailed, ""),
        (400, "ProvisionedThroughputExceededException", StoreUnavailable, "nothing is lost"),
        (400, "ThrottlingException", StoreUnavailable, "nothing is lost"),
        (400, "RequestLimitExceeded", StoreUnavailable, "nothing is lost"),
        (500, "InternalServerError", StoreUnavailable, "try again"),
        (503, "ServiceUnavailable", StoreUnavailable, "try again"),
        (400, "ResourceNotFoundException", StoreNotFound, "create the table waiting"),
        (400, "AccessDeniedException", AccessDenied, "dynamodb:Query on the table waiting"),
        (400, "UnrecognizedClientException", AccessDenied, "renew the credentials"),
        (400, "ExpiredTokenException", AccessDenied, "renew the credentials"),
        (400, "ValidationException", Terminal, "its key is p and s"),
        (408, "RequestTimeoutException", StoreUnavailable, "try again"),
    ],
)
def test_an_answer_becomes_the_error_that_says_what_to_do(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, status: int, code: str, error: type[TownError], hint: str
) -> None:
    monkeypatch.setattr(table_objects, "_ATTEMPTS", 1)
    with answering(_refusal(status, code)) as server:
        table = a_table(server.url)
        with pytest.raises(error) as raised:
            table.create(KEY, b"one")
        assert type(raised.value) is error
        assert hint in raised.value.hint
        assert f"create {KEY} in table waiting at {server.url}: {status} {code} (what it says)" in raised.value.message


def test_an_answer_that_breaks_off_is_no_answer(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_objects, "_ATTEMPTS", 1)
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\n\r\n{}"
    for broken in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
        whole,
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200",
    ):
        with answering(broken) as server:
            table = a_table(server.url)
            with pytest.raises(StoreUnavailable, match=f"list {keys.DUE} in table waiting"):
                table.list(keys.DUE)


@pytest.mark.parametrize("item", ['{"b":{"B":"abc"}}', '{"b":', "[]"])
def test_an_item_that_cannot_be_read_is_no_whole_answer(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, item: str
) -> None:
    monkeypatch.setattr(table_objects, "_ATTEMPTS", 1)
    body = item if item == "[]" else f'{{"Item":{item}}}'
    with answering(answer(body.encode())) as server, pytest.raises(StoreUnavailable, match="no complete answer"):
        a_table(server.url).get(KEY)


def test_a_signature_that_is_too_old_is_told_as_a_wrong_clock(as_owner: None) -> None:
    said = "Signature expired: 20260110T110000Z is now earlier than 20260110T114500Z (20260110T120000Z - 15 min.)"
    refused = _refusal(400, "InvalidSignatureException", said)
    with answering(refused) as server, pytest.raises(AccessDenied) as denied:
        a_table(server.url).get(KEY)
    assert "correct this machine's clock" in denied.value.hint


def test_a_password_in_the_endpoint_is_not_told(as_owner: None) -> None:
    with answering(_refusal(400, "AccessDeniedException")) as server, pytest.raises(AccessDenied) as denied:
        a_table(server.url.replace("//", "//user:password@")).get(KEY)
    assert "password" not in denied.value.message


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ProvisionedThroughputExceededException"),
        (400, "ThrottlingException"),
        (400, "RequestLimitExceeded"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
    ],
)
def test_a_failure_that_passes_is_asked_again(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    monkeypatch.setattr(aws_http, "_PAUSE_OF_A_THROTTLE_SECONDS", 0.0)
    with answering(_refusal(status, code), answer(b"{}")) as server:
        assert a_table(server.url).get(KEY) is None
        assert len(server.heard) == 2


def test_a_failed_condition_is_asked_once(as_owner: None) -> None:
    with answering(_refusal(400, "ConditionalCheckFailedException")) as server, pytest.raises(PreconditionFailed):
        a_table(server.url).create(KEY, b"one")
    assert len(server.heard) == 1


def test_nobody_there_is_unavailable_and_names_what_to_check(as_owner: None) -> None:
    with answering(b"") as gone:
        url = gone.url
    with pytest.raises(StoreUnavailable, match="no connection") as raised:
        a_table(url).get(KEY)
    assert "the endpoint of table waiting could not be reached" in raised.value.hint


def test_a_batch_whose_body_somebody_removed_is_read_as_nothing_that_can_be_decoded(as_owner: None) -> None:
    """If it were left out, it would be listed for ever and never taken."""
    bodies = MemoryObjects()
    with mocked_table() as name:
        table = TableObjects(name, bodies, spread=keys.DUE, large=BODIES)
        table.create(KEY, b"x" * 20_000)
        bodies.delete(bodies.list("bodies/").keys[0])
        assert table.start_of(KEY, 10) == b""
        table.delete(KEY)
        assert table.start_of(KEY, 10) is None


def test_what_is_small_comes_with_its_key(as_owner: None) -> None:
    with mocked_table() as name:
        table = TableObjects(name, MemoryObjects(), spread=keys.DUE, large=BODIES)
        large = b"x" * (table_objects.LARGEST_ITEM + 1)
        for key, body in (("a/1", b"one"), ("a/2", b""), ("a/3", large), ("a/4", b"four")):
            table.create(key, body)
        found = table.list_with_bodies("a/", limit=3)
        assert (found.keys, found.more) == (("a/1", "a/2", "a/3"), True)
        assert list(found.bodies) == [b"one", b"", None]
        assert list(table.list("a/").bodies) == [None] * 4


def test_an_inbox_of_small_batches_is_read_with_one_request(as_owner: None) -> None:
    item = {"s": {"S": KEY}, "n": {"N": "3"}, "b": {"B": "WzFd"}}
    with answering(answer(json.dumps({"Items": [item]}).encode())) as server:
        table = a_table(server.url)
        room = ObjectTownStore(S3Objects("towns", waiting=lambda _: table))
        [batch] = drive(room.read_inbox("demo", limit=10)).objects
        assert (batch.key, batch.body, len(server.heard)) == (KEY, b"[1]", 1)


def _townctl(capsys: pytest.CaptureFixture[str], data: Path, *words: str) -> Any:
    capsys.readouterr()
    code = main.run(["--bucket", BUCKET, "--data", str(data), *words, "--json"])
    said = capsys.readouterr()
    return json.loads(said.out) if code == 0 else (code, said.err)


def test_townctl_finds_the_table_of_a_bucket_by_its_tag(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mocked_bucket(), mocked_table() as table:
        client = boto3.client("s3")
        client.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": TABLE_TAG, "Value": table}]})
        _townctl(capsys, tmp_path, "town", "create", "demo")
        payload = json.dumps(RIG)
        _townctl(capsys, tmp_path, "event", "post", "demo", "--type", "rig_registered", "--payload", payload)
        objects = Bucket(BUCKET).objects()
        assert {key.split("/")[-1] for key in objects.list("").keys} == {"head"}
        assert len(drive(ObjectTownStore(objects).read_inbox("demo", limit=10)).objects) == 1
        assert len(_townctl(capsys, tmp_path, "event", "list", "demo", "--pending")["events"]) == 1
        assert _townctl(capsys, tmp_path, "tick", "demo")
        assert drive(ObjectTownStore(objects).read_inbox("demo", limit=10)).objects == ()

        assert (
            "what waits is read in the table"
            in _townctl(capsys, tmp_path, "bucket", "gather", "--from-table", table)[1]
        )

        monkeypatch.setenv(TABLE_VARIABLE, NO_TABLE)
        _townctl(capsys, tmp_path, "event", "post", "demo", "--type", "nudge_timeout")
        without_a_bucket = main.run(["--data", str(tmp_path), "bucket", "gather"]), capsys.readouterr().err
        assert without_a_bucket[0] == 2
        assert "name the bucket with --bucket or TOWNCTL_BUCKET" in without_a_bucket[1]
        assert "has no table: what waits is read there" in _townctl(capsys, tmp_path, "bucket", "gather")[1]
        assert _townctl(capsys, tmp_path, "bucket", "gather", "--from-table", table)["markers"] > 0
        monkeypatch.delenv(TABLE_VARIABLE)
        assert _townctl(capsys, tmp_path, "event", "list", "demo", "--pending")["events"] == []
        assert _townctl(capsys, tmp_path, "bucket", "gather")["batches"] == 1
        assert _townctl(capsys, tmp_path, "bucket", "gather") == {"markers": 0, "batches": 0}
        assert len(_townctl(capsys, tmp_path, "event", "list", "demo", "--pending")["events"]) == 1
        assert not [each for each in objects.list("").keys if keys.is_inbox_object(each) or each.startswith(keys.DUE)]
        without = Bucket.from_environment({"TOWNCTL_BUCKET": BUCKET, TABLE_VARIABLE: NO_TABLE})
        assert without is not None
        there = without.objects()
        assert there.waiting is there


def test_a_bucket_without_a_tag_keeps_what_waits_itself(as_owner: None) -> None:
    with mocked_bucket():
        objects = Bucket(BUCKET).objects()
        drive(ObjectTownStore(objects).mark_due("demo", NOON))
        assert objects.list(keys.DUE).keys == (keys.due_marker("demo", NOON).key,)
