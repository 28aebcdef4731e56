"""The HTTP client of all forges: the requests about one pull request, to one API, with one token, within one budget.

Each request returns a validated answer or a `ForgeError`. The client never waits for a rate limit or retries, and limits the size
and the time of every answer (`http_exchange`). It follows one redirect to the same API, if that names the repository by its id:
so a forge answers for a repository that was renamed or moved. A request has a path and no host, so a token is
sent only to the API for which it was stored. Tokens that a forge repeats in a message are removed from the error.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from shared.adapters.clock import Budget
from shared.adapters.environment_proxy import proxy_for
from shared.adapters.forge_hosts import Place
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.http_exchange import AnswerTooLarge, HttpAnswer, HttpPeer, HttpRequest, NotConnected, NoWholeAnswer
from shared.domain.field_errors import first_error
from shared.ports.forge import ForgeError
from shared.ports.secrets import Secret

SILENCE_SECONDS: Final = 5.0
"""The longest time that a forge may take to accept a connection, or may send nothing."""

TOGETHER_SECONDS: Final = 25
"""The budget of all requests about one pull request together: less than the 30 s that an effect may take."""

_BY_ID: Final = re.compile(r"/(?:projects|repositories)/[0-9]{1,19}(?:/[!-~]*)?", re.ASCII)

LARGEST: Final = 8 << 20
_LONGEST_MESSAGE: Final = 300
_TOKEN: Final = re.compile(r"\b(?:gh[a-z]_|github_pat_|gl[a-z]{2,6}-)[\w.-]{8,}", re.ASCII)
"""Any token in a message, not only the one that was used. Those of GitHub's Apps are long and have dots, - and _ in them."""


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The differences between forges: the header that carries the token (after `token_prefix`), other headers, a test
    whether the message of a 403 or 429 means "slow down" if no header says so, and what helps against a refusal.
    """

    name: Literal["GitHub", "GitLab"]
    token_header: str
    token_prefix: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    says_slow_down: Callable[[str], bool] = lambda _message: False
    helps: Callable[[int, Mapping[str, str]], str] = lambda _status, _headers: ""


@dataclass(frozen=True, slots=True)
class Said:
    """A 2xx answer: its headers (names in lower case) and its JSON value."""

    headers: Mapping[str, str]
    value: object


class ForgeClient:
    """The requests about one pull request. They share one connection; leaving the `with` block closes it."""

    def __init__(
        self,
        place: Place,
        token: Secret,
        limits: ForgeLimits,
        *,
        dialect: Dialect,
        silence_seconds: float = SILENCE_SECONDS,
        together_seconds: float | None = None,
    ) -> None:
        self._at = place.at
        self._token = token
        self._limits = limits
        self._dialect = dialect
        self._silence_seconds = silence_seconds
        self._budget = Budget(TOGETHER_SECONDS if together_seconds is None else together_seconds)
        self._peer: HttpPeer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._peer is not None:
            self._peer.close()

    def ask(self, shape: TypeAdapter[_T], verb: str, path: str, body: object = None) -> _T | ForgeError:
        """Send a request and return its answer in that shape. `path` is absolute: everything after the host."""
        said = self.said(verb, path, body)
        if isinstance(said, ForgeError):
            return said
        return self.shaped(shape, said)

    def said(self, verb: str, path: str, body: object = None) -> Said | ForgeError:
        """Send a request and return its 2xx answer with its JSON value."""
        answer = self._send(verb, path, body)
        if isinstance(answer, HttpAnswer) and answer.status in (301, 302, 307, 308):
            by_id = self._by_id(answer.headers.get("location", ""))
            answer = answer if by_id is None else self._send(verb, by_id, body)
        if isinstance(answer, ForgeError):
            return answer
        if self._limits.used_up(answer.headers):
            self._note(self._limits.reset(answer.headers))
        if 300 <= answer.status < 400:
            return ForgeError("invalid_response", "the API answered with a redirect, which is not followed")
        try:
            value, fault = answer.json(), None
        except ValueError as error:
            value, fault = None, str(error)
        if answer.status >= 400:
            return self._refused(answer.status, answer.headers, _message_of(value))
        if fault is not None:
            return ForgeError("invalid_response", f"the answer is {fault}")
        return Said(answer.headers, value)

    def shaped(self, shape: TypeAdapter[_T], said: Said) -> _T | ForgeError:
        """The answer in that shape."""
        try:
            return shape.validate_python(said.value)
        except ValidationError as error:
            place = first_error(error).place
            return ForgeError(
                "invalid_response",
                f"the answer is not {self._dialect.name}'s: {place or 'not the expected JSON value'}",
            )

    def limited(self, headers: Mapping[str, str], *, is_secondary: bool = False) -> ForgeError:
        """The error for an answer whose body says that a limit is used up. The reset in it is not that of a secondary limit."""
        reset = None if is_secondary else self._limits.reset(headers)
        return self._limited(self._limits.end_of(headers) or reset or self._limits.slowed_down())

    def presentable(self, message: str) -> str:
        """A forge's message for people: without the token, truncated, and free of characters that cannot be stored."""
        clean = message.encode(errors="replace").decode().replace("\0", "?")
        return _TOKEN.sub("***", clean.replace(self._token.reveal(), "***"))[:_LONGEST_MESSAGE]

    def _send(self, verb: str, path: str, body: object) -> HttpAnswer | ForgeError:
        token = self._token.reveal()
        if not (token.isascii() and token.isprintable()):
            return ForgeError("no_token", f"the token stored for {self._at.host} cannot be sent: store it again")
        if not self._budget.left():
            return _too_late()
        headers = {
            **self._dialect.headers,
            "User-Agent": "town-reconciler",
            self._dialect.token_header: self._dialect.token_prefix + token,
        }
        content = None
        if body is not None:
            content = json.dumps(body, separators=(",", ":")).encode()
            headers["Content-Type"] = "application/json"
        try:
            return self._connection().exchange(HttpRequest(verb, path, headers, content), self._budget)
        except AnswerTooLarge as error:
            return ForgeError("invalid_response", str(error))
        except NotConnected as error:
            return ForgeError("transient", f"no connection: {error}") if self._budget.left() else _too_late()
        except NoWholeAnswer as error:
            return _too_late() if error.is_late else ForgeError("transient", f"no complete answer: {error}")

    def _by_id(self, location: str) -> str | None:
        """The path that a redirect leads to, if it is at the same API and names the repository by its id (a renamed one)."""
        try:
            to, here = urlsplit(location), urlsplit(self._at.api_url)
            is_ours = not to.netloc or (to.scheme, to.hostname, to.port) == (here.scheme, here.hostname, here.port)
        except ValueError:
            return None
        has_id = _BY_ID.fullmatch(to.path.removeprefix(here.path))
        if not is_ours or "@" in to.netloc or not to.path.startswith(here.path + "/") or has_id is None:
            return None
        return to.path + (f"?{to.query}" if to.query else "")

    def _connection(self) -> HttpPeer:
        """The connection to the API. Raises NotConnected if the environment names a proxy that cannot be used."""
        if self._peer is None:
            try:
                proxy = proxy_for(self._at.api_url)
            except ValueError as error:
                raise NotConnected(str(error)) from None
            self._peer = HttpPeer(
                self._at.api_url,
                connect_seconds=self._silence_seconds,
                silence_seconds=self._silence_seconds,
                largest=LARGEST,
                proxy=proxy,
            )
        return self._peer

    def _refused(self, status: int, headers: Mapping[str, str], said: str) -> ForgeError:
        message = self.presentable(said) or f"HTTP {status}"
        if status in (403, 429):
            until = self._limits.end_of(headers)
            if until is None and self._dialect.says_slow_down(said):
                until = self._limits.slowed_down()
            if until is not None:
                return self._limited(until)
        if status >= 500 or status in (408, 429):
            return ForgeError("transient", message, http_status=status)
        helps = self._dialect.helps(status, headers)
        return ForgeError("http", f"{message} ({helps})" if helps else message, http_status=status)

    def _limited(self, until: datetime) -> ForgeError:
        self._note(until)
        return ForgeError("rate_limited", "the token's limit is used up", http_status=429, retry_at=until)

    def _note(self, until: datetime | None) -> None:
        if until is not None:
            self._limits.note(self._at.host, self._token, until)


def _message_of(value: object) -> str:
    """The message of an error answer. GitLab puts some under `error` or `errors`, and some are lists or objects."""
    if not isinstance(value, dict):
        return ""
    given = value.get("message", value.get("error", value.get("errors")))
    needs = value.get("scope")
    return "" if given is None else f"{given}, it needs: {needs}" if needs else str(given)


def _too_late() -> ForgeError:
    return ForgeError("transient", f"the forge took longer than {TOGETHER_SECONDS} s over one look")
