"""Where a bucket is, and who signs: found in the environment if it says all, as in Lambda, else by the SDK.

The SDK knows profiles, roles, SSO, instance metadata, access points and more. It takes a third of a second to be imported.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from shared.adapters import aws_sdk
from shared.adapters.aws_http import Patience, Place
from shared.adapters.aws_sdk import AwsClient, AwsSession
from shared.adapters.aws_signature import Credentials, Scope
from shared.ports.steps import AT_ONCE

_ORDINARY_REGION: Final = re.compile(r"(?:us|us-gov|af|ap|ca|eu|il|me|mx|sa)-[a-z]+-[0-9]")
_ORDINARY_BUCKET: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]")
_ORDINARY_ENDPOINT: Final = re.compile(
    r"https?://(?:[^/?#@]*@)?(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[\w./-]*)?"
)
_OF_THE_SDK: Final = (
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_SECURITY_TOKEN",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
)
"""Variables that say more about credentials or endpoints than this module knows."""
_FILES: Final = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
_KEY: Final = "key"
_SPARING: Final = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
"""Other stores may not know the checksums that the SDK adds to each request since 2025."""


class SdkFailed(Exception):
    """The SDK could not say where a bucket is, or who signs. Its error is the cause."""


def in_environment(
    bucket: str, *, endpoint_url: str | None, region: str | None, environment: Mapping[str, str]
) -> Place | None:
    """The place of a bucket as the environment says it; None if it does not say all."""
    access, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    where = region or environment.get("AWS_DEFAULT_REGION")
    if not access or not secret or not where or any(environment.get(name) for name in _OF_THE_SDK):
        return None
    if any(Path(environment.get(name) or usual).expanduser().is_file() for name, usual in _FILES.items()):
        return None
    url = _at_aws(bucket, where) if endpoint_url is None else _at(bucket, endpoint_url)
    if url is None:
        return None
    credentials = Credentials(access, secret, environment.get("AWS_SESSION_TOKEN") or None)
    return Place(url, Scope(where, "s3"), lambda: credentials, environment.get("AWS_CA_BUNDLE") or None)


def found_by_sdk(bucket: str, client_: Callable[[], AwsClient], session: Callable[[], AwsSession]) -> Place:
    """The place of a bucket as the SDK finds it: that of a request which is made and not sent. Raises SdkFailed."""
    try:
        url, authorization = _unsent(client_(), bucket)
        credentials = session().get_credentials()
        ca_bundle = session().get_config_variable("ca_bundle") or None
    except aws_sdk.sdk_errors() as error:
        raise SdkFailed from error
    scope = authorization.partition("Credential=")[2].partition(",")[0]
    _, _, region, service, _ = scope.rsplit("/", 4)
    return Place(
        unquote(url).removesuffix(f"/{_KEY}"), Scope(region, service), partial(_frozen, credentials), ca_bundle
    )


def _unsent(client_: AwsClient, bucket: str) -> tuple[str, str]:
    """The URL and the authorization of a request for an object of a bucket."""
    found: list[tuple[str, str]] = []

    def keep(request: Any, **_: object) -> None:
        found.append((str(request.url), request.headers["Authorization"].decode()))
        raise aws_sdk.NotSent

    client_.meta.events.register_first("before-send.s3.HeadObject", keep)
    try:
        client_.head_object(Bucket=bucket, Key=_KEY)
    except aws_sdk.NotSent:
        [only] = found
        return only
    finally:
        client_.meta.events.unregister("before-send.s3.HeadObject", keep)
    raise AssertionError("the SDK has sent a request that it should not send")


def _frozen(credentials: AwsSession) -> Credentials:
    """Credentials that are valid now: the SDK renews those that end."""
    try:
        now = credentials.get_frozen_credentials()
    except aws_sdk.sdk_errors() as error:
        raise SdkFailed from error
    return Credentials(str(now.access_key), str(now.secret_key), str(now.token) if now.token else None)


def _at_aws(bucket: str, region: str) -> str | None:
    if not _ORDINARY_REGION.fullmatch(region) or not _ORDINARY_BUCKET.fullmatch(bucket) or bucket.endswith("--x-s3"):
        return None
    return f"https://{bucket}.s3.{region}.amazonaws.com"


def _at(bucket: str, endpoint_url: str) -> str | None:
    if not _ORDINARY_ENDPOINT.fullmatch(endpoint_url) or not _ORDINARY_BUCKET.fullmatch(bucket):
        return None
    return f"{endpoint_url.rstrip('/')}/{bucket}"


def client(session: AwsSession, patience: Patience, endpoint_url: str | None, region: str | None) -> AwsClient:
    """A boto3 client for S3."""
    made = aws_sdk.client(
        "s3",
        connect_seconds=patience.connect_seconds,
        read_seconds=patience.read_seconds,
        attempts=patience.attempts,
        endpoint_url=endpoint_url,
        region=region,
        session=session,
        max_pool_connections=AT_ONCE,
        tcp_keepalive=True,
        s3={"addressing_style": "path" if endpoint_url else "auto"},
        signature_version="s3v4",  # for presigned URLs too: buckets created since 2020 accept no older version
        **(_SPARING if endpoint_url else {}),
    )
    from botocore.handlers import add_expect_header  # noqa: PLC0415 - the client has imported it

    # After `Expect: 100-continue`, SeaweedFS stores an empty object if the connection breaks before the body.
    made.meta.events.unregister("before-call.s3", add_expect_header)
    return made
