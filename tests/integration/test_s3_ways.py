"""How the S3 adapter finds its bucket and credentials, and how its requests get there: settings, proxies, TLS, connections."""

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shared.adapters import aws_transport, s3_objects, s3_place
from shared.adapters.aws_http import Place
from shared.adapters.aws_signature import Credentials, Scope
from shared.adapters.aws_transport import HttpAnswer, Server, WireRequest
from shared.adapters.s3_objects import S3Objects
from shared.adapters.s3_shelf import S3Shelf
from shared.domain.errors import AccessDenied, StoreUnavailable
from shared.ports.object_store import StoredObject
from tests.aws_settings import KEYS, NO_FILES, of_profile
from tests.raw_servers import Certificates, Line, answer, answering, raw_server
from tests.s3_stub import StubS3, refuse, stub_s3

REPOSITORY = Path(__file__).parents[2]
LAMBDA = {**KEYS, "AWS_SESSION_TOKEN": "token", "AWS_DEFAULT_REGION": "eu-west-1", "HOME": "/nowhere"}
STORED = answer(b"", 'ETag: "e1"', keeps=True)


def place(
    bucket: str = "towns", endpoint_url: str | None = None, region: str | None = None, **environment: str
) -> Place | None:
    given = {**LAMBDA, **NO_FILES, **environment}
    return s3_place.in_environment(bucket, endpoint_url=endpoint_url, region=region, environment=given)


def test_the_environment_of_a_lambda_says_all() -> None:
    found = place()
    assert found is not None
    assert found.url == "https://towns.s3.eu-west-1.amazonaws.com"
    assert found.scope == Scope("eu-west-1", "s3")
    assert found.credentials() == Credentials("AKIAEXAMPLE", "secret", "token")


def test_with_an_endpoint_the_bucket_is_the_first_part_of_the_path() -> None:
    found = place(endpoint_url="https://s3.example.com:9000/", region="local", AWS_CA_BUNDLE="/ca.pem")
    assert found is not None
    assert (found.url, found.ca_bundle) == ("https://s3.example.com:9000/towns", "/ca.pem")
    assert found.scope.region == "local"


