"""Merge requests at GitLab, gitlab.com or self-hosted: REST v4.

It combines three kinds of answers: the merge request (with its newest pipeline), its discussions page by page, and its
approvals.
"""

from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import TypeAdapter

from shared.adapters.forge_hosts import Place, Target
from shared.adapters.forge_http import SILENCE_SECONDS, Dialect, ForgeClient
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.gitlab_answers import Approvals, Discussion, GitLabMerge, MergeRequest, feedback_of
from shared.ports.forge import (
    Accepted,
    Asker,
    BranchUpdate,
    Feedback,
    ForgeError,
    MergeClaim,
    Merged,
    NotMerged,
    Proof,
    PullRequest,
)
from shared.ports.secrets import Secret

PAGES_AT_MOST: Final = 10
_GITLAB: Final = Dialect("GitLab", token_header="PRIVATE-TOKEN", headers={"Accept": "application/json"})  # noqa: S106
_MERGE_REQUEST: Final = TypeAdapter(MergeRequest)
_MERGE: Final = TypeAdapter(GitLabMerge)
_APPROVALS: Final = TypeAdapter(Approvals)
_DISCUSSIONS: Final = TypeAdapter(list[Discussion])
_ANYTHING: Final = TypeAdapter(dict[str, object])

_T = TypeVar("_T")


class GitLabMergeRequests:
    """The merge requests of GitLab."""

    def __init__(self, limits: ForgeLimits, *, timeout_seconds: float = SILENCE_SECONDS) -> None:
        self._limits = limits
        self._timeout = timeout_seconds

    def read(
        self,
        target: Target,
        token: Secret,
        *,
        asker: Asker,  # noqa: ARG002
        want_feedback: bool,
    ) -> PullRequest | ForgeError:
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

    def update_branch(self, target: Target, token: Secret, *, head_sha: str) -> BranchUpdate | ForgeError:
        """Rebase the branch. GitLab's rebase names no head, so the head is read immediately before."""
        with self._client(target, token) as client:
            call = _Call(client, target)
            request = call.ask(_MERGE_REQUEST, "GET", "")
            if isinstance(request, ForgeError):
                return request
            if request.sha != head_sha:
                return BranchUpdate("refused", reason="the head moved since it was judged")
            answer = call.ask(_ANYTHING, "PUT", "/rebase")
            if not isinstance(answer, ForgeError):
                return BranchUpdate("updated")
            return BranchUpdate("refused", reason=answer.message) if answer.http_status == 409 else answer

    def dequeue(self, target: Target, token: Secret) -> Accepted | ForgeError:
        """Cancel the automatic merge; 406 says that there is none."""
        with self._client(target, token) as client:
            answer = _Call(client, target).ask(_ANYTHING, "POST", "/cancel_merge_when_pipeline_succeeds")
            return answer if isinstance(answer, ForgeError) and answer.http_status != 406 else Accepted()

    def request_review(self, target: Target, token: Secret, *, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
        """Ask these people to review again, by a quick action in a note."""
        named = " ".join(f"@{name}" for name in reviewers)
        with self._client(target, token) as client:
            answer = _Call(client, target).ask(_ANYTHING, "POST", "/notes", {"body": f"/request_review {named}"})
            return answer if isinstance(answer, ForgeError) else Accepted()

    def proof(self, place: Place, token: Secret, *, claim: MergeClaim) -> Proof | ForgeError:
        """Look whether the target branch contains the merge commit, else the head."""
        commit = claim.merge_commit or claim.head
        if commit is None:
            return Proof(None, says="no commit is known")
        path = f"{urlsplit(place.at.api_url).path}/projects/{quote(place.project, safe='')}/repository/merge_base"
        refs = f"refs[]={quote(claim.target_branch, safe='')}&refs[]={quote(commit, safe='')}"
        with self._client(place, token) as client:
            answer = client.ask(_ANYTHING, "GET", f"{path}?{refs}")
            if isinstance(answer, ForgeError):
                is_no = answer.http_status == 404 and "merge base" in answer.message.lower()
                return Proof(False, says=answer.message) if is_no else answer
            return Proof(answer.get("id") == commit, sha=commit)

    def _client(self, place: Place, token: Secret) -> ForgeClient:
        return ForgeClient(place, token, self._limits, dialect=_GITLAB, silence_seconds=self._timeout)


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
