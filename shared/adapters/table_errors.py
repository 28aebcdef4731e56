"""Translates what goes wrong with a request to DynamoDB: what was being done, in which table, and how to correct the problem."""

from typing import Final

from shared.adapters import aws_http
from shared.adapters.aws_sdk import (
    CLOCK,
    CREDENTIALS,
    OPEN,
    PASSING,
    THROTTLED,
    code_of,
    says_clock_is_off,
    sentence_of,
    status_of,
)
from shared.domain.errors import (
    AccessDenied,
    ConditionRace,
    PreconditionFailed,
    StoreNotFound,
    StoreUnavailable,
    Terminal,
    TownError,
)

_TABLE_NAME: Final = "a table's name has 3 to 255 letters, digits, dots, hyphens and underscores"
_FAILED: Final = frozenset({"InternalServerError", "ItemCollectionSizeLimitExceededException"})
_REFUSED_CREDENTIALS: Final = CREDENTIALS | {
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
}
_DENIED: Final = frozenset({"AccessDeniedException", "AccessDenied"})


def translated(error: Exception, *, doing: str, where: str, table: str) -> TownError:
    """The corresponding error of `shared.domain.errors`. `where` names table and endpoint for people."""
    at = f"{doing} in {where}"
    unanswered = aws_http.unanswered(error, at, "table", name=table, form=_TABLE_NAME)
    if unanswered is not None:
        return unanswered
    code, said = code_of(error), sentence_of(error)
    problem = f"{at}: {status_of(error)} {code}" + (f" ({said})" if said else "")
    if code == "ConditionalCheckFailedException":
        return PreconditionFailed(problem)
    if code in ("TransactionConflictException", "ReplicatedWriteConflictException"):
        return ConditionRace(problem)
    if code == "ResourceNotFoundException":
        return StoreNotFound(
            problem, hint=f"create the table {table}, or name its region: --region, or AWS_DEFAULT_REGION"
        )
    return _denied(error, problem, table) or _passing(error, problem) or _rejected(problem, table)


def _denied(error: Exception, problem: str, table: str) -> TownError | None:
    """The credentials or the permissions are wrong."""
    code = code_of(error)
    if says_clock_is_off(error):
        return AccessDenied(problem, hint=CLOCK)
    if code in _REFUSED_CREDENTIALS or status_of(error) == 401:
        return AccessDenied(problem, hint="renew the credentials that the SDK finds (AWS_PROFILE, environment or role)")
    if code in _DENIED or status_of(error) == 403:
        rights = "dynamodb:GetItem, dynamodb:PutItem, dynamodb:DeleteItem and dynamodb:Query"
        return AccessDenied(problem, hint=f"allow this identity {rights} on the table {table}")
    return None


def _passing(error: Exception, problem: str) -> TownError | None:
    """A failure inside the service, or more requests than the table takes at this moment."""
    code = code_of(error)
    if code in THROTTLED:
        hint = "nothing is lost, and the next attempt may succeed; if it goes on, read docs/runbook/waiting-room.md"
        return StoreUnavailable(problem, hint=hint)
    if status_of(error) >= 500 or status_of(error) in (408, 429) or code in PASSING or code in _FAILED:
        return StoreUnavailable(problem, hint=OPEN)
    return None


def _rejected(problem: str, table: str) -> TownError:
    hint = f"the service rejects this request; check the table {table}: its key is p and s, both texts"
    return Terminal(problem, hint=hint)
