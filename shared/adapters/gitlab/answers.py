"""The parts of GitLab's answers that matter here, and what they mean in the terms of the port.

`detailedMergeStatus` is one word that says why GitLab does not merge a merge request: the first reason of several. A word that is
unknown here, from a later GitLab, is reported as `blocked`, which counts as free of conflicts.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.domain.forge_errors import Refusal
from shared.ports.forge import Comment, Feedback, Identity, PullRequest, RepositoryAt

_STILL_COMPUTED: Final = frozenset({"unchecked", "checking", "preparing", "approvals_syncing"})
_IN_OUR_WORDS: Final = {
    "mergeable": "clean",
    "conflict": "dirty",
    "broken_status": "dirty",
    "need_rebase": "behind",
    "draft_status": "draft",
}
CHECKS_MISSING: Final = frozenset(
    {"ci_must_pass", "ci_still_running", "status_checks_must_pass", "external_status_checks"}
)
APPROVAL_MISSING: Final = frozenset({"not_approved", "code_owners_approval"})
_TRAINS: Final = frozenset(
    {"merge_train", "add_to_merge_train_when_checks_pass", "add_to_merge_train_when_pipeline_succeeds"}
)
_REFUSALS: Final[Mapping[str, Refusal]] = {
    "conflict": "conflict",
    "broken_status": "conflict",
    "need_rebase": "behind",
    "draft_status": "draft",
    "not_open": "closed",
    "requested_changes": "review",
    "discussions_not_resolved": "review",
    **dict.fromkeys(APPROVAL_MISSING, "review"),
    **dict.fromkeys(CHECKS_MISSING, "checks"),
    **dict.fromkeys(_STILL_COMPUTED, "base_moved"),
}


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Named(_Answer):
    """A project that was asked for by its name."""

    gid: str = Field(alias="id", pattern=r"/[0-9]{1,19}$")
    name: str = Field(alias="fullPath", max_length=1000)

    @property
    def at(self) -> RepositoryAt:
        """The project as the port describes it."""
        return RepositoryAt(self.gid.rsplit("/", 1)[1], self.name)


class Project(_Answer):
    """A project as REST shows it."""

    id: int
    path_with_namespace: str = Field(max_length=1000)
    archived: bool = False
    merge_trains_enabled: bool = False

    @property
    def at(self) -> RepositoryAt:
        """The project as the port describes it."""
        return RepositoryAt(str(self.id), self.path_with_namespace)


class _Path(_Answer):
    name: str = Field(alias="fullPath")


class _Author(_Answer):
    username: str


class _Pipeline(_Answer):
    status: str


class _Interaction(_Answer):
    state: str | None = Field(alias="reviewState", default=None)


class Reviewer(_Answer):
    """A person who was asked for a review."""

    gid: str = Field(alias="id")
    username: str
    interaction: _Interaction | None = Field(alias="mergeRequestInteraction", default=None)

    @property
    def requests_changes(self) -> bool:
        """Whether changes are the last thing that this person said."""
        return self.interaction is not None and (self.interaction.state or "").lower() == "requested_changes"


class _User(_Answer):
    id: int
    username: str


class Review(_Answer):
    """A reviewer as REST shows it."""

    user: _User
    state: str = "unreviewed"


class _PageInfo(_Answer):
    has_next: bool = Field(alias="hasNextPage")


class _Reviewers(_Answer):
    nodes: list[Reviewer]
    page: _PageInfo = Field(alias="pageInfo")


class MergeRequest(_Answer):
    """A merge request as GraphQL shows it."""

    state: Literal["opened", "closed", "locked", "merged"]
    sha: str | None = Field(alias="diffHeadSha", max_length=64)
    source_branch: str = Field(alias="sourceBranch", max_length=1000)
    source_project_id: int | None = Field(alias="sourceProjectId")
    source_project: _Path | None = Field(alias="sourceProject", default=None)
    target_branch: str = Field(alias="targetBranch", max_length=1000)
    target_project_id: int = Field(alias="targetProjectId")
    author: _Author | None = None
    draft: bool
    updated_at: str = Field(alias="updatedAt")
    merged_at: str | None = Field(alias="mergedAt", default=None)
    merge_commit_sha: str | None = Field(alias="mergeCommitSha", default=None, max_length=64)
    merge_error: str | None = Field(alias="mergeError", default=None)
    detailed_merge_status: str | None = Field(alias="detailedMergeStatus", default=None)
    conflicts: bool
    should_be_rebased: bool = Field(alias="shouldBeRebased")
    rebase_in_progress: bool = Field(alias="rebaseInProgress")
    diverged: bool = Field(alias="divergedFromTargetBranch")
    auto_merge_enabled: bool = Field(alias="autoMergeEnabled")
    auto_merge_strategy: str | None = Field(alias="autoMergeStrategy", default=None)
    auto_merge_strategies: list[str] | None = Field(alias="availableAutoMergeStrategies", default=None)
    has_ci: bool = Field(alias="hasCi")
    head_pipeline: _Pipeline | None = Field(alias="headPipeline")
    resolvable: int | None = Field(alias="resolvableDiscussionsCount", default=None)
    resolved: int | None = Field(alias="resolvedDiscussionsCount", default=None)
    reviewers: _Reviewers | None = None

    @property
    def state_of_it(self) -> Literal["open", "merged", "closed"]:
        """`merged` if any field says so; `locked` is the state while GitLab merges."""
        if self.state == "merged" or self.merged_at is not None:
            return "merged"
        return "closed" if self.state == "closed" else "open"

    @property
    def word(self) -> str:
        """Why GitLab does not merge it."""
        return (self.detailed_merge_status or "unchecked").lower()

    @property
    def mergeable_state(self) -> str:
        """The state in GitHub's terms."""
        if self.state == "locked" or self.rebase_in_progress or self.word in _STILL_COMPUTED:
            return "unknown"
        if self.conflicts:
            return "dirty"
        return _IN_OUR_WORDS.get(self.word, "blocked")

    @property
    def refusal(self) -> Refusal:
        """The class of the reason why it cannot be merged now."""
        return "conflict" if self.conflicts else _REFUSALS.get(self.word, "other")

    @property
    def has_train(self) -> bool:
        """Whether its target branch merges by a train."""
        return not _TRAINS.isdisjoint([*(self.auto_merge_strategies or ()), self.auto_merge_strategy or ""])

    @property
    def wants_changes(self) -> bool:
        """Whether somebody requests changes: a reviewer, or, where that blocks the merge, anybody."""
        return self.word == "requested_changes" or any(each.requests_changes for each in self.people)

    @property
    def people(self) -> list[Reviewer]:
        """Who was asked for a review."""
        return [] if self.reviewers is None else self.reviewers.nodes

    @property
    def has_more_reviewers(self) -> bool:
        """Whether the query did not show everybody who was asked for a review."""
        return self.reviewers is not None and self.reviewers.page.has_next

    def reviewed_by(self, reviews: Sequence[Review]) -> "MergeRequest":
        """The merge request with these reviewers."""
        nodes = [
            Reviewer(
                id=f"gid://gitlab/User/{each.user.id}",
                username=each.user.username,
                mergeRequestInteraction=_Interaction(reviewState=each.state),
            )
            for each in reviews
        ]
        return self.model_copy(update={"reviewers": _Reviewers(nodes=nodes, pageInfo=_PageInfo(hasNextPage=False))})

    @property
    def identity(self) -> Identity:
        """Which merge request it is."""
        head = None if self.source_project_id is None else str(self.source_project_id)
        name = None if self.source_project is None else self.source_project.name
        return Identity(
            head_repository=None if head is None else RepositoryAt(head, name),
            head_branch=self.source_branch,
            base_repository=RepositoryAt(str(self.target_project_id)),
            base_branch=self.target_branch,
            author=None if self.author is None else self.author.username,
            draft=self.draft,
        )

    def seen(self, feedback: Feedback | None, *, merge_sha: str | None = None) -> PullRequest:
        """The merge request as the port describes it, without what was asked about other projects."""
        is_open = self.state_of_it == "open"
        return PullRequest(
            self.state_of_it,
            head_sha=self.sha,
            merge_sha=merge_sha,
            mergeable_state=self.mergeable_state,
            feedback=feedback,
            identity=self.identity,
            has_queue=is_open and self.has_train,
            in_queue=is_open and self.auto_merge_enabled,
            is_behind=is_open and (self.should_be_rebased or self.word == "need_rebase"),
        )


