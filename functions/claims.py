"""Who holds the token of a request, from the claims that the authorizer passes on. `shared.intake.sender` says what it may send."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.domain.errors import Refused
from shared.domain.senders import Sender
from shared.domain.states import SCOPES


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a valid token: the town that it speaks to, and what the events of the request keep about it."""

    town: str
    sender: Sender


def holder_of(event: Mapping[str, Any], now: datetime) -> Holder:
    """The holder in an HTTP API event. Raises Refused (401) if the claims are missing or invalid, or the token has expired."""
    context = event.get("requestContext") or {}
    claims = (context.get("authorizer") or {}).get("lambda") or {}
    try:
        expires = datetime.fromtimestamp(int(claims["expires"]), UTC)
        generation = None if claims.get("generation") is None else int(claims["generation"])
        town, scope = str(claims["town"]), next(known for known in SCOPES if known == claims["scope"])
    except (KeyError, TypeError, ValueError, OverflowError, OSError, StopIteration):
        raise _no_valid_token() from None
    if now >= expires:
        raise _no_valid_token()
    request = context.get("requestId")
    sender = Sender(
        scope,
        claims.get("agent"),
        generation,
        key=claims.get("key"),
        token=claims.get("token"),
        request=None if request is None else str(request)[:128],
    )
    return Holder(town, sender)


def _no_valid_token() -> Refused:
    return Refused(
        "the request has no valid town token",
        status=401,
        hint="send the header `Authorization: Bearer TOKEN`, with the output of `townctl token TOWN`",
    )
