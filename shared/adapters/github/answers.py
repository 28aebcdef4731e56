"""The parts of GitHub's answers that matter here, and what they mean for a merge.

Undeclared fields are ignored. Declared fields must have the form that GitHub documents; otherwise the answer is rejected
as `invalid_response`.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.ports.forge import Feedback, PullRequest

PAGES_AT_MOST: Final = 10
"""At most 1,000 threads and 1,000 checks are read; if there are more, the checks count as not passed."""

_FAILED: Final = frozenset(
    {"FAILURE", "TIMED_OUT", "CANCELLED", "ACTION_REQUIRED", "STARTUP_FAILURE", "STALE", "ERROR"}
)
_PASSED: Final = frozenset({"SUCCESS", "NEUTRAL", "SKIPPED"})


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Head(_Answer):
    sha: str = Field(min_length=1, max_length=64)


class _Ways(_Answer):
    allow_merge_commit: bool | None = None
    allow_squash_merge: bool | None = None
    allow_rebase_merge: bool | None = None


class _Base(_Answer):
    repo: _Ways = _Ways()


class GitHubPull(_Answer):
    """A pull request, as the REST API shows it."""

    state: Literal["open", "closed"]
    merged: bool = False
    merged_at: str | None = None
    merge_commit_sha: str | None = None
    mergeable_state: str = "unknown"
    draft: bool = False
    head: _Head
    base: _Base = _Base()

    @property
    def head_sha(self) -> str:
        """The newest commit of its branch."""
        return self.head.sha

    @property
    def state_of_it(self) -> Literal["open", "merged", "closed"]:
        """`merged` if any field says so: GitHub's replicas disagree for short periods."""
        return "merged" if self.merged or self.merged_at is not None else self.state

    @property
    def is_over(self) -> bool:
        """Whether it is merged or closed."""
        return self.state_of_it != "open"

    def seen(self, feedback: Feedback | None) -> PullRequest:
        """The pull request as the port describes it."""
        state = self.state_of_it
        return PullRequest(
            state,
            head_sha=self.head_sha,
            merge_sha=self.merge_commit_sha if state == "merged" else None,
            mergeable_state=self.mergeable_state,
            feedback=feedback,
        )

    def other_way_to_merge(self) -> Literal["squash", "rebase"] | None:
        """The method to use if the repository forbids merge commits; None if it allows them, or allows no other method."""
        ways = self.base.repo
        if ways.allow_merge_commit is not False:
            return None
        return "squash" if ways.allow_squash_merge else "rebase" if ways.allow_rebase_merge else None


class GitHubMerge(_Answer):
    """The answer to a successful merge."""

    sha: str = Field(min_length=1, max_length=64)
    merged: Literal[True]


class _LegacyStatus(_Answer):
    state: str


class Status(_Answer):
    """The combined legacy status of a commit."""

    total_count: int
    statuses: list[_LegacyStatus]


class _Page(_Answer):
    has_next: bool = Field(alias="hasNextPage")
    end: str | None = Field(alias="endCursor", default=None)


class _Thread(_Answer):
    is_resolved: bool = Field(alias="isResolved")


class _Threads(_Answer):
    nodes: list[_Thread]
    page: _Page = Field(alias="pageInfo")


class _Check(_Answer):
    kind: Literal["CheckRun", "StatusContext"] = Field(alias="__typename")
    status: str | None = None
    conclusion: str | None = None
    state: str | None = None

    @property
    def outcome(self) -> str:
        """Its conclusion; PENDING if it has none yet."""
        return (self.state if self.kind == "StatusContext" else self.conclusion) or "PENDING"


class _Checks(_Answer):
    nodes: list[_Check]
    page: _Page = Field(alias="pageInfo")


class _Rollup(_Answer):
    contexts: _Checks


class _Commit(_Answer):
    oid: str
    rollup: _Rollup | None = Field(alias="statusCheckRollup")


class _CommitNode(_Answer):
    commit: _Commit


class _Commits(_Answer):
    nodes: list[_CommitNode] = Field(min_length=1, max_length=1)


class _AroundPull(_Answer):
    is_draft: bool = Field(alias="isDraft")
    merge_state_status: str = Field(alias="mergeStateStatus")
    review_decision: str | None = Field(alias="reviewDecision")
    head_sha: str = Field(alias="headRefOid")
    threads: _Threads = Field(alias="reviewThreads")
    commits: _Commits

    @property
    def checks(self) -> _Checks | None:
        rollup = self.commits.nodes[0].commit.rollup
        return None if rollup is None else rollup.contexts


class _Repository(_Answer):
    pull: _AroundPull = Field(alias="pullRequest")


class _Data(_Answer):
    repository: _Repository


class Around(_Answer):
    """One page of threads, checks and reviews of a pull request, as GraphQL shows them."""

    data: _Data

    @property
    def pull(self) -> _AroundPull:
        """The pull request in the answer."""
        return self.data.repository.pull

    @property
    def has_no_rollup(self) -> bool:
        """Whether GraphQL reports no check at all."""
        return self.pull.checks is None

    @property
    def has_more(self) -> bool:
        """Whether there is another page of threads or of checks."""
        checks = self.pull.checks
        return self.pull.threads.page.has_next or (checks is not None and checks.page.has_next)

    def next_after(self, before: Mapping[str, str | None]) -> dict[str, str | None]:
        """The cursors of the next page. A list without further pages keeps its last cursor, so nothing is counted twice."""
        checks = self.pull.checks
        return {
            "threads": self.pull.threads.page.end or before["threads"],
            "checks": before["checks"] if checks is None else checks.page.end or before["checks"],
        }


def feedback_of(pages: Sequence[Around], statuses: Status | None, *, head_sha: str) -> Feedback:
    """The obstacles to the merge of a pull request. A check that was not read, or that belongs to another head, does not pass.

    A draft counts as awaiting approval: GitHub refuses to merge it until a person marks it as ready.
    """
    newest = pages[-1].pull
    outcomes = [check.outcome for page in pages if page.pull.checks is not None for check in page.pull.checks.nodes]
    if statuses is not None:
        outcomes += [status.state.upper() for status in statuses.statuses]
    unread = pages[-1].has_more or (statuses is not None and statuses.total_count > len(statuses.statuses))
    same_head = all(page.pull.head_sha == head_sha == page.pull.commits.nodes[0].commit.oid for page in pages)
    return Feedback(
        has_unresolved_comments=any(not thread.is_resolved for page in pages for thread in page.pull.threads.nodes),
        has_failing_checks=any(outcome in _FAILED for outcome in outcomes),
        has_unchecked_runs=unread,
        all_checks_pass=same_head and not unread and all(outcome in _PASSED for outcome in outcomes),
        awaiting_approval=newest.review_decision == "REVIEW_REQUIRED" or newest.is_draft,
        changes_requested=newest.review_decision == "CHANGES_REQUESTED",
        review_decision=newest.review_decision,
        merge_state_status=newest.merge_state_status,
    )
