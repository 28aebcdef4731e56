"""Requests to a deployment's API: signed with SigV4 by an operator's credentials, or sent with a town token."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.domain import strict_json

LARGEST: Final = 16 << 20
"""The most bytes that are read of one answer; a Lambda sends at most 6 MiB."""
_SERVICE: Final = "execute-api"
_SECONDS: Final = 35.0  # a little more than the gateway waits


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


def sent(method: str, url: str, content: bytes, headers: Mapping[str, str]) -> ApiAnswer:
    """Send one request unchanged, without retries. A redirect is an answer like any other, and is not followed.

    Raises ConnectionError, also if the answer is larger than LARGEST.
    """
    from urllib3 import PoolManager
    from urllib3.exceptions import HTTPError

    place = f"{method} {url.partition('?')[0]}"
    try:
        with PoolManager(retries=False, timeout=_SECONDS) as pool:
            answer = pool.request(
                method, url, body=content, headers=dict(headers), redirect=False, preload_content=False
            )
            said = answer.read(LARGEST + 1, decode_content=False)
            is_whole = not answer.length_remaining
            answer.release_conn()
    except (HTTPError, OSError) as error:
        raise ConnectionError(f"{place}: {type(error).__name__}") from error
    if len(said) > LARGEST:
        raise ConnectionError(f"{place}: the answer is larger than {LARGEST >> 20} MiB")
    if not is_whole:
        raise ConnectionError(f"{place}: the answer was cut off")
    try:
        document: Any = strict_json.foreign(said or b"null", limit=LARGEST)
    except ValueError:
        document = said.decode(errors="replace")
    return ApiAnswer(answer.status, document, {name.lower(): value for name, value in answer.headers.items()})


def _content(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return b"" if body is None else json.dumps(body).encode()
