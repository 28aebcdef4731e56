"""The parts of GitHub's answers that matter here.

Undeclared fields are ignored. Declared fields must have the form that GitHub documents; otherwise the answer is rejected
as `invalid_response`. A field that GitHub may refuse to a token on its own may be missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from shared.adapters.github.contexts import Answer, Contexts, Page, Rollup
from shared.ports.forge import Comment, Feedback, Identity, PullRequest, RepositoryAt


class _Actor(Answer):
    login: str


class _Said(Answer):
    body: str
    author: _Actor | None = None


class _AllSaid(Answer):
    nodes: list[_Said | None] | None


class _Thread(Answer):
    id: str
    is_resolved: bool = Field(alias="isResolved")
    path: str | None = None
    line: int | None = None
    comments: _AllSaid | None = None

    @property
    def said(self) -> list[Comment]:
        """The first comments of the thread."""
        return [
            Comment(
                each.body,
                author=None if each.author is None else each.author.login,
                file=self.path,
                line=self.line,
                thread=self.id,
            )
            for each in (self.comments.nodes if self.comments else None) or ()
            if each is not None
        ]


class _Threads(Answer):
    nodes: list[_Thread]
    page: Page = Field(alias="pageInfo")


class _Oid(Answer):
    oid: str


class _Parents(Answer):
    nodes: list[_Oid | None]


class _Commit(Answer):
    oid: str
    parents: _Parents | None = None
    rollup: Rollup | None = Field(alias="statusCheckRollup", default=None)


class _CommitNode(Answer):
    commit: _Commit


class _Commits(Answer):
    nodes: list[_CommitNode | None] | None


class PageSeen(Answer):
    """One page of the threads and checks of a pull request."""

    head_sha: str = Field(alias="headRefOid", min_length=1, max_length=64)
    threads: _Threads | None = Field(alias="reviewThreads", default=None)
    commits: _Commits

    @property
    def commit(self) -> _Commit | None:
        """The head commit; None if it could not be read."""
        nodes = self.commits.nodes
        node = nodes[0] if nodes else None
        return None if node is None else node.commit

    @property
    def contexts(self) -> Contexts | None:
        """The checks of this page; None if there is no check, or the checks could not be read."""
        commit = self.commit
        return None if commit is None or commit.rollup is None else commit.rollup.contexts

    @property
    def has_more(self) -> bool:
        """Whether there is another page of threads or of checks."""
        contexts = self.contexts
        threads_go_on = self.threads is not None and self.threads.page.has_next
        return threads_go_on or (contexts is not None and contexts.page.has_next)

    def next_after(self, before: Mapping[str, str | None]) -> dict[str, str | None]:
        """The cursors of the next page. A list without further pages keeps its last cursor, so nothing is counted twice."""
        contexts, threads = self.contexts, self.threads
        return {
            "threads": before["threads"] if threads is None else threads.page.end or before["threads"],
            "checks": before["checks"] if contexts is None else contexts.page.end or before["checks"],
        }


class _Repository(Answer):
    number: int = Field(alias="databaseId")
    name: str = Field(alias="nameWithOwner")

    @property
    def at(self) -> RepositoryAt:
        return RepositoryAt(str(self.number), self.name)


class _Review(Answer):
    id: str
    state: str
    body: str = ""
    author: _Actor | None = None


class _Reviews(Answer):
    nodes: list[_Review | None] | None


class _UpdateRule(Answer):
    contexts: list[str | None] | None = Field(alias="requiredStatusCheckContexts", default=None)


class _Named(Answer):
    context: str


class _Parameters(Answer):
    required: list[_Named] = Field(alias="requiredStatusChecks", default=[])


class _Rule(Answer):
    parameters: _Parameters | None = None


class _Rules(Answer):
    nodes: list[_Rule | None] | None


class _BaseRef(Answer):
    update_rule: _UpdateRule | None = Field(alias="refUpdateRule", default=None)
    rules: _Rules | None = None

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the checks that the branch requires, by classic protection and by rulesets."""
        classic = [] if self.update_rule is None else self.update_rule.contexts or []
        rules = [] if self.rules is None else self.rules.nodes or []
        ruled = [each.context for rule in rules if rule and rule.parameters for each in rule.parameters.required]
        return tuple(dict.fromkeys(name for name in (*classic, *ruled) if name))


class _Entry(Answer):
    position: int


class _Automatic(Answer):
    enabled_at: str | None = Field(alias="enabledAt", default=None)


