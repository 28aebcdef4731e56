"""Pull requests at GitHub: REST for the pull request and its merge, one GraphQL query for threads, checks and reviews.

Only GraphQL shows whether threads are resolved. Its check rollup contains both check runs and legacy statuses. If GraphQL
reports no rollup, the combined status is read too; if that is empty as well, there are no checks, which counts as passing.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from pydantic import TypeAdapter

from shared.adapters.forge_hosts import Place, Target
from shared.adapters.forge_http import SILENCE_SECONDS, ForgeClient
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.github import changes, proofs
from shared.adapters.github.answers import PAGES_AT_MOST, Around, GitHubMerge, GitHubPull, Status, feedback_of
from shared.adapters.github.call import GITHUB, GitHubCall
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


class GitHubPullRequests:
    """The pull requests of GitHub and of GitHub Enterprise Servers."""

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
        """Read the state of a pull request."""
        with self._client(target, token) as client:
            call = GitHubCall(client, target)
            pull = call.ask(_PULL, "GET", f"/pulls/{target.number}")
            if isinstance(pull, ForgeError):
                return pull
            if pull.is_over or not want_feedback:
                return pull.seen(None)
            feedback = _feedback(call, target.number, pull)
            return feedback if isinstance(feedback, ForgeError) else pull.seen(feedback)

    def merge(self, target: Target, token: Secret, *, head_sha: str | None) -> Merged | NotMerged | ForgeError:
        """Merge a pull request at exactly that head, by a method that its repository allows."""
        body = {} if head_sha is None else {"sha": head_sha}
        with self._client(target, token) as client:
            return _merge(GitHubCall(client, target), f"/pulls/{target.number}", body)

    def update_branch(self, target: Target, token: Secret, *, head_sha: str) -> BranchUpdate | ForgeError:
        """Bring the branch up to date with its base."""
        with self._client(target, token) as client:
            return changes.update_branch(GitHubCall(client, target), target.number, head_sha)

    def dequeue(self, target: Target, token: Secret) -> Accepted | ForgeError:
        """Take the pull request out of its merge queue and cancel an automatic merge."""
        with self._client(target, token) as client:
            return changes.dequeue(GitHubCall(client, target), target.number)

    def request_review(self, target: Target, token: Secret, *, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
        """Ask these people to review again."""
        with self._client(target, token) as client:
            return changes.request_review(GitHubCall(client, target), target.number, reviewers)

    def proof(self, place: Place, token: Secret, *, claim: MergeClaim) -> Proof | ForgeError:
        """Look whether the target branch contains the merge."""
        with self._client(place, token) as client:
            return proofs.proof(GitHubCall(client, place), claim)

    def _client(self, place: Place, token: Secret) -> ForgeClient:
        return ForgeClient(place, token, self._limits, dialect=GITHUB, silence_seconds=self._timeout)


def _merge(call: GitHubCall, path: str, body: Mapping[str, str]) -> Merged | NotMerged | ForgeError:
    answer = call.ask(_MERGE, "PUT", f"{path}/merge", body)
    if not isinstance(answer, ForgeError):
        return Merged(answer.sha)
    if answer.http_status not in (405, 409):
        return answer
    pull = call.ask(_PULL, "GET", path)
    if isinstance(pull, ForgeError):
        return NotMerged(answer.message)
    if pull.state_of_it == "merged" and pull.merge_commit_sha:
        return Merged(pull.merge_commit_sha)
    method = pull.other_way_to_merge()
    if answer.http_status == 409 or method is None:
        return NotMerged(answer.message)
    answer = call.ask(_MERGE, "PUT", f"{path}/merge", {**body, "merge_method": method})
    if isinstance(answer, ForgeError):
        return NotMerged(answer.message) if answer.http_status in (405, 409) else answer
    return Merged(answer.sha)


def _feedback(call: GitHubCall, number: int, pull: GitHubPull) -> Feedback | ForgeError:
    """The obstacles to the merge, from every thread and check; says so if not all could be read."""
    pages: list[Around] = []
    after: dict[str, str | None] = {"checks": None, "threads": None}
    about = {"owner": call.place.owner, "name": call.place.name, "number": number}
    for _ in range(PAGES_AT_MOST):
        page = call.graphql(_AROUND, QUERY, {**about, **after})
        if isinstance(page, ForgeError):
            return page
        pages.append(page)
        after = page.next_after(after)
        if not page.has_more:
            break
    statuses: Status | None = None
    if pages[0].has_no_rollup:
        answer = call.ask(_STATUS, "GET", f"/commits/{quote(pull.head_sha, safe='')}/status")
        if isinstance(answer, ForgeError):
            return answer
        statuses = answer
    return feedback_of(pages, statuses, head_sha=pull.head_sha)
