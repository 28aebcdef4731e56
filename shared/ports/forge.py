"""The forge port: reading, updating and merging pull requests on GitHub, GitLab and their self-hosted variants.

Repositories are compared by the id that the forge gives them (as text), because names change: a renamed or moved repository keeps
its id. Branches are names without `refs/heads/`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from shared.domain.forge_errors import ForgeErrorKind, Refusal
from shared.domain.quoting import cleaned


@dataclass(frozen=True, slots=True)
class ForgeError:
    """Why a forge call returned no result.

    - `no_token`, `unrecognized_url`, `host_mismatch`: nothing was sent; the configuration or the URL must be corrected. `no_token`
      also if the platform's token does not serve this town and repository.
    - `http`: the forge answered with an error, `http_status`.
    - `rate_limited`: the token may not be used before `retry_at` (set for this kind only). Nothing was merged.
    - `transient`: no answer, or a failure inside the forge. The pull request may have been merged.
    - `invalid_response`: the answer could not be understood. The pull request may have been merged.

    `secret` is the name of the token that was used or, for `no_token`, the first one that was looked for; `is_platform` says that
    it belongs to the deployment and not to the town. `host` and `repository` (`owner/name`) say where.
    """

    kind: ForgeErrorKind
    message: str
    http_status: int | None = None
    retry_at: datetime | None = None
    secret: str | None = None
    is_platform: bool = False
    host: str | None = None
    repository: str | None = None


COMMENTS_AT_MOST: Final = 20
"""The most comments that a look tells: an agent reads the others at the forge."""
COMMENT_LENGTH: Final = 1_000
"""The most characters of one comment."""
_ALL_COMMENTS_SIZE: Final = 16 * 1024
_NAME_LENGTH: Final = 300


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody says about a pull request. `thread` is the forge's id of the open thread to which it belongs."""

    text: str
    author: str | None = None
    file: str | None = None
    line: int | None = None
    thread: str | None = None


def comments_told(comments: Iterable[Comment]) -> tuple[Comment, ...]:
    """The first comments that say something, cleaned, each and together of bounded size: they become part of a town's image."""
    told: list[Comment] = []
    room = _ALL_COMMENTS_SIZE
    for each in map(_told, comments):
        room -= len(each.text.encode())
        if len(told) == COMMENTS_AT_MOST or room < 0:
            break
        told += [each] if each.text else []
    return tuple(told)


def _told(comment: Comment) -> Comment:
    text = cleaned(comment.text).strip()
    thread = comment.thread
    return Comment(
        text if len(text) <= COMMENT_LENGTH else f"{text[:COMMENT_LENGTH]} (cut)",
        author=None if comment.author is None else cleaned(comment.author)[:_NAME_LENGTH],
        file=None if comment.file is None else cleaned(comment.file)[:_NAME_LENGTH],
        line=comment.line,
        thread=thread if thread is not None and cleaned(thread)[:_NAME_LENGTH] == thread else None,
    )


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A review that requests changes: the newest opinion of its author."""

    id: str
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """The obstacles to the merge of a pull request (spec/actions.md section 5).

    Only the newest run of each check counts. `has_checks` says that the head has a check or status at all. The `required_` fields
    are about the checks that the base branch requires; `required_known` says whether they could be read, `required_pass` that there
    is one and all passed. With `checks_unreadable` the token may not read checks: then no field about checks means anything.
    `all_runs_counted` says that old runs could not be told from new ones, so that every run counts. `comments` are those of open
    threads and of reviews that request changes, as `comments_told` limits them.
    """

    has_unresolved_comments: bool = False
    has_failing_checks: bool = False
    has_unchecked_runs: bool = False
    all_checks_pass: bool = True
    awaiting_approval: bool = False
    changes_requested: bool = False
    review_decision: str | None = None
    merge_state_status: str | None = None
    checks_unreadable: bool = False
    all_runs_counted: bool = False
    has_checks: bool = True
    required_known: bool = False
    required_failing: bool = False
    required_pass: bool = False
    required_missing: tuple[str, ...] = ()
    change_requests: tuple[ChangeRequest, ...] = ()
    comments: tuple[Comment, ...] = ()


@dataclass(frozen=True, slots=True)
class RepositoryAt:
    """A repository as the forge knows it: its lasting id and its present name (`owner/name`)."""

    id: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Which pull request it is. `head_repository` is None if that repository was deleted, `author` if that account was."""

    head_repository: RepositoryAt | None
    head_branch: str
    base_repository: RepositoryAt
    base_branch: str
    author: str | None = None
    draft: bool = False


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request as the forge shows it.

    `head_sha` and `mergeable_state` are None if the forge does not report them; a `mergeable_state` that is still computed is
    `unknown`. `merge_sha` is set only for a merged pull request. `feedback` is None if the caller did not ask for it or it is not
    available: None never means that nothing prevents a merge.

    `rig_repository` and `upstream_repository` are what the rig's own addresses lead to now; None if they were not asked for.
    `rig_problem` says why the rig's address leads nowhere. `in_queue` says that it waits in a merge queue or for an automatic
    merge; `has_queue` that its base merges only through one. `is_behind` says that a strict base asks for an update.
    `head_parents` are the parents of the head commit. `may_bypass` says that the token may merge against the rules of the base.
    """

    state: Literal["open", "merged", "closed"]
    head_sha: str | None = None
    merge_sha: str | None = None
    mergeable_state: str | None = None
    feedback: Feedback | None = None
    identity: Identity | None = None
    rig_repository: RepositoryAt | None = None
    rig_problem: str | None = None
    upstream_repository: RepositoryAt | None = None
    has_queue: bool = False
    in_queue: bool = False
    queue_position: int | None = None
    is_behind: bool = False
    head_parents: tuple[str, ...] = ()
    may_bypass: bool = False
    secret: str | None = None
    is_platform: bool = False


@dataclass(frozen=True, slots=True)
class Merged:
    """The pull request is merged as commit `sha`, by this call or an earlier one."""

    sha: str


@dataclass(frozen=True, slots=True)
class Queued:
    """The pull request is in its merge queue, or the forge will merge it as soon as its checks allow it."""

    position: int | None = None


@dataclass(frozen=True, slots=True)
class NotMerged:
    """The forge refused to merge. `refusal` is the class of the reason; the caller keeps polling the pull request."""

    reason: str
    refusal: Refusal = "other"


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether a branch contains a merge. `contained` is None if nobody can tell; `sha` is the commit that proves it."""

    contained: bool | None
    sha: str | None = None
    says: str = ""


