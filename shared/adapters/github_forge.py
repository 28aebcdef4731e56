"""Pull requests at GitHub: REST for the pull request and its merge, one GraphQL query for threads, checks and reviews.

Only GraphQL shows whether threads are resolved. Its check rollup contains both check runs and legacy statuses. If GraphQL
reports no rollup, the combined status is read too; if that is empty as well, there are no checks, which counts as passing.
"""

from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import TypeAdapter

from shared.adapters.forge_hosts import Target
from shared.adapters.forge_http import SILENCE_SECONDS, Dialect, ForgeClient
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.github_answers import PAGES_AT_MOST, Around, GitHubMerge, GitHubPull, Status, feedback_of
from shared.ports.forge import Feedback, ForgeError, Merged, NotMerged, PullRequest
from shared.ports.secrets import Secret

API_VERSION: Final = "2022-11-28"
_GITHUB: Final = Dialect(
    "GitHub",
    token_header="Authorization",  # noqa: S106 - a name
    token_prefix="token ",  # noqa: S106 - a scheme
    headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": API_VERSION},
    says_slow_down=lambda message: "rate limit" in message.lower(),
)
_PULL: Final = TypeAdapter(GitHubPull)
_MERGE: Final = TypeAdapter(GitHubMerge)
_STATUS: Final = TypeAdapter(Status)
_AROUND: Final = TypeAdapter(Around)

_CHECKS: Final = """
commits(last: 1) { nodes { commit { oid statusCheckRollup { contexts(first: 100, after: $checks) {
  nodes { __typename ... on CheckRun { status conclusion } ... on StatusContext { state } }
  pageInfo { hasNextPage endCursor }
} } } } }"""
_THREADS: Final = """
reviewThreads(first: 100, after: $threads) { nodes { isResolved } pageInfo { hasNextPage endCursor } }"""
QUERY: Final = f"""
query Around($owner: String!, $name: String!, $number: Int!, $checks: String, $threads: String) {{
  repository(owner: $owner, name: $name, followRenames: false) {{ pullRequest(number: $number) {{
    isDraft mergeStateStatus reviewDecision headRefOid {_THREADS} {_CHECKS}
  }} }}
}}"""
"""Threads, checks and reviews of a pull request; repeated only for further pages of threads or checks."""

_T = TypeVar("_T")


class GitHubPullRequests:
    """The pull requests of GitHub and of GitHub Enterprise Servers."""

    def __init__(self, limits: ForgeLimits, *, timeout_seconds: float = SILENCE_SECONDS) -> None:
        self._limits = limits
        self._timeout = timeout_seconds

    def read(self, target: Target, token: Secret, *, want_feedback: bool) -> PullRequest | ForgeError:
        """Read the state of a pull request."""
        with self._client(target, token) as client:
            call = _Call(client, target)
            pull = call.get(_PULL, f"/pulls/{target.number}")
            if isinstance(pull, ForgeError):
                return pull
            if pull.is_over or not want_feedback:
                return pull.seen(None)
            feedback = _feedback(call, pull)
            return feedback if isinstance(feedback, ForgeError) else pull.seen(feedback)

    def merge(self, target: Target, token: Secret, *, head_sha: str | None) -> Merged | NotMerged | ForgeError:
        """Merge a pull request at exactly that head, by a method that its repository allows."""
        body = {} if head_sha is None else {"sha": head_sha}
        with self._client(target, token) as client:
            return _merge(_Call(client, target), f"/pulls/{target.number}", body)

    def _client(self, target: Target, token: Secret) -> ForgeClient:
        return ForgeClient(target, token, self._limits, dialect=_GITHUB, silence_seconds=self._timeout)


def _merge(call: "_Call", path: str, body: Mapping[str, str]) -> Merged | NotMerged | ForgeError:
    answer = call.put(_MERGE, f"{path}/merge", body)
    if not isinstance(answer, ForgeError):
        return Merged(answer.sha)
    if answer.http_status not in (405, 409):
        return answer
    pull = call.get(_PULL, path)
    if isinstance(pull, ForgeError):
        return NotMerged(answer.message)
    if pull.state_of_it == "merged" and pull.merge_commit_sha:
        return Merged(pull.merge_commit_sha)
    method = pull.other_way_to_merge()
    if answer.http_status == 409 or method is None:
        return NotMerged(answer.message)
    answer = call.put(_MERGE, f"{path}/merge", {**body, "merge_method": method})
    if isinstance(answer, ForgeError):
        return NotMerged(answer.message) if answer.http_status in (405, 409) else answer
    return Merged(answer.sha)


def _feedback(call: "_Call", pull: GitHubPull) -> Feedback | ForgeError:
    """The obstacles to the merge, from every thread and check; says so if not all could be read."""
    pages: list[Around] = []
    after: dict[str, str | None] = {"checks": None, "threads": None}
    for _ in range(PAGES_AT_MOST):
        page = call.graphql(after)
        if isinstance(page, ForgeError):
            return page
        pages.append(page)
        after = page.next_after(after)
        if not page.has_more:
            break
    statuses: Status | None = None
    if pages[0].has_no_rollup:
        answer = call.get(_STATUS, f"/commits/{quote(pull.head_sha, safe='')}/status")
        if isinstance(answer, ForgeError):
            return answer
        statuses = answer
    return feedback_of(pages, statuses, head_sha=pull.head_sha)


class _Call:
    """The requests about one pull request, by their paths in GitHub's API."""

    def __init__(self, client: ForgeClient, target: Target) -> None:
        self._client = client
        self._target = target
        self._api = urlsplit(target.at.api_url).path
        self._repository = f"{self._api}/repos/{target.owner}/{target.name}"

    def get(self, shape: TypeAdapter[_T], path: str) -> _T | ForgeError:
        return self._client.ask(shape, "GET", self._repository + path)

    def put(self, shape: TypeAdapter[_T], path: str, body: Mapping[str, str]) -> _T | ForgeError:
        return self._client.ask(shape, "PUT", self._repository + path, body)

    def graphql(self, after: Mapping[str, str | None]) -> Around | ForgeError:
        """One page of threads, checks and reviews. GitHub Enterprise Server serves GraphQL beside `/api/v3`."""
        target = self._target
        variables = {"owner": target.owner, "name": target.name, "number": target.number, **after}
        path = f"{self._api.removesuffix('/v3')}/graphql"
        said = self._client.said("POST", path, {"query": QUERY, "variables": variables})
        if isinstance(said, ForgeError):
            return said
        problems = said.value.get("errors") if isinstance(said.value, dict) else None
        if problems:
            return self._refused(said.headers, problems)
        return self._client.shaped(_AROUND, said)

    def _refused(self, headers: Mapping[str, str], problems: object) -> ForgeError:
        """GraphQL errors have status 200 and a type. An error without a type is a failure inside GitHub."""
        first = problems[0] if isinstance(problems, list) and isinstance(problems[0], dict) else {}
        kind, message = first.get("type"), self._client.presentable(str(first.get("message", "")))
        if kind == "RATE_LIMITED":
            return self._client.limited(headers)
        if kind in ("NOT_FOUND", "FORBIDDEN", "INSUFFICIENT_SCOPES"):
            return ForgeError("http", message, http_status=404 if kind == "NOT_FOUND" else 403)
        return ForgeError("transient" if kind is None else "invalid_response", message or "a GraphQL error")
