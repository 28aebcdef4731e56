"""Problem documents (RFC 9457): how every function answers a request that it refuses.

Answers with our own errors show message and hint, which contain nothing about other towns; if the status is 500, the type of
the error replaces the message. An unexpected error is not shown at all.
"""

import json
from typing import Final, NotRequired  # pydantic needs this one below Python 3.12

from aws_lambda_powertools.event_handler import Response
from typing_extensions import TypedDict

from shared.domain.errors import Conflict, ImageTooLarge, Refused, Retryable, TownError, TownExists, UnknownTown

CONTENT_TYPE: Final = "application/problem+json"
NO_STORE: Final = {"Cache-Control": "no-store"}

_TITLES: Final = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    409: "Conflict",
    410: "Gone",
    413: "Content too large",
    422: "Unprocessable content",
    500: "Internal error",
    503: "Unavailable",
}


class Problem(TypedDict):
    """Why a request is refused (RFC 9457). `path` is the place in the request, `hint` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    path: NotRequired[str]
    hint: NotRequired[str]


NO_SUCH_TOWN: Final = "there is no such town, or it is not yours"


def not_found() -> Refused:
    """The same answer for a town that does not exist, has an invalid id, or is hidden from the caller."""
    return Refused(NO_SUCH_TOWN, status=404, path="townId", hint="check the id and your permissions for this town")


def document(status: int, detail: str, *, path: str = "", hint: str = "") -> Problem:
    """The members of a problem document; `path` and `hint` are our extensions."""
    shown: Problem = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Refused"),
        "status": status,
        "detail": detail,
    }
    if path:
        shown["path"] = path
    if hint:
        shown["hint"] = hint
    return shown


def response(status: int, detail: str, *, path: str = "", hint: str = "") -> Response[str]:
    """A problem document as an answer."""
    body = json.dumps(document(status, detail, path=path, hint=hint))
    headers = dict(NO_STORE) | ({"Retry-After": "5"} if status == 503 else {})
    return Response(status_code=status, content_type=CONTENT_TYPE, headers=headers, body=body)


def of_error(error: TownError) -> Response[str]:
    """The answer for one of our errors."""
    if isinstance(error, UnknownTown):
        error = not_found()
    if isinstance(error, Refused):
        return response(error.status, error.message, path=error.path, hint=error.hint)
    status = _status(error)
    return response(status, error.message if status != 500 else type(error).__name__, hint=error.hint)


def _status(error: TownError) -> int:
    if isinstance(error, TownExists | Conflict):
        return 409
    if isinstance(error, Retryable):
        return 503
    if isinstance(error, ImageTooLarge):
        return 413
    return 500
