"""Requests to a deployment's API: signed with SigV4 by an operator's credentials, or sent with a town token."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from shared.domain import strict_json

LARGEST: Final = 16 << 20
"""The most bytes that are read of one answer; a Lambda sends at most 6 MiB."""
_SERVICE: Final = "execute-api"
ANSWER_SECONDS: Final = 35.0
"""For the whole answer: a little more than the gateway waits."""
_TO_CONNECT: Final = 10.0


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """The status, the decoded body (as text if it is not JSON) and the headers with lower-case names."""

    status: int
    document: Any
    headers: Mapping[str, str]


def signed(method: str, url: str, body: Any = None, *, credentials: Any, region: str) -> ApiAnswer:
    """Send one request signed with SigV4. `credentials` are botocore's. Raises ConnectionError."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    content = _content(body)
    request = AWSRequest(method, url, data=content, headers={"Content-Type": "application/json"})
    SigV4Auth(credentials, _SERVICE, region).add_auth(request)
    return sent(method, url, content, dict(request.headers.items()))


def with_token(method: str, url: str, body: Any, *, token: str | None) -> ApiAnswer:
    """Send one request with a town token. Raises ConnectionError."""
    headers = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    return sent(method, url, _content(body), headers)


def sent(
    method: str, url: str, content: bytes, headers: Mapping[str, str], *, seconds: float = ANSWER_SECONDS
) -> ApiAnswer:
    """Send one request unchanged, without retries. A redirect is an answer like any other, and is not followed.

    Raises ConnectionError, also if the whole answer has not come after `seconds` or is larger than LARGEST.
    """
    from shared.adapters.clock import Budget
    from shared.adapters.http_exchange import (
        AnswerTooLarge,
        HttpPeer,
        HttpRequest,
        NotConnected,
        NoWholeAnswer,
    )

    place = f"{method} {url.partition('?')[0]}"
    try:
        with HttpPeer(url, connect_seconds=_TO_CONNECT, largest=LARGEST) as peer:
            answer = peer.exchange(HttpRequest(method, _target(url), dict(headers), content), Budget(seconds))
    except AnswerTooLarge as error:
        raise ConnectionError(f"{place}: {error}") from error
    except (NotConnected, ValueError) as error:  # ValueError: the URL has a port that none can have
        raise ConnectionError(f"{place}: no connection: {error}") from error
    except NoWholeAnswer as error:
        why = f"no whole answer in {seconds:g} s" if error.is_late else f"the answer was cut off: {error}"
        raise ConnectionError(f"{place}: {why}") from error
    try:
        document: Any = strict_json.foreign(answer.content or b"null", limit=LARGEST)
    except ValueError:
        document = answer.content.decode(errors="replace")
    return ApiAnswer(answer.status, document, answer.headers)


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _content(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return b"" if body is None else json.dumps(body).encode()
