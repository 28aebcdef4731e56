"""The sender of a request, from the claims that the authorizer passes on. `shared.intake.sender` says what it may send."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.domain.errors import Refused
from shared.domain.states import SCOPES
from shared.intake.sender import Sender


def sender_of(event: Mapping[str, Any], now: datetime) -> Sender:
    """The sender of an HTTP API event. Raises Refused (401) if the claims are missing or invalid, or the token has expired."""
    claims = ((event.get("requestContext") or {}).get("authorizer") or {}).get("lambda") or {}
    try:
        expires = datetime.fromtimestamp(int(claims["expires"]), UTC)
        generation = None if claims.get("generation") is None else int(claims["generation"])
        town, scope = str(claims["town"]), next(known for known in SCOPES if known == claims["scope"])
    except (KeyError, TypeError, ValueError, OverflowError, OSError, StopIteration):
        raise _no_valid_token() from None
    if now >= expires:
        raise _no_valid_token()
    return Sender(town, scope, claims.get("agent"), generation)


def _no_valid_token() -> Refused:
    return Refused(
        "the request has no valid town token",
        status=401,
        hint="send the header `Authorization: Bearer TOKEN`, with the output of `townctl token TOWN`",
    )
