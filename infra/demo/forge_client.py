"""A client with which a demo agent opens and resolves pull requests in GitHub's API, with its own token, as any agent would.

TOWN_AGENT_FORGE is the URL of the API, TOWN_AGENT_FORGE_TOKEN the token. In the demo, both belong to the fake GitHub.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from shared.domain import strict_json

FORGE_VARIABLE: Final = "TOWN_AGENT_FORGE"
TOKEN_VARIABLE: Final = "TOWN_AGENT_FORGE_TOKEN"  # noqa: S105 - the name of a variable
_SECONDS: Final = 30.0
_LARGEST: Final = 8 << 20

_OPEN: Final = """
query Open($owner: String!, $name: String!, $head: String!) { repository(owner: $owner, name: $name) {
  pullRequests(first: 1, headRefName: $head, states: [OPEN]) { nodes { url } }
} }"""
_THREADS: Final = """
query Threads($owner: String!, $name: String!, $number: Int!) { repository(owner: $owner, name: $name) {
  pullRequest(number: $number) { reviewThreads(first: 100) { nodes { id isResolved } } }
} }"""
_RESOLVE: Final = "mutation Resolve($id: ID!) { resolveReviewThread(input: {threadId: $id}) { thread { isResolved } } }"


class ForgeFailed(Exception):
    """A request to the forge failed; the text says why."""


@dataclass(frozen=True, slots=True)
class PullRequests:
    """The pull requests of one repository."""

    api_url: str
    token: str
    owner: str
    name: str

    @classmethod
    def of(cls, git_url: str, environment: Mapping[str, str]) -> "PullRequests":
        """The pull requests of a rig's repository. Raises ForgeFailed if the environment names no forge."""
        try:
            owner, name = urlsplit(git_url).path.strip("/").removesuffix(".git").split("/")
            return cls(environment[FORGE_VARIABLE], environment[TOKEN_VARIABLE], owner, name)
        except (KeyError, ValueError) as error:
            raise ForgeFailed(
                f"no forge is configured ({error}): set {FORGE_VARIABLE} and {TOKEN_VARIABLE}, "
                "or set the town's merge_strategy to direct"
            ) from error

    def open(self, head: str, base: str, *, title: str, body: str) -> str:
        """Open a pull request, or find the one that an earlier generation opened, and return its URL. Raises ForgeFailed."""
        found = self._graphql(_OPEN, {"head": head})["pullRequests"]["nodes"]
        if found:
            return str(found[0]["url"])
        asked = {"head": head, "base": base, "title": title, "body": body}
        return str(self._ask("POST", self._path("/pulls"), asked)["html_url"])

    def comment(self, pr_url: str, text: str, *, path: str, commit: str) -> None:
        """Start a review thread on the first line of a file. Raises ForgeFailed."""
        asked = {"body": text, "path": path, "commit_id": commit, "line": 1, "side": "RIGHT"}
        self._ask("POST", self._path(f"/pulls/{_number(pr_url)}/comments"), asked)

    def resolve_all(self, pr_url: str) -> int:
        """Resolve every open thread and return their number. Raises ForgeFailed."""
        pull = self._graphql(_THREADS, {"number": _number(pr_url)})["pullRequest"]
        still_open = [thread["id"] for thread in pull["reviewThreads"]["nodes"] if not thread["isResolved"]]
        for thread_id in still_open:
            self._query(_RESOLVE, {"id": thread_id})
        return len(still_open)

    def _graphql(self, query: str, variables: Mapping[str, Any]) -> Any:
        return self._query(query, {"owner": self.owner, "name": self.name, **variables})["repository"]

    def _query(self, query: str, variables: Mapping[str, Any]) -> Any:
        address = self.api_url.removesuffix("/v3") + "/graphql"
        answer = self._ask("POST", address, {"query": query, "variables": dict(variables)})
        if answer.get("errors"):
            raise ForgeFailed(f"POST {urlsplit(address).path}: {answer['errors'][0].get('message')}")
        return answer["data"]

    def _path(self, path: str) -> str:
        return f"{self.api_url}/repos/{self.owner}/{self.name}{path}"

    def _ask(self, method: str, address: str, body: Mapping[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(address, json.dumps(body).encode(), headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                return strict_json.foreign(answer.read(_LARGEST + 1), limit=_LARGEST)
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(1000).decode(errors="replace")
            raise ForgeFailed(f"{method} {urlsplit(address).path}: HTTP {error.code} {said}") from None
        except (OSError, ValueError) as error:
            raise ForgeFailed(f"{method} {urlsplit(address).path}: {error}") from error


def _number(pr_url: str) -> int:
    return int(pr_url.rsplit("/", 1)[1])
