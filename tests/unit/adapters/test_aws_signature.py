"""The signature of a request is the one that the SDK's signer would make, whatever key, parameters, headers and body it has."""

from datetime import UTC, datetime
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SdkCredentials
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.aws_signature import Credentials, Scope, signed

AT = datetime(2026, 1, 10, 12, 30, 5, tzinfo=UTC)
HOST = "towns.s3.eu-west-1.amazonaws.com"
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), min_size=1, max_size=40)
CREDENTIALS = st.sampled_from(
    [Credentials("AKIAEXAMPLE", "a secret/with+signs"), Credentials("ASIAEXAMPLE", "another", "a-session-token==")]
)


def by_the_sdk(
    method: str,
    target: str,
    headers: dict[str, str],
    body: bytes,
    credentials: Credentials,
    service: str,
    *,
    signer: type[SigV4Auth] = S3SigV4Auth,
) -> str:
    """Over http, because over https the SDK may leave the body unsigned. The scheme is no part of a signature."""
    request = AWSRequest(method=method, url=f"http://{HOST}{target}", headers=headers, data=body)
    keys = SdkCredentials(credentials.access_key, credentials.secret_key, credentials.token)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(botocore.auth, "get_current_datetime", lambda: AT.replace(tzinfo=None))
        signer(keys, service, "eu-west-1").add_auth(request)
    return str(request.headers["Authorization"])


@given(
    method=st.sampled_from(["GET", "PUT", "HEAD", "DELETE"]),
    key=KEYS,
    query=st.dictionaries(st.sampled_from(["list-type", "prefix", "versionId", "versions"]), KEYS, max_size=3),
    body=st.binary(max_size=50),
    credentials=CREDENTIALS,
    service=st.sampled_from(["s3", "s3-outposts"]),
)
def test_it_is_the_signature_of_the_sdk(
    method: str, key: str, query: dict[str, str], body: bytes, credentials: Credentials, service: str
) -> None:
    headers = {"if-match": '"e1"', "x-amz-tagging": "kind=inbox"}
    path = f"/bucket/{quote(key)}"
    asked = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))
    ours = signed(
        method,
        path,
        asked,
        {**headers, "host": HOST},
        body,
        credentials=credentials,
        scope=Scope("eu-west-1", service),
        at=AT,
    )
    theirs = by_the_sdk(method, f"{path}?{asked}" if asked else path, headers, body, credentials, service)
    assert ours["authorization"] == theirs


@given(
    operation=st.sampled_from(["DynamoDB_20120810.PutItem", "AmazonSQS.SendMessageBatch"]),
    body=st.binary(max_size=50),
    credentials=CREDENTIALS,
    service=st.sampled_from(["dynamodb", "sqs"]),
)
def test_of_a_service_that_speaks_json_it_is_the_signature_of_the_sdk(
    operation: str, body: bytes, credentials: Credentials, service: str
) -> None:
    """These services do not ask for the digest of the body as a header, but take it as they take any header that is signed."""
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": operation}
    ours = signed(
        "POST",
        "/",
        "",
        {**headers, "host": HOST},
        body,
        credentials=credentials,
        scope=Scope("eu-west-1", service),
        at=AT,
    )
    with_digest = {**headers, "X-Amz-Content-SHA256": ours["x-amz-content-sha256"]}
    theirs = by_the_sdk("POST", "/", with_digest, body, credentials, service, signer=SigV4Auth)
    assert ours["authorization"] == theirs


def test_no_secret_is_shown() -> None:
    shown = repr(Credentials("AKIAEXAMPLE", "a secret", "a token"))
    assert "a secret" not in shown
    assert "a token" not in shown
