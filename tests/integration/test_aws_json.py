"""How the adapters of table and queue find their service and credentials. Requests go the way of the bucket's: test_s3_ways."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.adapters import aws_sdk
from shared.adapters.aws_http import Patience, Place, SdkFailed
from shared.adapters.aws_json import QUEUES, TABLES, AwsJson, Service
from shared.adapters.aws_signature import Credentials, Scope
from shared.adapters.memory_objects import MemoryObjects
from shared.adapters.table_objects import TableObjects
from shared.domain.errors import AccessDenied, Refused, StoreNotFound
from tests.aws_settings import KEYS, NO_FILES, of_profile
from tests.raw_servers import Certificates, answer, answering

REPOSITORY = Path(__file__).parents[2]
SERVICES = pytest.mark.parametrize("service", [TABLES, QUEUES], ids=lambda service: service.name)


def place(service: Service, *, endpoint_url: str | None = None, region: str | None = None) -> Place:
    calls = AwsJson(service, Patience(1, 1, 1), endpoint_url=endpoint_url, region=region)
    return calls._new_way().place


@pytest.fixture
def no_sdk(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK is not asked."""

    def refuse() -> None:
        raise AssertionError("the SDK is asked")

    monkeypatch.setattr(aws_sdk, "session", refuse)
    for name, value in NO_FILES.items():
        monkeypatch.setenv(name, value)


@SERVICES
def test_the_environment_of_a_lambda_says_all(no_sdk: None, monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    found = place(service)
    assert found.url == f"https://{service.name}.eu-west-1.amazonaws.com"
    assert found.scope == Scope("eu-west-1", service.name)
    assert found.credentials() == Credentials("owner", found.credentials().secret_key, "token")


@SERVICES
def test_a_service_that_is_not_aws_is_where_the_settings_say(no_sdk: None, service: Service) -> None:
    found = place(service, endpoint_url="http://127.0.0.1:8000/", region="local")
    assert (found.url, found.scope) == ("http://127.0.0.1:8000", Scope("local", service.name))


@SERVICES
@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "ap-southeast-5", "mx-central-1", "us-gov-west-1"])
def test_the_sdk_would_ask_in_the_same_place(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, service: Service, region: str
) -> None:
    calls = AwsJson(service, Patience(1, 1, 1), endpoint_url=None, region=region)
    by_us, by_sdk = calls._new_way().place, calls._found_by_sdk()
    assert (by_us.url, by_us.scope) == (by_sdk.url, by_sdk.scope)
    assert by_us.credentials() == by_sdk.credentials()


@SERVICES
@pytest.mark.parametrize(
    ("region", "more", "url"),
    [
        ("cn-north-1", {}, "https://{}.cn-north-1.amazonaws.com.cn"),
        ("eu-west-1", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
        ("eu-west-1", {"AWS_ENDPOINT_URL_{}": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
        ("us-east-1", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://{}-fips.us-east-1.amazonaws.com"),
    ],
)
def test_whatever_needs_more_than_that_is_asked_of_the_sdk(
    as_owner: None,
    monkeypatch: pytest.MonkeyPatch,
    service: Service,
    region: str,
    more: dict[str, str],
    url: str,
) -> None:
    for name, value in more.items():
        monkeypatch.setenv(name.format(service.name.upper()), value)
    found = place(service, region=region)
    assert (found.url, found.scope) == (url.format(service.name), Scope(region, service.name))


@SERVICES
def test_the_credentials_of_a_profile_sign(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, service: Service
) -> None:
    of_profile(monkeypatch, tmp_path, "aws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\n")
    with answering(answer(b"{}")) as server:
        calls = AwsJson(service, Patience(5, 5, 1), endpoint_url=server.url, region=None)
        assert calls.call("Anything", {}) == {}
        [request] = server.heard
    assert b"Credential=AKIAPROFILE/" in request
    assert f"/eu-west-1/{service.name}/aws4_request".encode() in request


def test_a_table_without_credentials_region_or_sensible_endpoint_says_so(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def get(endpoint_url: str | None = None) -> None:
        TableObjects("waiting", MemoryObjects(), spread="due/", large="bodies/", endpoint_url=endpoint_url).get("a/b")

    with pytest.raises(Refused, match="not a valid table, region or endpoint"):
        get("nonsense")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(StoreNotFound, match="no region is set"):
        get()
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    of_profile(monkeypatch, tmp_path, "credential_process = false\n")
    with pytest.raises(AccessDenied, match="no usable credentials") as denied:
        get()
    assert "AWS_PROFILE" in denied.value.hint


def test_what_the_sdk_cannot_find_fails_with_its_error(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    of_profile(monkeypatch, tmp_path, "credential_process = false\n")
    with pytest.raises(SdkFailed) as failed:
        AwsJson(QUEUES, Patience(1, 1, 1), endpoint_url=None, region=None).call("SendMessageBatch", {})
    assert failed.value.__cause__ is not None


def test_a_table_over_https_trusts_the_authority_that_the_settings_name(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, authority: Certificates
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.authority))
    with answering(answer(b'{"Items":[]}'), tls=authority.server) as server:
        calls = AwsJson(TABLES, Patience(5, 5, 1), endpoint_url=server.url, region=None)
        assert calls.call("Query", {}) == {"Items": []}


def test_a_session_with_table_and_queue_imports_no_sdk() -> None:
    program = (
        "import json, sys; from shared.adapters.memory_objects import MemoryObjects;"
        "from shared.adapters.sqs_queue import SqsQueue; from shared.adapters.table_objects import TableObjects;"
        "from shared.ports.queue import Wake; url = sys.argv[1];"
        "t = TableObjects('waiting', MemoryObjects(), spread='due/', large='bodies/', endpoint_url=url);"
        "t.create('a/b', b'1'); t.get('a/b'); t.list('a/'); t.delete('a/b');"
        "SqsQueue('https://queue.example/q', endpoint_url=url).send([Wake('a', (), 'a')]);"
        "print(json.dumps([name for name in ('boto3', 'botocore', 'urllib3') if name in sys.modules]))"
    )
    answers = [b"{}", b'{"Item":{"b":{"B":"MQ=="}}}', b'{"Items":[]}', b"{}", b'{"Successful":[]}']
    with answering(*(answer(each, keeps=True) for each in answers[:4]), answer(answers[4])) as server:
        done = subprocess.run(
            [sys.executable, "-c", program, server.url],
            cwd=REPOSITORY,
            env={**KEYS, **NO_FILES, "AWS_DEFAULT_REGION": "eu-west-1", "HOME": "/nowhere"},
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(done.stdout) == []