class _Permissions(_Answer):
    read_commit_status: bool = Field(alias="readCommitStatus")


class WithProject(Named):
    """A project with the merge request that was asked for."""

    archived: bool | None = None
    needs_pipeline: bool | None = Field(alias="onlyAllowMergeIfPipelineSucceeds", default=None)
    permissions: _Permissions = Field(alias="userPermissions")
    merge_request: MergeRequest | None = Field(alias="mergeRequest")


class GraphQlError(_Answer):
    """An error in an answer of GraphQL, which may stand beside data."""

    message: str = ""
    path: list[str | int] | None = None
    extensions: dict[str, object] | None = None


class Envelope(_Answer):
    """An answer of GraphQL."""

    data: dict[str, object] | None = None
    errors: list[GraphQlError] | None = None


class Merging(_Answer):
    """A merge request as REST shows it: after a merge, during a rebase, and when nothing else says what a merge left behind."""

    state: Literal["opened", "closed", "locked", "merged"]
    sha: str | None = Field(default=None, max_length=64)
    merge_commit_sha: str | None = Field(default=None, max_length=64)
    squash_commit_sha: str | None = Field(default=None, max_length=64)
    merge_error: str | None = None
    rebase_in_progress: bool = False

    @property
    def merge_sha(self) -> str | None:
        """The commit that the merge produced: a merge commit, a squashed commit or, after a fast-forward, the head itself."""
        return self.merge_commit_sha or self.squash_commit_sha or self.sha


class _Writer(_Answer):
    username: str


class Note(_Answer):
    """A note of a merge request; `system` is one that GitLab writes about what people do."""

    id: int
    body: str
    author: _Writer | None = None
    system: bool = False


class _Position(_Answer):
    new_path: str | None = None
    old_path: str | None = None
    new_line: int | None = None
    old_line: int | None = None


class _DiscussionNote(Note):
    resolvable: bool = False
    resolved: bool = False
    position: _Position | None = None


class Discussion(_Answer):
    """A thread of a merge request, or a single note."""

    id: str
    notes: list[_DiscussionNote]

    @property
    def said(self) -> list[Comment]:
        """The comments of an open thread; none of a resolved one, or of one that cannot be resolved."""
        is_open = any(note.resolvable and not note.resolved for note in self.notes)
        return [self._comment(note) for note in self.notes if is_open and not note.system]

    def _comment(self, note: _DiscussionNote) -> Comment:
        at = note.position or _Position()
        return Comment(
            note.body,
            author=None if note.author is None else note.author.username,
            file=at.new_path or at.old_path,
            line=at.old_line if at.new_line is None else at.new_line,
            thread=self.id,
        )


class _OfCar(_Answer):
    iid: int


class Car(_Answer):
    """A merge request in a train."""

    merge_request: _OfCar
