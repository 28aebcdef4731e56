"""Audit lines: who asked what, from where, and what became of it. Every request leaves one, also a refused one.

A line names a token by its id and never contains it, and it contains nothing that a payload says: of events only their ids, under
which the town stores them. Texts that a caller chooses are shortened, and JSON escapes them, so that no caller can write a line.

With the id of an event, these lines lead to the request that brought it, from there to its token, and from there to every other
request of that token: docs/runbook/token-stolen.md.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shared.domain.ids import is_town_id

REQUEST: Final = "audit.request"
TOKEN_REFUSED: Final = "audit.token_refused"  # noqa: S105 - the name of a line
_SHOWN: Final = 128
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._~-]{0,24}", re.ASCII)
"""A segment of an unknown path that is shown: too short to be a token."""
_OF_A_TOKEN: Final = ("scope", "agent", "generation", "key", "token")


@dataclass(slots=True)
class Trail:
    """What only the answering code knows about a request: the batch that it stored, and the ids of the events that it brought.

    `more` is what else the line says: for whom a credential was issued, or which link of a notice was opened.
    """

    batch_id: str | None = None
    events: tuple[str, ...] = ()
    more: Mapping[str, object] = field(default_factory=dict)


def of_request(event: Mapping[str, Any], status: int, *, town_id: str | None, known_path: bool, trail: Trail) -> str:
    """The line of an answered request. `town_id` is the town in the path, whether or not there is such a town."""
    said = {
        "event": REQUEST,
        **_request(event),
        "path": None if known_path else _path(event),
        "town_id": town_id if town_id is not None and is_town_id(town_id) else None,
        "status": status,
        **_caller((event.get("requestContext") or {}).get("authorizer") or {}),
        "batch_id": trail.batch_id,
        "events": list(trail.events) or None,
        **{name: value if isinstance(value, int) else _shown(value) for name, value in trail.more.items()},
    }
    return _line(said)


def of_refused_token(event: Mapping[str, Any], why: str, *, key: str | None, token: str | None) -> str:
    """The line of a request whose token is refused. `key` and `token` are ids that the token claims: nobody has verified them."""
    town_id = (event.get("pathParameters") or {}).get("townId")
    said = {
        "event": TOKEN_REFUSED,
        **_request(event),
        "town_id": town_id if isinstance(town_id, str) and is_town_id(town_id) else None,
        "why": why,
        "claimed_key": key,
        "claimed_token": token,
    }
    return _line(said)


def _line(said: Mapping[str, object]) -> str:
    return json.dumps({name: value for name, value in said.items() if value is not None})


def _request(event: Mapping[str, Any]) -> dict[str, object]:
    context = event.get("requestContext") or {}
    http = context.get("http") or {}
    return {
        "request_id": _shown(context.get("requestId")),
        "source": _shown(http.get("sourceIp")),
        "method": _shown(http.get("method")),
        "route": _shown(event.get("routeKey")),
    }


def _caller(authorizer: Mapping[str, Any]) -> dict[str, object]:
    """Who asked: an IAM principal, or the holder of a token, for `token_town`."""
    signed, claims = authorizer.get("iam") or {}, authorizer.get("lambda") or {}
    of_token = {name: _shown(claims.get(name)) for name in _OF_A_TOKEN}
    return {"caller": _shown(signed.get("userArn")), "token_town": _shown(claims.get("town")), **of_token}


def _path(event: Mapping[str, Any]) -> str:
    """An unknown path. A segment that might be a token, or that has unusual characters, is shown as `*`."""
    segments = str(event.get("rawPath", ""))[:_SHOWN].split("/")
    return "/".join(segment if _SEGMENT.fullmatch(segment) else "*" for segment in segments)


def _shown(value: object) -> str | None:
    return None if value is None else str(value)[:_SHOWN]
