"""Where a bucket is: at AWS a host of its own, elsewhere the first part of the path."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from shared.adapters import aws_place, aws_sdk
from shared.adapters.aws_http import Patience, Place
from shared.adapters.aws_sdk import AwsClient, AwsSession
from shared.ports.steps import AT_ONCE

_ORDINARY_BUCKET: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]")
_KEY: Final = "key"
_SPARING: Final = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
"""Other stores may not know the checksums that the SDK adds to each request since 2025."""


def in_environment(
    bucket: str, *, endpoint_url: str | None, region: str | None, environment: Mapping[str, str]
) -> Place | None:
    """The place of a bucket as the environment says it; None if it does not say all."""
    if not _ORDINARY_BUCKET.fullmatch(bucket) or bucket.endswith("--x-s3"):
        return None

    def url_in(where: str) -> str | None:
        if endpoint_url is None:
            return f"https://{bucket}.s3.{where}.amazonaws.com" if aws_place.has_ordinary_endpoints(where) else None
        endpoint = aws_place.ordinary_endpoint(endpoint_url)
        return None if endpoint is None else f"{endpoint}/{bucket}"

    return aws_place.in_environment("s3", environment, region=region, url_in=url_in)


def found_by_sdk(bucket: str, client_: Callable[[], AwsClient], session: Callable[[], AwsSession]) -> Place:
    """The place of a bucket as the SDK finds it. Raises SdkFailed."""
    found = aws_place.found_by_sdk(
        client_, session, "HeadObject", lambda made: made.head_object(Bucket=bucket, Key=_KEY)
    )
    return replace(found, url=unquote(found.url).removesuffix(f"/{_KEY}"))


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
