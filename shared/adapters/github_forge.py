"""Pull requests at GitHub: REST for the pull request and its merge, one GraphQL query for everything around it.

Threads and their resolution exist only in GraphQL. Its check rollup holds check runs and legacy statuses alike; where
it is empty, the combined status is asked too, and if that is empty there are no checks, which counts as passing.

PyGithub signs the requests and speaks the protocol. Its habits that do not suit a tick are turned off: it waits
between requests, waits out limits, tries again, sleeps over a 202 and follows redirects. One client serves one call:
PyGithub keeps a request's parts in its connection, and effects run side by side.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from urllib3.util.retry import Retry

from shared.adapters.clock import Budget
from shared.adapters.forge_hosts import Target
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.github_answers import PAGES_AT_MOST, Around, Merge, Pull, Status, feedback_of
from shared.domain.field_errors import first_error
from shared.ports.forge import Feedback, ForgeError, Merged, NotMerged, PullRequest
from shared.ports.secrets import Secret

TIMEOUT_SECONDS: Final = 5
TOGETHER_SECONDS: Final = 25
"""For all requests about one pull request: below the 30 s that an effect may take."""

API_VERSION: Final = "2022-11-28"
_REDIRECTS: Final = (202, 301, 302, 303, 307, 308)

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
"""What stands around a pull request; asked again only for a second page of threads or checks."""

_R = TypeVar("_R")


class GitHubPullRequests:
    """The pull requests of GitHub and of GitHub Enterprise Servers."""

    def __init__(self, limits: ForgeLimits, *, timeout_seconds: int = TIMEOUT_SECONDS) -> None:
        self._limits = limits
        self._timeout = timeout_seconds

    def read(self, target: Target, token: Secret, *, want_feedback: bool) -> PullRequest | ForgeError:
        """How a pull request stands."""

        def read(call: "_Call") -> PullRequest | ForgeError:
            pull = call.get(Pull, f"/pulls/{target.number}")
            if isinstance(pull, ForgeError) or pull.is_over or not want_feedback:
                return pull if isinstance(pull, ForgeError) else pull.seen(None)
            feedback = _feedback(call, pull)
            return feedback if isinstance(feedback, ForgeError) else pull.seen(feedback)

        return self._calling(target, token, read)

    def merge(self, target: Target, token: Secret, *, head_sha: str | None) -> Merged | NotMerged | ForgeError:
        """Merge a pull request at exactly that head, in a way that its repository allows."""
        path = f"/pulls/{target.number}"

        def merge(call: "_Call") -> Merged | NotMerged | ForgeError:
            body = {} if head_sha is None else {"sha": head_sha}
            answer = call.put(Merge, f"{path}/merge", body)
            if not isinstance(answer, ForgeError):
                return Merged(answer.sha)
            if answer.http_status not in (405, 409):
                return answer
            pull = call.get(Pull, path)
            if isinstance(pull, ForgeError):
                return NotMerged(answer.message)
            if pull.state_of_it == "merged" and pull.merge_commit_sha:
                return Merged(pull.merge_commit_sha)
            method = pull.other_way_to_merge()
            if answer.http_status == 409 or method is None:
                return NotMerged(answer.message)
            answer = call.put(Merge, f"{path}/merge", {**body, "merge_method": method})
            if isinstance(answer, ForgeError):
                return NotMerged(answer.message) if answer.http_status in (405, 409) else answer
            return Merged(answer.sha)

        return self._calling(target, token, merge)

    def _calling(self, target: Target, token: Secret, do: Callable[["_Call"], _R]) -> _R | ForgeError:
        """Do something with a client of its own; whatever the network does is an answer."""
        with _client(target.at.api_url, token, self._timeout) as github:
            return do(_Call(github.requester, target, token, self._limits))


def _feedback(call: "_Call", pull: Pull) -> Feedback | ForgeError:
    """What stands around a pull request: every thread and check, or the word that not all could be looked at."""
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
        answer = call.get(Status, f"/commits/{pull.head_sha}/status")
        if isinstance(answer, ForgeError):
            return answer
        statuses = answer
    return feedback_of(pages, statuses, head_sha=pull.head_sha)


class _Call:
    """The requests about one pull request: each gives a checked answer or the error that it is."""

    def __init__(self, requester: Any, target: Target, token: Secret, limits: ForgeLimits) -> None:
        self._requester = requester
        self._target = target
        self._token = token
        self._limits = limits
        self._budget = Budget(TOGETHER_SECONDS)

    def get(self, shape: type[Any], path: str) -> Any:
        return self._ask(shape, "GET", self._path(path))

    def put(self, shape: type[Any], path: str, body: Mapping[str, str]) -> Any:
        return self._ask(shape, "PUT", self._path(path), body)

    def graphql(self, after: Mapping[str, str | None]) -> Any:
        """One page of everything around the pull request."""
        target = self._target
        variables = {"owner": target.owner, "name": target.name, "number": target.number, **after}
        body = {"query": QUERY, "variables": variables}
        return self._ask(Around, "POST", self._requester.graphql_url, body)

    def _path(self, path: str) -> str:
        return f"/repos/{self._target.owner}/{self._target.name}{path}"

    def _ask(self, shape: type[Any], verb: str, url: str, body: Any = None) -> Any:
        if self._budget.left() == 0:
            return ForgeError("transient", f"the forge took longer than {TOGETHER_SECONDS} s over one look")
        import requests  # noqa: PLC0415 - as PyGithub

        try:
            status, headers, text = self._requester.requestJson(verb, url, input=body)
        except requests.exceptions.RetryError:
            return ForgeError("invalid_response", "the API answered with a redirect, which is not followed")
        except requests.RequestException as error:
            return ForgeError("transient", f"no complete answer: {type(error).__name__}")
        return self._judged(shape, status, headers, text)

    def _judged(self, shape: type[Any], status: int, headers: Mapping[str, str], text: str) -> Any:
        if self._limits.used_up(headers):
            self._note(self._limits.reset(headers))
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if status >= 400:
            return self._refused(status, headers, answer)
        problems = answer.get("errors") if isinstance(answer, dict) else None
        if shape is Around and problems:
            return self._graphql_refused(headers, problems)
        try:
            return shape.model_validate(answer)
        except ValidationError as error:
            place = first_error(error).place or "no JSON"
            return ForgeError("invalid_response", f"the answer is not GitHub's: {place}")

    def _refused(self, status: int, headers: Mapping[str, str], answer: Any) -> ForgeError:
        said = str(answer.get("message", "")) if isinstance(answer, dict) else ""
        message = self._without_token(said)[:300] or f"HTTP {status}"
        if status in (403, 429):
            until = self._limits.end_of(headers)
            if until is None and "rate limit" in said.lower():
                until = self._limits.slowed_down()
            if until is not None:
                return self._limited(until)
        if status >= 500 or status == 429:
            return ForgeError("transient", message, http_status=status)
        return ForgeError("http", message, http_status=status)

    def _graphql_refused(self, headers: Mapping[str, str], problems: Any) -> ForgeError:
        """GraphQL answers errors with 200; their type tells them apart, those without one are GitHub's own trouble."""
        first = problems[0] if isinstance(problems, list) and isinstance(problems[0], dict) else {}
        kind, message = first.get("type"), self._without_token(str(first.get("message", "")))[:300]
        if kind == "RATE_LIMITED":
            return self._limited(self._limits.reset(headers) or self._limits.slowed_down())
        if kind in ("NOT_FOUND", "FORBIDDEN", "INSUFFICIENT_SCOPES"):
            return ForgeError("http", message, http_status=404 if kind == "NOT_FOUND" else 403)
        return ForgeError("transient" if kind is None else "invalid_response", message or "a GraphQL error")

    def _limited(self, until: Any) -> ForgeError:
        self._note(until)
        return ForgeError("rate_limited", "the token's limit is used up", http_status=429, retry_at=until)

    def _note(self, until: Any) -> None:
        if until is not None:
            self._limits.note(self._target.at.host, self._token, until)

    def _without_token(self, text: str) -> str:
        return text.replace(self._token.reveal(), "***")


@contextmanager
def _client(api_url: str, token: Secret, timeout_seconds: int) -> Iterator[Any]:
    """A GitHub client for one call, which never waits, tries again or follows."""
    import github  # noqa: PLC0415 - half a second that a town without pull requests need not spend

    never = Retry(
        total=0,
        redirect=False,
        allowed_methods=None,
        status_forcelist=_REDIRECTS,
        raise_on_status=True,
        respect_retry_after_header=False,
    )
    logging.getLogger("github.Requester").setLevel(logging.INFO)  # below that it logs whole answers
    client = github.Github(
        base_url=api_url,
        auth=github.Auth.Token(token.reveal()),
        timeout=timeout_seconds,
        user_agent="town-reconciler",
        per_page=100,
        retry=never,
        seconds_between_requests=None,
        seconds_between_writes=None,
        lazy=True,
        api_version=API_VERSION,
    )
    try:
        yield client
    finally:
        client.close()