@dataclass(frozen=True, slots=True)
class BranchUpdate:
    """The result of an update: `updated` (`head` is the new head, None if the forge works on it), `current` or `refused`."""

    outcome: Literal["updated", "current", "refused"]
    head: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The forge did what it was asked, or it was already so."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The town and rig on whose behalf a forge is called; they select the token.

    `host` is the host of the rig's repository. A pull request on another host is refused with `host_mismatch`. If the host
    cannot be derived from the rig's configuration, `host` is None and this check is skipped. `repository` and `upstream` are the
    `owner/name` of the rig's addresses: `pull_request` says which ids they have.
    """

    town_id: str
    rig_id: str | None = None
    host: str | None = None
    repository: str | None = None
    upstream: str | None = None


@dataclass(frozen=True, slots=True)
class MergeClaim:
    """What is claimed to be in `target_branch` of the repository at `git_url`: see VerifyOrder."""

    git_url: str
    target_branch: str
    branch: str
    head: str | None = None
    base: str | None = None
    merge_commit: str | None = None


class MergeProver(Protocol):
    """Checks whether a merge that was reported has happened."""

    def proof(self, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:
        """Look once; changes nothing. `Proof(contained=None)` means that nothing can check it here, or that git cannot tell."""
        ...


class SourceForge(MergeProver, Protocol):
    """Reads, updates and merges pull requests. No method raises: every failure is a ForgeError.

    One call takes at most 30 seconds (EFFECT_TIMEOUT of spec/README.md section 3). An adapter neither waits for a rate limit to
    end nor retries: the rules of the town decide when to call again.
    """

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        """Read one pull request. Changes nothing, so it may be repeated at any time."""
        ...

    def merge(
        self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str
    ) -> Merged | Queued | NotMerged | ForgeError:
        """Merge the pull request if its head is still `head_sha` (None: at any head); enqueue it if its base has a merge queue.

        The pair of URL and `head_sha` is the idempotency key: a head can be merged only once, and a pull request that is
        already merged is answered with Merged, one that is already queued with Queued. `effect_id` identifies the attempt in
        logs. After a ForgeError of kind `transient` or `invalid_response` the caller reads the pull request before it tries again.
        """
        ...

    def update_branch(self, asker: Asker, pr_url: str, *, head_sha: str) -> BranchUpdate | ForgeError:
        """Bring the branch up to date with its base, if its head is still `head_sha`."""
        ...

    def dequeue(self, asker: Asker, pr_url: str) -> Accepted | ForgeError:
        """Take the pull request out of the merge queue and cancel an automatic merge. Accepted also if there was none."""
        ...

    def request_review(self, asker: Asker, pr_url: str, *, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
        """Ask these people to review again."""
        ...