class WaitingSeen(Answer):
    """Whether a pull request is merged or waits in a queue."""

    given_state: Literal["OPEN", "CLOSED", "MERGED"] = Field(alias="state")
    merged: bool
    draft: bool = Field(alias="isDraft")
    mergeable: str
    merge_state: str = Field(alias="mergeStateStatus")
    decision: str | None = Field(alias="reviewDecision")
    merge_commit: _Oid | None = Field(alias="mergeCommit")
    has_queue: bool = Field(alias="isMergeQueueEnabled")
    is_queued: bool = Field(alias="isInMergeQueue")
    entry: _Entry | None = Field(alias="mergeQueueEntry")
    automatic: _Automatic | None = Field(alias="autoMergeRequest")

    @property
    def state(self) -> Literal["OPEN", "CLOSED", "MERGED"]:
        """`MERGED` if any field says so: GitHub's replicas disagree for short periods."""
        return "MERGED" if self.merged else self.given_state

    @property
    def in_queue(self) -> bool:
        """Whether it is in a merge queue or will be merged automatically."""
        return self.is_queued or self.automatic is not None

    @property
    def position(self) -> int | None:
        """Its position in the merge queue."""
        return None if self.entry is None else self.entry.position

    @property
    def mergeable_state(self) -> str:
        """One word for what prevents the merge; `unknown` while GitHub still computes it."""
        if self.mergeable == "CONFLICTING":
            return "dirty"
        if self.mergeable != "MERGEABLE":
            return "unknown"
        return "draft" if self.draft else self.merge_state.lower()


class PullToMerge(WaitingSeen):
    """A pull request that is to be merged or taken out of a queue."""

    id: str


class PullSeen(PullToMerge, PageSeen):
    """A pull request and the first page of its threads and checks."""

    head_branch: str = Field(alias="headRefName")
    head_repository: _Repository | None = Field(alias="headRepository")
    base_branch: str = Field(alias="baseRefName")
    base_repository: _Repository | None = Field(alias="baseRepository")
    author: _Actor | None
    may_bypass: bool = Field(alias="viewerCanMergeAsAdmin")
    reviews: _Reviews | None = Field(alias="latestOpinionatedReviews", default=None)
    base_ref: _BaseRef | None = Field(alias="baseRef", default=None)

    @property
    def identity(self) -> Identity | None:
        """Which pull request it is; None if its base repository is gone."""
        if self.base_repository is None:
            return None
        return Identity(
            None if self.head_repository is None else self.head_repository.at,
            self.head_branch,
            self.base_repository.at,
            self.base_branch,
            author=None if self.author is None else self.author.login,
            draft=self.draft,
        )

    def seen(self, feedback: Feedback | None, *, identity: Identity | None) -> PullRequest:
        """The pull request as the port describes it."""
        is_merged = self.state == "MERGED"
        commit = self.commit
        parents = [] if commit is None or commit.parents is None else commit.parents.nodes
        return PullRequest(
            "merged" if is_merged else "open" if self.state == "OPEN" else "closed",
            head_sha=self.head_sha,
            merge_sha=self.merge_commit.oid if is_merged and self.merge_commit is not None else None,
            mergeable_state=self.mergeable_state,
            feedback=feedback,
            identity=identity,
            has_queue=self.has_queue,
            in_queue=self.in_queue,
            queue_position=self.position,
            is_behind=self.merge_state == "BEHIND",
            head_parents=tuple(
                each.oid for each in parents if each is not None and commit and commit.oid == self.head_sha
            ),
            may_bypass=self.may_bypass,
        )


class _WithWays(Answer):
    """A repository with the ways to merge that it allows."""

    merge_allowed: bool = Field(alias="mergeCommitAllowed")
    squash_allowed: bool = Field(alias="squashMergeAllowed")
    rebase_allowed: bool = Field(alias="rebaseMergeAllowed")

    @property
    def ways(self) -> tuple[Literal["merge", "squash", "rebase"], ...]:
        """The ways to merge that the repository allows, the preferred one first."""
        found: list[Literal["merge", "squash", "rebase"]] = []
        if self.merge_allowed:
            found.append("merge")
        if self.squash_allowed:
            found.append("squash")
        if self.rebase_allowed:
            found.append("rebase")
        return tuple(found)


class _Home(_WithWays):
    pull: PullSeen | None = Field(alias="pullRequest")


@dataclass(frozen=True, slots=True)
class HomeSeen:
    """What decides how a pull request is merged."""

    pull: PullToMerge
    ways: tuple[Literal["merge", "squash", "rebase"], ...]


class Look(Answer):
    """The answer to `queries.LOOK`."""

    repository: _Home | None
    rig: _Repository | None = None
    upstream: _Repository | None = None


class _MoreHome(Answer):
    pull: PageSeen = Field(alias="pullRequest")


class More(Answer):
    """The answer to `queries.MORE`."""

    repository: _MoreHome


class _WaysHome(_WithWays):
    pull: PullToMerge = Field(alias="pullRequest")


class Ways(Answer):
    """The answer to `queries.WAYS`."""

    repository: _WaysHome


class _Enqueued(Answer):
    entry: _Entry | None = Field(alias="mergeQueueEntry")


class Enqueued(Answer):
    """The answer to `queries.ENQUEUE`."""

    enqueued: _Enqueued | None = Field(alias="enqueuePullRequest")


class MergeDone(Answer):
    """The answer to a successful merge."""

    sha: str = Field(min_length=1, max_length=64)
    merged: Literal[True]
