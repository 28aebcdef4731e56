"""The requests about one GitHub repository and its pull requests: REST by path, GraphQL by query.

GraphQL may answer with a part of what was asked and with errors that name the path of what is missing. Then a null means nothing by
itself: the caller asks `Partial.refused` whether an error's path begins there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from shared.adapters.forge_hosts import Place
from shared.adapters.forge_http import Dialect, ForgeClient, Said
from shared.ports.forge import ForgeError

API_VERSION: Final = "2022-11-28"
_STATUS_OF: Final = {
    "NOT_FOUND": 404,
    "FORBIDDEN": 403,
    "INSUFFICIENT_SCOPES": 403,
    "UNPROCESSABLE": 422,
    "STALE_DATA": 409,
}
_SIGN_ON: Final = "the organization requires single sign-on: authorize the token for it, or use a GitHub App"

_T = TypeVar("_T")


def _helps(status: int, headers: Mapping[str, str]) -> str:
    """What helps against a refusal, as GitHub's headers say it. The link of a sign-on wall is left out: it signs on."""
    if status == 401:
        return "the token is wrong, expired or revoked: store a new one"
    if headers.get("x-github-sso", "").startswith("required"):
        return _SIGN_ON
    needed = headers.get("x-accepted-github-permissions", "")
    return f"the token needs one of these permissions: {needed}" if status == 403 and needed else ""


GITHUB: Final = Dialect(
    "GitHub",
    token_header="Authorization",  # noqa: S106 - a name
    token_prefix="token ",  # noqa: S106 - a scheme
    headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION},
    says_slow_down=lambda message: "rate limit" in message.lower(),
    helps=_helps,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error of a GraphQL answer. `path` leads to what is missing; it is empty if the whole query failed."""

    kind: str | None
    message: str
    path: tuple[str, ...]

    @property
    def error(self) -> ForgeError:
        """It as an error of the port. A problem without a type is a failure inside GitHub."""
        if self.kind in _STATUS_OF:
            return ForgeError("http", self.message, http_status=_STATUS_OF[self.kind])
        return ForgeError("transient" if self.kind is None else "invalid_response", self.message or "a GraphQL error")


@dataclass(frozen=True, slots=True)
class Partial(Generic[_T]):
    """An answer with the problems of the parts that are missing."""

    value: _T
    problems: Sequence[Problem] = ()

    def refused(self, *path: str) -> Problem | None:
        """The first problem at or below a path; None if that part is as GitHub knows it."""
        return next((each for each in self.problems if each.path[: len(path)] == path), None)

    def failed(self, *path: str) -> Problem | None:
        """The first problem at or below a path that is no refusal but a failure inside GitHub, which may pass."""
        below = (each for each in self.problems if each.path[: len(path)] == path)
        return next((each for each in below if each.error.kind != "http"), None)


class GitHubCall:
    """The requests about one repository, by their paths in GitHub's API."""

    def __init__(self, client: ForgeClient, place: Place) -> None:
        self._client = client
        self.place = place
        self._api = urlsplit(place.at.api_url).path
        self._repository = f"{self._api}/repos/{place.owner}/{place.name}"

    def ask(self, shape: TypeAdapter[_T], verb: str, path: str, body: object = None) -> _T | ForgeError:
        """Send a REST request about the repository and return its answer in that shape."""
        return self._client.ask(shape, verb, self._repository + path, body)

    def graphql(self, shape: TypeAdapter[_T], query: str, variables: Mapping[str, object]) -> _T | ForgeError:
        """Send a query or mutation of which every part is needed."""
        answer = self.partly(shape, query, variables)
        if isinstance(answer, ForgeError):
            return answer
        return answer.problems[0].error if answer.problems else answer.value

    def partly(self, shape: TypeAdapter[_T], query: str, variables: Mapping[str, object]) -> Partial[_T] | ForgeError:
        """Send a query of which parts may be missing. GitHub Enterprise Server serves GraphQL beside `/api/v3`."""
        path = f"{self._api.removesuffix('/v3')}/graphql"
        about = {"owner": self.place.owner, "name": self.place.name, **variables}
        said = self._client.said("POST", path, {"query": query, "variables": about})
        if isinstance(said, ForgeError):
            return said
        given = said.value if isinstance(said.value, dict) else {}
        errors = given.get("errors") or []
        problems = [self._problem(each) for each in (errors if isinstance(errors, list) else [errors])]
        if any("secondary rate limit" in each.message.lower() for each in problems):
            return self._client.limited(said.headers, is_secondary=True)
        if any(each.kind == "RATE_LIMITED" for each in problems):
            return self._client.limited(said.headers)
        data = given.get("data")
        if problems and (data is None or not all(each.path for each in problems)):
            return problems[0].error
        value = self._client.shaped(shape, Said(said.headers, data))
        if isinstance(value, ForgeError) and problems:
            return problems[0].error  # what is missing is needed
        return value if isinstance(value, ForgeError) else Partial(value, problems)

    def _problem(self, given: object) -> Problem:
        about = given if isinstance(given, dict) else {}
        kind, path, more = about.get("type"), about.get("path"), about.get("extensions")
        message = self._client.presentable(str(about.get("message", "")))
        if isinstance(more, dict) and more.get("saml_failure") is True:
            message = f"{message}: {_SIGN_ON}" if message else _SIGN_ON
        parts = tuple(str(part) for part in path) if isinstance(path, list) else ()
        return Problem(kind if isinstance(kind, str) else None, message, parts)
