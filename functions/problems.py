"""Problem documents (RFC 9457): how every function answers a request that it refuses.

Answers with our own errors show message and hint, which contain nothing about other towns; if the status is 500, the type of
the error replaces the message. An unexpected error is not shown at all.
"""

import json
from typing import Any, Final

from shared.domain.errors import Conflict, ImageTooLarge, Refused, Retryable, TownError, TownExists, UnknownTown
from shared.domain.shapes import answer

CONTENT_TYPE: Final = "application/problem+json"
NO_STORE: Final = {"Cache-Control": "no-store"}
NO_SUCH_TOWN: Final = "there is no such town, or it is not yours"
TRY_AGAIN: Final = "try again in a few seconds; the request can be safely repeated"
TELL_THE_OPERATOR: Final = (
    "give the operator the header X-Request-Id of this answer; the function's log has more under that id"
)

_TITLES: Final = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    410: "Gone",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Unprocessable content",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}
_HINTS: Final = {500: TELL_THE_OPERATOR, 503: TRY_AGAIN}


@answer
class Problem:
    """Why a request is refused (RFC 9457). `path` is the place in the request, null for the whole of it; `hint` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    path: str | None
    hint: str


def not_found() -> Refused:
    """The same answer for a town that does not exist, has an invalid id, or is hidden from the caller."""
    return Refused(NO_SUCH_TOWN, status=404, path="townId", hint="check the id and your permissions for this town")


def document(status: int, detail: str, *, hint: str, path: str = "") -> dict[str, Any]:
    """The members of a problem document; `path` and `hint` are our extensions."""
    return {
        "type": "about:blank",
        "title": _TITLES.get(status, "Refused"),
        "status": status,
        "detail": detail,
        "path": path or None,
        "hint": hint,
    }


def response(status: int, detail: str, *, hint: str, path: str = "") -> dict[str, Any]:
    """A problem document as an answer of a function."""
    headers = {"Content-Type": CONTENT_TYPE, **NO_STORE} | ({"Retry-After": "5"} if status in (429, 503) else {})
    body = json.dumps(document(status, detail, path=path, hint=hint))
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}


def of_error(error: TownError) -> dict[str, Any]:
    """The answer for one of our errors."""
    if isinstance(error, UnknownTown):
        error = not_found()
    if isinstance(error, Refused):
        return response(error.status, error.message, path=error.path, hint=error.hint)
    status = _status(error)
    hint = error.hint or _HINTS.get(status, TELL_THE_OPERATOR)
    return response(status, error.message if status != 500 else type(error).__name__, hint=hint)


def _status(error: TownError) -> int:
    if isinstance(error, TownExists | Conflict):
        return 409
    if isinstance(error, Retryable):
        return 503
    if isinstance(error, ImageTooLarge):
        return 413
    return 500
