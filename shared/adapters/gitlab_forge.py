"""Merge requests at GitLab, gitlab.com or self-hosted: REST v4.

It combines three kinds of answers: the merge request (with its newest pipeline), its discussions page by page, and its
approvals.
"""

from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import TypeAdapter

from shared.adapters.forge_hosts import Target
from shared.adapters.forge_http import SILENCE_SECONDS, Dialect, ForgeClient
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.gitlab_answers import Approvals, Discussion, GitLabMerge, MergeRequest, feedback_of
from shared.ports.forge import Feedback, ForgeError, Merged, NotMerged, PullRequest
from shared.ports.secrets import Secret

PAGES_AT_MOST: Final = 10
_GITLAB: Final = Dialect("GitLab", token_header="PRIVATE-TOKEN", headers={"Accept": "application/json"})  # noqa: S106
_MERGE_REQUEST: Final = TypeAdapter(MergeRequest)
_MERGE: Final = TypeAdapter(GitLabMerge)
_APPROVALS: Final = TypeAdapter(Approvals)
_DISCUSSIONS: Final = TypeAdapter(list[Discussion])

_T = TypeVar("_T")


class GitLabMergeRequests:
    """The merge requests of GitLab."""

    def __init__(self, limits: ForgeLimits, *, timeout_seconds: float = SILENCE_SECONDS) -> None:
        self._limits = limits
        self._timeout = timeout_seconds

    def read(self, target: Target, token: Secret, *, want_feedback: bool) -> PullRequest | ForgeError:
        """Read the state of a merge request."""
        with self._client(target, token) as client:
            call = _Call(client, target)
            request = call.ask(_MERGE_REQUEST, "GET", "")
            if isinstance(request, ForgeError):
                return request
            if request.state_of_it != "open" or not want_feedback:
                return request.seen(None)
            feedback = _feedback(call, request)
            return feedback if isinstance(feedback, ForgeError) else request.seen(feedback)

    def merge(self, target: Target, token: Secret, *, head_sha: str | None) -> Merged | NotMerged | ForgeError:
        """Merge a merge request at exactly that head."""
        with self._client(target, token) as client:
            call = _Call(client, target)
            answer = call.ask(_MERGE, "PUT", "/merge", {} if head_sha is None else {"sha": head_sha})
            if not isinstance(answer, ForgeError):
                return Merged(answer.merge_commit_sha or answer.squash_commit_sha or answer.sha or head_sha or "")
            if answer.http_status not in (405, 406, 409, 422):
                return answer
            request = call.ask(_MERGE_REQUEST, "GET", "")
            if not isinstance(request, ForgeError) and request.state_of_it == "merged" and request.merge_sha:
                return Merged(request.merge_sha)
            return NotMerged(answer.message)

    def _client(self, target: Target, token: Secret) -> ForgeClient:
        return ForgeClient(target, token, self._limits, dialect=_GITLAB, silence_seconds=self._timeout)


def _feedback(call: "_Call", request: MergeRequest) -> Feedback | ForgeError:
    discussions: list[Discussion] = []
    page = "1"
    for _ in range(PAGES_AT_MOST):
        answer = call.discussions(page)
        if isinstance(answer, ForgeError):
            return answer
        found, page = answer
        discussions += found
        if not page:
            break
    approvals = call.ask(_APPROVALS, "GET", "/approvals")
    if isinstance(approvals, ForgeError):
        if approvals.http_status not in (403, 404):
            return approvals
        approvals = Approvals()  # not shown to this token or in this edition; `not_approved` alone counts then
    return feedback_of(request, discussions, approvals, unread=bool(page))


class _Call:
    """The requests about one merge request, by their paths below its own."""

    def __init__(self, client: ForgeClient, target: Target) -> None:
        project = quote(target.project, safe="")
        self._client = client
        self._path = f"{urlsplit(target.at.api_url).path}/projects/{project}/merge_requests/{target.number}"

    def ask(self, shape: TypeAdapter[_T], verb: str, path: str, body: object = None) -> _T | ForgeError:
        """Send a request and return its answer in that shape."""
        return self._client.ask(shape, verb, self._path + path, body)

    def discussions(self, page: str) -> tuple[list[Discussion], str] | ForgeError:
        """One page of discussions and the number of the next one, empty after the last."""
        said = self._client.said("GET", f"{self._path}/discussions?per_page=100&page={page}")
        if isinstance(said, ForgeError):
            return said
        found = self._client.shaped(_DISCUSSIONS, said)
        following = said.headers.get("x-next-page", "").strip()
        return found if isinstance(found, ForgeError) else (found, following if _is_number(following) else "")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
