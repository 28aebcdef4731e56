"""The parts of GitLab's answers that matter here, and what they mean in the terms that polls use.

`detailed_merge_status` is one word that says why GitLab does not merge a merge request. A word that is unknown here, from a
later GitLab, is reported as `blocked`, which counts as free of conflicts.
"""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.ports.forge import Feedback, PullRequest

_STILL_COMPUTED: Final = frozenset({"unchecked", "checking", "preparing", "approvals_syncing"})
_IN_OUR_WORDS: Final = {
    "mergeable": "clean",
    "conflict": "dirty",
    "broken_status": "dirty",
    "need_rebase": "behind",
    "draft_status": "draft",
}
_FAILED: Final = frozenset({"failed", "canceled", "canceling"})
_PASSED: Final = frozenset({"success", "skipped"})


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Pipeline(_Answer):
    status: str


class MergeRequest(_Answer):
    """A merge request."""

    state: Literal["opened", "closed", "locked", "merged"]
    sha: str | None
    merge_commit_sha: str | None = None
    squash_commit_sha: str | None = None
    merged_at: str | None = None
    detailed_merge_status: str = "unchecked"
    has_conflicts: bool = False
    draft: bool = False
    head_pipeline: _Pipeline | None = None

    @property
    def state_of_it(self) -> Literal["open", "merged", "closed"]:
        """`merged` if any field says so; `locked` is the state while GitLab merges."""
        if self.state == "merged" or self.merged_at is not None:
            return "merged"
        return "closed" if self.state == "closed" else "open"

    @property
    def merge_sha(self) -> str | None:
        """The commit that the merge produced: a merge commit, a squashed commit or, after a fast-forward, the head itself."""
        return self.merge_commit_sha or self.squash_commit_sha or self.sha

    @property
    def mergeable_state(self) -> str:
        """The state in GitHub's terms."""
        if self.state == "locked" or self.detailed_merge_status in _STILL_COMPUTED:
            return "unknown"
        if self.has_conflicts:
            return "dirty"
        return _IN_OUR_WORDS.get(self.detailed_merge_status, "blocked")

    def seen(self, feedback: Feedback | None) -> PullRequest:
        """The merge request as the port describes it."""
        state = self.state_of_it
        return PullRequest(
            state,
            head_sha=self.sha,
            merge_sha=self.merge_sha if state == "merged" else None,
            mergeable_state=self.mergeable_state,
            feedback=feedback,
        )


class _Note(_Answer):
    resolvable: bool = False
    resolved: bool = False


class Discussion(_Answer):
    """A thread."""

    notes: list[_Note]

    @property
    def is_open(self) -> bool:
        """Whether a note of it still has to be resolved."""
        return any(note.resolvable and not note.resolved for note in self.notes)


class Approvals(_Answer):
    """Which approvals are missing."""

    approved: bool = True
    approvals_left: int = Field(default=0)


class GitLabMerge(_Answer):
    """The answer to a successful merge."""

    state: Literal["merged"]
    sha: str | None = None
    merge_commit_sha: str | None = None
    squash_commit_sha: str | None = None


def feedback_of(
    request: MergeRequest, discussions: Sequence[Discussion], approvals: Approvals, *, unread: bool
) -> Feedback:
    """The obstacles to the merge of a merge request. Without a pipeline the checks pass; a pipeline that waits does not pass."""
    status = None if request.head_pipeline is None else request.head_pipeline.status
    word = request.detailed_merge_status
    changes_requested = word == "requested_changes"
    awaiting = approvals.approvals_left > 0 or not approvals.approved or word == "not_approved" or request.draft
    if changes_requested:
        decision = "CHANGES_REQUESTED"
    elif awaiting:
        decision = "REVIEW_REQUIRED"
    else:
        decision = "APPROVED"
    return Feedback(
        has_unresolved_comments=any(each.is_open for each in discussions) or word == "discussions_not_resolved",
        has_failing_checks=status in _FAILED,
        has_unchecked_runs=unread,
        all_checks_pass=not unread and (status is None or status in _PASSED) and word != "ci_must_pass",
        awaiting_approval=awaiting,
        changes_requested=changes_requested,
        review_decision=decision,
        merge_state_status=word.upper(),
    )
