"""Translates what goes wrong with a request to S3: what was being done, in which bucket, and how to correct the problem.

Our errors repeat only the code, the status and the message of an answer, never a header, a signature or a key id.
"""

from typing import Final

from shared.adapters import aws_http
from shared.adapters.aws_sdk import (
    CLOCK,
    CREDENTIALS,
    OPEN,
    PASSING,
    code_of,
    response_of,
    says_clock_is_off,
    sentence_of,
    status_of,
)
from shared.domain.errors import (
    AccessDenied,
    ConditionRace,
    PreconditionFailed,
    StoreIncapable,
    StoreNotFound,
    StoreUnavailable,
    Terminal,
    TownError,
)

_RACES: Final = frozenset({"ConditionalRequestConflict", "OperationAborted"})
_BUCKET_NAME: Final = "a bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens"
_ELSEWHERE: Final = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "Redirect",
        "TemporaryRedirect",
    }
)
_NO_OBJECT: Final = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})


def says_no_such_object(error: Exception) -> bool:
    """Whether the bucket exists and holds nothing under that key."""
    return code_of(error) in _NO_OBJECT or (code_of(error) == "MethodNotAllowed" and _is_delete_marker(error))


def says_no_such_version(error: Exception) -> bool:
    """Whether this version is not kept, or never existed: S3 answers 400 for an id that it did not make."""
    return says_no_such_object(error) or code_of(error) == "InvalidArgument"


def says_empty(error: Exception) -> bool:
    """Whether the answer was 416: an object without bytes has no first ones."""
    return status_of(error) == 416


def says_unchanged(error: Exception) -> bool:
    """Whether the answer was 304."""
    return status_of(error) == 304


def translated(error: Exception, *, doing: str, where: str, bucket: str) -> TownError:
    """The corresponding error of `shared.domain.errors`. `where` names bucket and endpoint for people."""
    at = f"{doing} in {where}"
    unanswered = aws_http.unanswered(error, at, "bucket", name=bucket, form=_BUCKET_NAME)
    if unanswered is not None:
        return unanswered
    problem = f"{at}: {status_of(error)} {code_of(error)}" + _sentence(error)
    return (
        _lost(error, problem)
        or _misplaced(error, problem, bucket)
        or _denied(error, problem, bucket)
        or _passing(error, problem)
        or Terminal(problem, hint=f"the store rejects this request; check the bucket {bucket} and its endpoint")
    )


def _lost(error: Exception, problem: str) -> TownError | None:
    """A condition did not hold, or two conditional writes collided."""
    if status_of(error) == 412 or code_of(error) == "PreconditionFailed":
        return PreconditionFailed(problem)
    if status_of(error) == 409 or code_of(error) in _RACES:
        return ConditionRace(problem)
    return None


def _misplaced(error: Exception, problem: str, bucket: str) -> TownError | None:
    """The wrong bucket, region or kind of store."""
    if code_of(error) == "NoSuchBucket":
        return StoreNotFound(problem, hint=f"create the bucket {bucket}, or name the one that holds the towns")
    if code_of(error) in _ELSEWHERE or status_of(error) in (301, 307):
        return StoreNotFound(problem, hint=_region_hint(error, bucket))
    if code_of(error) == "NotImplemented" or status_of(error) == 501:
        return StoreIncapable(problem, hint="use S3, another store with conditional writes, or a directory")
    return None


def _denied(error: Exception, problem: str, bucket: str) -> TownError | None:
    """The credentials or the permissions are wrong."""
    code = code_of(error)
    if says_clock_is_off(error):
        return AccessDenied(problem, hint=CLOCK)
    if code in CREDENTIALS or status_of(error) == 401:
        return AccessDenied(problem, hint="renew the credentials that the SDK finds (AWS_PROFILE, environment or role)")
    return AccessDenied(problem, hint=_rights_hint(bucket)) if status_of(error) == 403 else None


def _passing(error: Exception, problem: str) -> TownError | None:
    """A failure inside the store, or too many requests."""
    if status_of(error) >= 500 or status_of(error) in (408, 429) or code_of(error) in PASSING:
        return StoreUnavailable(problem, hint=OPEN)
    return None


def region_of(error: Exception) -> str | None:
    """The region in which the bucket is, if that is what the answer says."""
    if code_of(error) not in _ELSEWHERE and status_of(error) not in (301, 307):
        return None
    response = response_of(error)
    return response["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region") or response["Error"]["Region"] or None


def _region_hint(error: Exception, bucket: str) -> str:
    region = region_of(error)
    if region is not None:
        return f"the bucket {bucket} is in {region}: use --region {region}, or set AWS_DEFAULT_REGION"
    return f"the bucket {bucket} is in another region or behind another endpoint: name it with --region or --endpoint"


def _rights_hint(bucket: str) -> str:
    return (
        f"allow this identity s3:GetObject, s3:PutObject and s3:DeleteObject on {bucket}/* and s3:ListBucket on {bucket}; "
        "without s3:ListBucket S3 answers 403 for objects that do not exist"
    )


def _sentence(error: Exception) -> str:
    said = sentence_of(error)
    return f" ({said})" if said else ""


def _is_delete_marker(error: Exception) -> bool:
    headers = response_of(error).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return bool(headers.get("x-amz-delete-marker") == "true")
