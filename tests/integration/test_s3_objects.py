"""What the S3 adapter makes of bad answers, lost answers and wrong settings."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import pytest

from infra.devstack.s3_servers import S3Server
from shared.adapters import s3_objects, s3_place
from shared.adapters.s3_objects import S3Objects
from shared.domain.errors import (
    AccessDenied,
    ConditionRace,
    ImageTooLarge,
    PreconditionFailed,
    Refused,
    StoreIncapable,
    StoreNotFound,
    StoreUnavailable,
    Terminal,
    TownError,
)
from shared.ports.object_store import StoredObject
from shared.ports.steps import drive
from shared.storage.probe import prove_conditional_writes
from shared.storage.towns import ObjectTownStore
from tests.raw_servers import answering
from tests.s3_stub import (
    Answer,
    IgnoresConditions,
    Request,
    StubS3,
    cut_the_body_short,
    drop_the_request,
    lose_the_answer,
    refuse,
    stub_s3,
    wait_until,
)
from tests.soak.proxy import Proxy
from tests.stores import BUCKET
from tests.unit.storage.images import an_image, facts, operations_in

REPOSITORY = Path(__file__).parents[2]
HEAD = "towns/demo/head"


@pytest.fixture
def stub(as_owner: None) -> Iterator[StubS3]:
    with stub_s3() as running:
        yield running


@pytest.fixture
def objects(stub: StubS3, monkeypatch: pytest.MonkeyPatch) -> S3Objects:
    """One that does not try again, so that each test sees the first answer."""
    monkeypatch.setattr(s3_objects, "_ATTEMPTS", 1)
    return S3Objects("towns", endpoint_url=stub.url)


@pytest.mark.parametrize(
    ("status", "code", "error", "hint"),
    [
        (412, "PreconditionFailed", PreconditionFailed, ""),
        (409, "ConditionalRequestConflict", ConditionRace, ""),
        (409, "OperationAborted", ConditionRace, ""),
        (403, "AccessDenied", AccessDenied, "s3:ListBucket"),
        (403, "InvalidAccessKeyId", AccessDenied, "renew the credentials"),
        (403, "SignatureDoesNotMatch", AccessDenied, "renew the credentials"),
        (400, "ExpiredToken", AccessDenied, "renew the credentials"),
        (403, "RequestTimeTooSkewed", AccessDenied, "correct this machine's clock"),
        (404, "NoSuchBucket", StoreNotFound, "create the bucket towns"),
        (400, "IllegalLocationConstraintException", StoreNotFound, "--region"),
        (500, "InternalError", StoreUnavailable, "try again"),
        (503, "SlowDown", StoreUnavailable, "try again"),
        (503, "ServiceUnavailable", StoreUnavailable, "try again"),
        (400, "RequestTimeout", StoreUnavailable, "try again"),
        (429, "TooManyRequests", StoreUnavailable, "try again"),
        (501, "NotImplemented", StoreIncapable, "conditional writes"),
        (400, "EntityTooLarge", Terminal, "check the bucket towns"),
    ],
)
def test_an_answer_becomes_the_error_that_says_what_to_do(
    stub: StubS3, objects: S3Objects, status: int, code: str, error: type[TownError], hint: str
) -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: objects.create(HEAD, b"one"),
        lambda: objects.replace(HEAD, b"one", '"x"'),
        lambda: objects.put(HEAD, b"one"),
    )
    for call in calls:
        stub.faults.append(refuse(status, code, "what the store says"))
        with pytest.raises(error) as raised:
            call()
        assert type(raised.value) is error
        assert hint in raised.value.hint
        assert HEAD in raised.value.message
        assert "bucket towns" in raised.value.message
        assert f"{status} {code} (what the store says)" in raised.value.message


def test_a_bucket_of_another_region_is_said_to_lie_there(stub: StubS3, objects: S3Objects) -> None:
    for status, code in ((301, "PermanentRedirect"), (400, "AuthorizationHeaderMalformed")):
        stub.faults += [refuse(status, code, x_amz_bucket_region="eu-central-1")] * 3
        with pytest.raises(StoreNotFound, match="bucket towns") as raised:
            objects.get(HEAD)
        assert (
            raised.value.hint
            == "the bucket towns is in eu-central-1: use --region eu-central-1, or set AWS_DEFAULT_REGION"
        )
        stub.faults.clear()


def test_no_message_holds_a_secret(stub: StubS3, objects: S3Objects) -> None:
    stub.faults.append(refuse(403, "SignatureDoesNotMatch", "it does not match"))
    with pytest.raises(AccessDenied) as raised:
        objects.get(HEAD)
    said = f"{raised.value.message} {raised.value.hint}"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in said
    assert "Signature=" not in said
    with_password = S3Objects("towns", endpoint_url=stub.url.replace("//", "//user:password@"))
    stub.faults.append(refuse(403, "AccessDenied"))
    with pytest.raises(AccessDenied) as denied:
        with_password.get(HEAD)
    assert "password" not in f"{denied.value.message} {denied.value.hint}"


def test_a_lost_answer_is_a_failure_that_leaves_the_outcome_open(stub: StubS3, objects: S3Objects) -> None:
    stub.faults.append(lose_the_answer)
    with pytest.raises(StoreUnavailable, match="no complete answer") as raised:
        objects.create(HEAD, b"one")
    assert "may or may not have been carried out" in raised.value.hint
    assert stub.objects[HEAD].body == b"one"


def test_half_a_body_is_never_taken_for_a_whole_one(stub: StubS3, objects: S3Objects) -> None:
    objects.create(HEAD, b"x" * 100_000)
    stub.faults.append(cut_the_body_short)
    with pytest.raises(StoreUnavailable, match=f"get {HEAD} .* no complete answer"):
        objects.get(HEAD)
    assert objects.get(HEAD) == stub.objects[HEAD]


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda objects: objects.put(HEAD, b"body"), b"HTTP/1.1 200 OK\r\nDate: Sat, 10 Jan 2026"),
        (lambda objects: objects.get(HEAD), b"HTTP/1.1 200 OK\r\n"),
        (lambda objects: objects.get(HEAD), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"),
        (
            lambda objects: objects.get(HEAD),
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: x\r\nLast-Modified: Sat, 10 J",
        ),
        (lambda objects: objects.list("towns/"), b"HTTP/1.1 200 OK\r\nContent-Ty"),
        (lambda objects: objects.versions(HEAD), b"HTTP/1.1 200 OK\r\n"),
        (lambda objects: objects.delete_version(HEAD, "v1"), b"HTTP/1.1 200 OK\r\nDate: Sat, 10 Jan 2026\r\n"),
    ],
    ids=["put", "get", "get nothing", "get with half a date", "list", "versions", "delete a version"],
)
def test_an_answer_that_breaks_off_in_its_headers_is_no_answer(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, call: Callable[[S3Objects], object], answer: bytes
) -> None:
    """To http.client and to the SDK it is whole. A write ended with KeyError, and a listing was empty: no town had a history."""
    monkeypatch.setattr(s3_objects, "_ATTEMPTS", 1)
    with answering(answer) as server:
        objects = S3Objects("towns", endpoint_url=server.url)
        with pytest.raises(StoreUnavailable, match="no complete answer"):
            call(objects)
        assert not any(request.startswith(b"DELETE") for request in server.heard)


def test_the_current_version_is_not_deleted_if_the_answer_that_names_it_breaks_off(
    as_owner: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_objects, "_ATTEMPTS", 1)
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nx-amz-version-id: 3/L4kqtJ") as server:
        objects = S3Objects("towns", endpoint_url=server.url)
        with pytest.raises(StoreUnavailable, match="no complete answer"):
            objects.delete_version(HEAD, "3/L4kqtJlcpXroDTDmJ")
        assert not any(request.startswith(b"DELETE") for request in server.heard)


def test_a_store_that_does_not_answer_in_time_is_unavailable(
    stub: StubS3, objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_objects, "_READ_SECONDS", 0.2)
    gave_up = Event()
    stub.faults.append(wait_until(gave_up))
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        objects.get(HEAD)
    gave_up.set()


def test_nobody_there_is_unavailable_and_names_what_to_check(as_owner: None) -> None:
    with stub_s3() as gone:
        url = gone.url
    with pytest.raises(StoreUnavailable, match="no connection") as raised:
        S3Objects("towns", endpoint_url=url).get(HEAD)
    assert "check endpoint, region and network" in raised.value.hint


def test_a_request_is_sent_again_after_a_passing_failure(stub: StubS3, as_owner: None) -> None:
    objects = S3Objects("towns", endpoint_url=stub.url)
    stub.faults.append(refuse(503, "SlowDown"))
    objects.put("due/20260110T120000Z/demo", b"")
    assert stub.requests == ["PUT due/20260110T120000Z/demo"] * 2


def test_a_commit_whose_answer_was_lost_is_committed_once(stub: StubS3, as_owner: None) -> None:
    """The adapter sends the request again and gets 412 for its own success; the commit id in the head tells."""
    store = ObjectTownStore(S3Objects("towns", endpoint_url=stub.url))
    base = drive(store.create("demo", an_image(), facts("0-x")))
    stub.requests.clear()
    stub.faults.append(lose_the_answer)
    committed = drive(store.commit(base, an_image(["a"]), facts("1-x")))
    assert stub.requests == [f"PUT {HEAD}", f"PUT {HEAD}", f"GET {HEAD}"]
    assert drive(store.load("demo")) == committed
    assert operations_in(committed.image) == ["a"]
    stub.faults += [drop_the_request, drop_the_request]
    again = drive(store.commit(committed, an_image(["a", "b"]), facts("2-x")))
    assert (again.txid, drive(store.load("demo"))) == (3, again)


def test_a_first_head_whose_answer_was_lost_is_no_foreign_town(stub: StubS3, as_owner: None) -> None:
    store = ObjectTownStore(S3Objects("towns", endpoint_url=stub.url))
    before = 5  # requests: is there a head, a history, an archived town; and the marker
    stub.faults += [*[lambda request, ordinary: ordinary(request)] * before, lose_the_answer]
    created = drive(store.create("demo", an_image(), facts("0-x")))
    assert stub.requests.count(f"PUT {HEAD}") == 2
    assert drive(store.load("demo")) == created


def test_an_object_over_the_guard_is_refused_before_it_is_downloaded(stub: StubS3, as_owner: None) -> None:
    S3Objects("towns", endpoint_url=stub.url).create(HEAD, b"x" * 101)
    guarded = S3Objects("towns", endpoint_url=stub.url, largest=100)
    with pytest.raises(ImageTooLarge, match="101 bytes, more than 100; it was not downloaded") as raised:
        guarded.get(HEAD)
    assert raised.value.hint
    guarded.put(HEAD, b"x" * 100)
    assert guarded.get(HEAD) == StoredObject(b"x" * 100, stub.objects[HEAD].etag)


def test_a_store_that_ignores_conditions_is_refused_by_the_probe(as_owner: None) -> None:
    with stub_s3(IgnoresConditions()) as careless, pytest.raises(StoreIncapable, match="creates an object that exists"):
        drive(prove_conditional_writes(S3Objects("towns", endpoint_url=careless.url), "probe-1"))
    with stub_s3() as careful:
        drive(prove_conditional_writes(S3Objects("towns", endpoint_url=careful.url), "probe-1"))


@pytest.mark.parametrize(("bucket", "url"), [("Not_A_Bucket/..", "http://127.0.0.1:1"), ("towns", "nonsense")])
def test_what_can_be_no_bucket_or_endpoint_is_refused(as_owner: None, bucket: str, url: str) -> None:
    with pytest.raises(Refused) as refused:
        S3Objects(bucket, endpoint_url=url).get(HEAD)
    assert (refused.value.status, refused.value.path) == (400, "bucket")


def test_without_credentials_the_error_says_where_they_come_from(
    stub: StubS3, as_owner: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AccessDenied, match="no usable credentials") as denied:
        S3Objects("towns", endpoint_url=stub.url).get(HEAD)
    assert "AWS_PROFILE" in denied.value.hint


def test_without_a_region_the_error_says_how_to_name_one(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    objects = S3Objects("towns")
    monkeypatch.setattr(s3_place, "client", no_region)
    with pytest.raises(StoreNotFound, match="no region is set") as raised:
        objects.get(HEAD)
    assert "--region" in raised.value.hint


def no_region(*_: object) -> None:
    from botocore.exceptions import NoRegionError

    raise NoRegionError


def test_a_bucket_that_is_not_there_is_named_by_an_independent_server(seaweedfs: S3Server, as_owner: None) -> None:
    missing = S3Objects("no-such-bucket", endpoint_url=seaweedfs.endpoint_url)
    calls: tuple[Callable[[], object], ...] = (
        lambda: missing.get(HEAD),
        lambda: missing.create(HEAD, b""),
        lambda: missing.list(""),
    )
    for call in calls:
        with pytest.raises(StoreNotFound) as raised:
            call()
        assert "create the bucket no-such-bucket" in raised.value.hint


def test_somebody_without_rights_is_denied_by_an_independent_server(
    seaweedfs: S3Server, as_owner: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in seaweedfs.environment_of_a_stranger.items():
        monkeypatch.setenv(name, value)
    objects = S3Objects(BUCKET, endpoint_url=seaweedfs.endpoint_url)
    for call in (lambda: objects.get(HEAD), lambda: objects.create(HEAD, b""), lambda: objects.list("")):
        with pytest.raises(AccessDenied, match="403") as denied:
            call()
        assert "s3:GetObject" in denied.value.hint


def test_a_body_follows_its_request_at_once(as_owner: None) -> None:
    """A server that was asked to say `100 Continue` first may take a connection that breaks there for an empty body."""
    stored = b'HTTP/1.1 200 OK\r\nETag: "e1"\r\nContent-Length: 0\r\n\r\n'
    with answering(stored) as server:
        assert S3Objects("towns", endpoint_url=server.url).put("due/x", b"body") == '"e1"'
        [request] = server.heard
    assert request.endswith(b"\r\n\r\nbody")
    assert b"expect:" not in request.lower()


def test_a_write_whose_connection_breaks_leaves_the_old_object_or_the_new_one(
    seaweedfs: S3Server, as_owner: None
) -> None:
    """SeaweedFS stored an empty object when a connection broke after `100 Continue`: an event, or the head of a town, was gone."""
    seaweedfs.empty(BUCKET)
    direct = S3Objects(BUCKET, endpoint_url=seaweedfs.endpoint_url)
    place = urlsplit(seaweedfs.endpoint_url)
    with Proxy((str(place.hostname), int(place.port or 0)), seed=5).running() as proxy:
        far = S3Objects(BUCKET, endpoint_url=f"http://127.0.0.1:{proxy.port}")
        broken = 0
        for weather, number in product(("cut", "reset"), range(6)):
            key = f"towns/{weather}-{number}/head"
            etag = direct.create(key, b"old")
            proxy.weather = weather  # type: ignore[assignment]
            try:
                far.replace(key, b"new" * 1000, etag)
            except TownError:
                broken += 1
            proxy.weather = "fair"
            found = direct.get(key)
            assert found is not None
            assert found.body in (b"old", b"new" * 1000)
    assert broken > 0


def test_importing_the_adapter_imports_no_sdk() -> None:
    program = (
        "import sys, shared.adapters.s3_objects as s3; s3.S3Objects('towns'); "
        "print([name for name in ('boto3', 'botocore', 'urllib3') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_objects_of_an_inbox_carry_the_tag_by_which_the_bucket_lets_them_go(
    seaweedfs: S3Server, as_owner: None
) -> None:
    from shared.storage import keys

    seaweedfs.empty(BUCKET)
    tagged = S3Objects(BUCKET, endpoint_url=seaweedfs.endpoint_url, kind_of=keys.kind_of)
    tagged.create("towns/one/inbox/1768046400000-b.json", b"{}")
    tagged.create("towns/one/head", b"head")

    def tags(key: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = seaweedfs.client().get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
        return found

    assert tags("towns/one/inbox/1768046400000-b.json") == [{"Key": "kind", "Value": "inbox"}]
    assert tags("towns/one/head") == []


def test_of_a_store_that_says_no_time_in_its_answers_an_object_just_written_says_it(
    stub: StubS3, objects: S3Objects
) -> None:
    """Some stores, and proxies before them, send no Date; a HEAD need not say when an object was written either."""
    assert objects.time() == datetime(2026, 1, 10, 12, tzinfo=UTC)
    assert [each.partition("?")[0] for each in stub.requests] == ["HEAD probe/time", "PUT probe/time", "GET "]
    stub.faults.append(lambda request, ordinary: Answer(404, headers={"Date": "Sat, 10 Jan 2026 13:00:00 GMT"}))
    assert objects.time() >= datetime(2026, 1, 10, 13, tzinfo=UTC), "an answer that says it is believed"


def test_a_store_that_says_no_time_and_may_not_be_written_is_refused_with_what_to_do(
    stub: StubS3, objects: S3Objects
) -> None:
    stub.faults += [refuse(404, "NotFound"), refuse(403, "AccessDenied")]
    with pytest.raises(AccessDenied, match="time") as refused:
        objects.time()
    assert refused.value.hint


def test_a_store_that_does_not_list_what_was_just_written_has_no_time(stub: StubS3, objects: S3Objects) -> None:
    nothing = b"<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"

    def as_usual(request: Request, ordinary: Callable[[Request], Answer]) -> Answer:
        return ordinary(request)

    stub.faults += [as_usual, as_usual, lambda request, ordinary: Answer(200, nothing)]
    with pytest.raises(StoreUnavailable, match="does not list probe/time"):
        objects.time()
