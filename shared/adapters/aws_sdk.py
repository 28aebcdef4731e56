"""What every AWS adapter needs of boto3: a client, the exceptions that it raises, and what an error answer says.

boto3 takes a quarter of a second to import, so it is imported at the first use and not before.
"""

from collections.abc import Mapping
from typing import Any, Final

_LONGEST_SENTENCE: Final = 300

AwsClient = Any
"""A boto3 client. Its methods are made at run time, from descriptions of the services, so there is no type for it."""


def client(
    service: str,
    *,
    connect_seconds: float,
    read_seconds: float,
    attempts: int,
    endpoint_url: str | None = None,
    region: str | None = None,
    **more: object,
) -> AwsClient:
    """A client, safe for threads, that makes at most so many attempts for each call.

    It has a session of its own: the default session may not be shared by threads while a client is made.
    """
    import boto3  # noqa: PLC0415 - slow; only at the first use
    from botocore.config import Config  # noqa: PLC0415 - as boto3

    retries: Any = {"mode": "standard", "total_max_attempts": attempts}
    settings = Config(connect_timeout=connect_seconds, read_timeout=read_seconds, retries=retries, **more)
    session = boto3.session.Session()
    return session.client(service, endpoint_url=endpoint_url, region_name=region, config=settings)


def sdk_errors() -> tuple[type[Exception], ...]:
    """The classes that the SDK raises; ValueError is what it raises for a malformed endpoint.

    Call it in an `except` clause: then nothing is imported before an error occurs.
    """
    from boto3.exceptions import Boto3Error  # noqa: PLC0415 - imported anyway by now
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    return BotoCoreError, ClientError, Boto3Error, HTTPError, ValueError


def response_of(error: Exception) -> Mapping[str, Any]:
    """The error answer of the service; empty if there was no answer."""
    found: Mapping[str, Any] = getattr(error, "response", None) or {}
    return found


def code_of(error: Exception) -> str:
    """The error code of the answer, such as AccessDenied; empty if there was no answer."""
    return str(response_of(error).get("Error", {}).get("Code", ""))


def status_of(error: Exception) -> int:
    """The HTTP status of the answer; 0 if there was no answer, or if it does not say."""
    return int(response_of(error).get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def sentence_of(error: Exception) -> str:
    """What the answer says to people, on one line and not too long; empty if it says nothing."""
    said = " ".join(str(response_of(error).get("Error", {}).get("Message") or "").split())
    return said[:_LONGEST_SENTENCE]
