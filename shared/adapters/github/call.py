"""The requests about one GitHub repository and its pull requests: REST by path, GraphQL by query."""

from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import urlsplit

from pydantic import TypeAdapter

from shared.adapters.forge_hosts import Place
from shared.adapters.forge_http import Dialect, ForgeClient
from shared.ports.forge import ForgeError

API_VERSION: Final = "2022-11-28"
GITHUB: Final = Dialect(
    "GitHub",
    token_header="Authorization",  # noqa: S106 - a name
    token_prefix="token ",  # noqa: S106 - a scheme
    headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION},
    says_slow_down=lambda message: "rate limit" in message.lower(),
)
_STATUS_OF: Final = {"NOT_FOUND": 404, "FORBIDDEN": 403, "INSUFFICIENT_SCOPES": 403, "UNPROCESSABLE": 422}

_T = TypeVar("_T")


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
        """Send a query or mutation. GitHub Enterprise Server serves GraphQL beside `/api/v3`."""
        path = f"{self._api.removesuffix('/v3')}/graphql"
        said = self._client.said("POST", path, {"query": query, "variables": dict(variables)})
        if isinstance(said, ForgeError):
            return said
        problems = said.value.get("errors") if isinstance(said.value, dict) else None
        if problems:
            return self._refused(said.headers, problems)
        return self._client.shaped(shape, said)

    def _refused(self, headers: Mapping[str, str], problems: object) -> ForgeError:
        """GraphQL errors have status 200 and a type. An error without a type is a failure inside GitHub."""
        first = problems[0] if isinstance(problems, list) and isinstance(problems[0], dict) else {}
        kind, message = first.get("type"), self._client.presentable(str(first.get("message", "")))
        if kind == "RATE_LIMITED":
            return self._client.limited(headers)
        if isinstance(kind, str) and kind in _STATUS_OF:
            return ForgeError("http", message, http_status=_STATUS_OF[kind])
        return ForgeError("transient" if kind is None else "invalid_response", message or "a GraphQL error")