@pytest.mark.parametrize(
    "more",
    [
        {"AWS_ACCESS_KEY_ID": ""},
        {"AWS_DEFAULT_REGION": ""},
        {"AWS_PROFILE": "work"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"},
        {"AWS_CONFIG_FILE": __file__},
        {"AWS_DEFAULT_REGION": "cn-north-1"},
        {"bucket": "a.name.with.dots"},
        {"bucket": "arn:aws:s3:eu-west-1:111122223333:accesspoint/towns"},
        {"endpoint_url": "nonsense"},
        {"endpoint_url": "http://127.0.0.1:1?x=y"},
    ],
    ids=lambda more: next(iter(more.items()))[0] + " " + next(iter(more.items()))[1][:20].rpartition("/")[2],
)
def test_whatever_needs_more_than_that_is_asked_of_the_sdk(more: dict[str, str]) -> None:
    assert place(**more) is None


@pytest.mark.parametrize(
    ("bucket", "region", "more", "url"),
    [
        ("towns", "eu-west-1", {}, "https://towns.s3.eu-west-1.amazonaws.com"),
        ("a.name.with.dots", "eu-west-1", {}, "https://s3.eu-west-1.amazonaws.com/a.name.with.dots"),
        ("towns", "cn-north-1", {}, "https://towns.s3.cn-north-1.amazonaws.com.cn"),
        ("towns", "eu-west-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://towns.s3-fips.eu-west-1.amazonaws.com"),
        ("towns", "eu-west-1", {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "http://127.0.0.1:9/towns"),
        (
            "arn:aws:s3:eu-central-1:111122223333:accesspoint/towns",
            "eu-central-1",
            {},
            "https://towns-111122223333.s3-accesspoint.eu-central-1.amazonaws.com",
        ),
    ],
)
def test_the_sdk_finds_what_it_always_found(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, bucket: str, region: str, more: dict[str, str], url: str
) -> None:
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    objects = S3Objects(bucket, region=region)
    found = s3_place.found_by_sdk(bucket, lambda: objects.client, objects._session)
    assert (found.url, found.scope) == (url, Scope(region, "s3"))
    assert found.credentials().access_key == "owner"


def test_the_credentials_of_a_profile_sign(as_owner: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    of_profile(monkeypatch, tmp_path, "aws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n")
    with answering(STORED) as server:
        S3Objects("towns", endpoint_url=server.url).put("due/x", b"")
        [request] = server.heard
    assert b"Credential=AKIAPROFILE/" in request
    assert b"/eu-west-1/s3/aws4_request" in request


def test_credentials_that_end_are_renewed_before_a_request(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A role, SSO or a process gives credentials for a while. Each request asks for those that are valid then."""
    program = tmp_path / "keys.py"
    program.write_text(
        "import json, pathlib, sys\n"
        "count = pathlib.Path(sys.argv[1]); number = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(number))\n"
        f"ends = {(datetime.now(UTC) + timedelta(seconds=30)).isoformat()!r}\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'AKIA{number}', 'SecretAccessKey': 's', 'Expiration': ends}))\n"
    )
    of_profile(monkeypatch, tmp_path, f"credential_process = {sys.executable} {program} {tmp_path / 'count'}\n")
    with answering(STORED, STORED) as server:
        objects = S3Objects("towns", endpoint_url=server.url)
        objects.put("due/x", b"")
        objects.put("due/y", b"")
        first, second = (request.partition(b"Credential=")[2].partition(b"/")[0] for request in server.heard)
    assert first != second


def test_credentials_that_cannot_be_renewed_are_told_in_words(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    of_profile(monkeypatch, tmp_path, "credential_process = false\n")
    with stub_s3() as stub, pytest.raises(AccessDenied, match="no usable credentials") as denied:
        S3Objects("towns", endpoint_url=stub.url).put("due/x", b"")
    assert "AWS_PROFILE" in denied.value.hint


class _StubForAws:
    """The way to AWS, at whose end is a stub. `hosts` and `headers` are those of each request."""

    def __init__(self, stub: StubS3) -> None:
        self._real = aws_transport.transport_to(Server(urlsplit(stub.url), 5, 5))
        self.hosts: list[str] = []
        self.headers: list[Mapping[str, str]] = []

    def exchange(self, request: WireRequest, *, largest: int) -> HttpAnswer:
        self.hosts.append(request.headers["host"])
        self.headers.append(request.headers)
        return self._real.exchange(replace(request, target=f"/towns{request.target}"), largest=largest)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, as_owner: None) -> Iterator[tuple[StubS3, _StubForAws]]:
    with stub_s3() as stub:
        way = _StubForAws(stub)
        monkeypatch.setattr(aws_transport, "transport_to", lambda _: way)
        yield stub, way


def test_a_bucket_of_aws_in_another_region_is_followed_there(aws: tuple[StubS3, _StubForAws]) -> None:
    """As the SDK does. Whoever names the region saves a request for each process."""
    stub, way = aws
    objects = S3Objects("towns")
    stub.faults.append(refuse(301, "PermanentRedirect", x_amz_bucket_region="eu-central-1"))
    for _ in range(2):
        assert objects.get("towns/demo/head") is None
    there = "towns.s3.eu-central-1.amazonaws.com"
    assert way.hosts == ["towns.s3.us-east-1.amazonaws.com", there, there]
    assert "/eu-central-1/s3/aws4_request" in way.headers[-1]["authorization"]


def test_an_object_of_aws_carries_its_checksum(aws: tuple[StubS3, _StubForAws]) -> None:
    """Buckets with a lock ask for it. It is the digest that is signed anyway."""
    _, way = aws
    S3Objects("towns").put("towns/demo/head", b"one")
    assert way.headers[0]["x-amz-checksum-sha256"] == b64encode(sha256(b"one").digest()).decode()


def test_a_store_over_https_gets_no_chunked_checksums(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, authority: Certificates
) -> None:
    """Many stores that speak S3 refuse them. The SDK adds them to every write over https, if it is not told otherwise."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.authority))
    writes: tuple[Callable[[S3Objects], object], ...] = (
        lambda objects: objects.create("towns/demo/head", b"one"),
        lambda objects: S3Shelf(lambda: objects.client, "towns")("name", b"{}"),
    )
    for write in writes:
        with answering(STORED, tls=authority.server) as server:
            write(S3Objects("towns", endpoint_url=server.url))
            [request] = server.heard
        said = request.lower()
        assert not any(word in said for word in (b"aws-chunked", b"x-amz-trailer", b"x-amz-checksum", b"streaming-"))


def test_a_server_whose_authority_nobody_named_is_not_trusted(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, authority: Certificates
) -> None:
    monkeypatch.setattr(s3_objects, "_ATTEMPTS", 1)
    with (
        answering(STORED, tls=authority.server) as server,
        pytest.raises(StoreUnavailable, match=r"no connection \(SSLCertVerificationError\)"),
    ):
        S3Objects("towns", endpoint_url=server.url).put("due/x", b"")
    assert server.heard == []


def test_a_proxy_of_the_environment_is_used(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy")
    found = answer(b"one", 'ETag: "e1"', keeps=True)
    with answering(STORED, found) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        objects = S3Objects("towns", endpoint_url="http://s3.example.com")
        assert objects.create("towns/demo/head", b"one") == '"e1"'
        assert objects.get("towns/demo/head") == StoredObject(b"one", '"e1"')
        first, _ = proxy.heard
    assert first.startswith(b"PUT http://s3.example.com/towns/towns/demo/head HTTP/1.1\r\n")
    assert first.endswith(b"one")


def test_a_proxy_that_is_not_there_is_no_connection(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_objects, "_ATTEMPTS", 1)
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable, match=r"no connection \(ProxyConnectionError\)"):
        S3Objects("towns", endpoint_url="http://s3.example.com").put("due/x", b"")


def test_requests_share_a_connection_until_the_server_closes_it(
    as_owner: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server closes a connection that rests. Nobody is told, so the next request looks whether it is still open."""
    monkeypatch.setattr(s3_objects, "_ATTEMPTS", 1)

    def talk(line: Line) -> None:
        for _ in range(2):
            line.request()
            line.say(STORED)

    with raw_server(talk) as server:
        objects = S3Objects("towns", endpoint_url=server.url)
        for number in range(6):
            objects.put(f"due/{number}", b"")
            _wait_until_closed(objects) if number % 2 else None
        assert len(server.lines) == 3


def _wait_until_closed(objects: S3Objects) -> None:
    """Wait until the end of the connection has arrived here."""
    from shared.adapters.aws_transport import _is_readable
    from shared.adapters.clock import wait_for
    from tests.patience import PATIENCE_SECONDS

    [kept] = objects._http()._transport._idle  # type: ignore[attr-defined]
    assert wait_for(lambda: _is_readable(kept.sock), seconds=PATIENCE_SECONDS)


def test_a_whole_session_with_a_store_imports_no_sdk() -> None:
    with stub_s3() as stub:
        program = (
            "import json, sys; from shared.adapters.s3_objects import S3Objects; s = S3Objects('towns', endpoint_url=sys.argv[1]);"
            "e = s.create('towns/a/head', b'1'); s.replace('towns/a/head', b'2', e); s.get('towns/a/head'); s.get('none');"
            "s.list('towns/'); s.delete('towns/a/head');"
            "print(json.dumps([name for name in ('boto3', 'botocore', 'urllib3') if name in sys.modules]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, stub.url],
            cwd=REPOSITORY,
            env={**LAMBDA, **NO_FILES},
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(done.stdout) == []
