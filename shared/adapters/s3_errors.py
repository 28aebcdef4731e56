"""What the S3 SDK raises, said in our words: what was being done, in which bucket, and what a person can do about it.

Of an answer only its code, its status and its one sentence are repeated, never a header, a signature or a key id.
"""

from typing import Any, Final

from shared.domain.errors import (
    AccessDenied,
    ConditionRace,
    PreconditionFailed,
    Refused,
    StoreIncapable,
    StoreNotFound,
    StoreUnavailable,
    Terminal,
    TownError,
)

_RACES: Final = frozenset({"ConditionalRequestConflict", "OperationAborted"})
_PASSING: Final = frozenset({"RequestTimeout", "RequestTimeTooSlow", "SlowDown", "Throttling", "TooManyRequests"})
_ELSEWHERE: Final = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "Redirect",
        "TemporaryRedirect",
    }
)
_CREDENTIALS: Final = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"}
)
_NO_OBJECT: Final = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})
_LONGEST_SENTENCE: Final = 300


def sdk_errors() -> tuple[type[Exception], ...]:
    """The classes that the SDK raises. Asked for only where an error may be one, so that nothing is imported early."""
    from boto3.exceptions import Boto3Error  # noqa: PLC0415 - only once it was imported anyway
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    return BotoCoreError, ClientError, Boto3Error, HTTPError, ValueError


def says_no_such_object(error: Exception) -> bool:
    """Whether the answer was: there is a bucket, but nothing under that key."""
    return _code(error) in _NO_OBJECT or (_code(error) == "MethodNotAllowed" and _is_delete_marker(error))


def says_no_such_version(error: Exception) -> bool:
    """Whether the answer was that this version is not kept, or never was: an id that S3 did not make is a 400 there."""
    return says_no_such_object(error) or _code(error) == "InvalidArgument"


def says_unchanged(error: Exception) -> bool:
    """Whether the answer was 304."""
    return _status(error) == 304


def ours(error: Exception, *, doing: str, where: str, bucket: str) -> TownError:
    """The error of our tree that says the same. `where` names bucket and endpoint for people."""
    at = f"{doing} in {where}"
    if not _response(error):
        return _without_answer(error, at, bucket)
    problem = f"{at}: {_status(error)} {_code(error)}" + _sentence(error)
    return (
        _lost(error, problem)
        or _misplaced(error, problem, bucket)
        or _denied(error, problem, bucket)
        or _passing(error, problem)
        or Terminal(problem, hint=f"the store does not take this request; check the bucket {bucket} and its endpoint")
    )


def _lost(error: Exception, problem: str) -> TownError | None:
    """A condition did not hold, or two of them met."""
    if _status(error) == 412 or _code(error) == "PreconditionFailed":
        return PreconditionFailed(problem)
    if _status(error) == 409 or _code(error) in _RACES:
        return ConditionRace(problem)
    return None


def _misplaced(error: Exception, problem: str, bucket: str) -> TownError | None:
    """The wrong bucket, region or kind of store."""
    if _code(error) == "NoSuchBucket":
        return StoreNotFound(problem, hint=f"create the bucket {bucket}, or name the one that holds the towns")
    if _code(error) in _ELSEWHERE or _status(error) in (301, 307):
        return StoreNotFound(problem, hint=_region_hint(error, bucket))
    if _code(error) == "NotImplemented" or _status(error) == 501:
        return StoreIncapable(problem, hint="use S3, another store with conditional writes, or a directory")
    return None


def _denied(error: Exception, problem: str, bucket: str) -> TownError | None:
    """Who we are, or what we may do."""
    code = _code(error)
    if code == "RequestTimeTooSkewed":
        return AccessDenied(problem, hint="set this machine's clock: S3 refuses requests more than 15 minutes off")
    if code in _CREDENTIALS or _status(error) == 401:
        return AccessDenied(problem, hint="renew the credentials that the SDK finds (AWS_PROFILE, environment or role)")
    return AccessDenied(problem, hint=_rights_hint(bucket)) if _status(error) == 403 else None


def _passing(error: Exception, problem: str) -> TownError | None:
    """A failure inside the store, or too many requests."""
    if _status(error) >= 500 or _status(error) in (408, 429) or _code(error) in _PASSING:
        return StoreUnavailable(problem, hint="try again; nothing says whether the request was carried out")
    return None


def _without_answer(error: Exception, at: str, bucket: str) -> TownError:
    """What failed before or instead of an answer."""
    from botocore import exceptions as sdk  # noqa: PLC0415 - only once it was imported anyway

    kind = type(error).__name__
    no_credentials = (sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.CredentialRetrievalError)
    if isinstance(error, (*no_credentials, sdk.ProfileNotFound, sdk.SSOError)):
        hint = "give the SDK credentials: AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
        return AccessDenied(f"{at}: no usable credentials ({kind})", hint=hint)
    if isinstance(error, sdk.NoRegionError):
        return StoreNotFound(f"{at}: no region is set", hint="name the bucket's region: --region, or AWS_REGION")
    if isinstance(error, (sdk.ParamValidationError, sdk.InvalidRegionError, ValueError)):
        hint = "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens; an endpoint is http(s)://HOST"
        problem = f"{at}: not a bucket, region or endpoint that S3 can have ({kind})"
        return Refused(problem, status=400, path="bucket", hint=hint)
    if isinstance(
        error, (sdk.EndpointConnectionError, sdk.ConnectTimeoutError, sdk.SSLError, sdk.ProxyConnectionError)
    ):
        hint = f"nobody could be reached for the bucket {bucket}; check endpoint, region and network, then try again"
        return StoreUnavailable(f"{at}: no connection ({kind})", hint=hint)
    hint = "try again; nothing says whether the request was carried out"
    return StoreUnavailable(f"{at}: no whole answer ({kind})", hint=hint)


def _region_hint(error: Exception, bucket: str) -> str:
    response = _response(error)
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region") or response.get("Error", {}).get("Region")
    if region:
        return f"the bucket {bucket} lies in {region}: use --region {region}, or set AWS_REGION"
    return f"the bucket {bucket} lies in another region or behind another endpoint: name it with --region or --endpoint"


def _rights_hint(bucket: str) -> str:
    return (
        f"allow this identity s3:GetObject, s3:PutObject and s3:DeleteObject on {bucket}/* and s3:ListBucket on {bucket}; "
        "without s3:ListBucket S3 also says 403 of objects that do not exist"
    )


def _sentence(error: Exception) -> str:
    text = " ".join(str(_response(error).get("Error", {}).get("Message") or "").split())
    return f" ({text[:_LONGEST_SENTENCE]})" if text else ""


def _code(error: Exception) -> str:
    return str(_response(error).get("Error", {}).get("Code", ""))


def _status(error: Exception) -> int:
    return int(_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def _is_delete_marker(error: Exception) -> bool:
    headers = _response(error).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return bool(headers.get("x-amz-delete-marker") == "true")


def _response(error: Exception) -> dict[str, Any]:
    found: dict[str, Any] = getattr(error, "response", None) or {}
    return found
