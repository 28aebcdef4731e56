"""Who reports, as the gateway's authorizer hands it on; what a sender may send is said in shared.intake.sender."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.domain.errors import Refused
from shared.domain.states import SCOPES
from shared.intake.sender import Sender


def sender_of(event: Mapping[str, Any], now: datetime) -> Sender:
    """The sender of an HTTP API event. Raises Refused (401) if no authorizer has seen a token, or too long ago."""
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
        "no valid town token was shown", status=401, hint="Authorization: Bearer <what townctl token prints>"
    )
