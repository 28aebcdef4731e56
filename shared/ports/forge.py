"""The forge port: reading and merging pull requests on GitHub, GitLab and their self-hosted variants."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from shared.domain.forge_errors import ForgeErrorKind


@dataclass(frozen=True, slots=True)
class ForgeError:
    """Why a forge call returned no result.

    - `no_token`, `unrecognized_url`, `host_mismatch`: nothing was sent; the configuration or the URL must be corrected.
    - `http`: the forge answered with an error, `http_status`.
    - `rate_limited`: the token may not be used before `retry_at` (set for this kind only). Nothing was merged.
    - `transient`: no answer, or a failure inside the forge. The pull request may have been merged.
    - `invalid_response`: the answer could not be understood. The pull request may have been merged.
    """

    kind: ForgeErrorKind
    message: str
    http_status: int | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """The obstacles to the merge of a pull request (spec/actions.md section 5)."""

    has_unresolved_comments: bool = False
    has_failing_checks: bool = False
    has_unchecked_runs: bool = False
    all_checks_pass: bool = True
    awaiting_approval: bool = False
    changes_requested: bool = False
    review_decision: str | None = None
    merge_state_status: str | None = None


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request as the forge shows it.

    `head_sha` and `mergeable_state` are None if the forge does not report them. `merge_sha` is set only for a merged pull
    request. `feedback` is None if the caller did not ask for it or it is not available: None never means that nothing prevents
    a merge.
    """

    state: Literal["open", "merged", "closed"]
    head_sha: str | None = None
    merge_sha: str | None = None
    mergeable_state: str | None = None
    feedback: Feedback | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """The pull request is merged as commit `sha`, by this call or an earlier one."""

    sha: str


@dataclass(frozen=True, slots=True)
class NotMerged:
    """The forge refused to merge (HTTP 405 or 409; GitLab also 406 or 422). The caller keeps polling the pull request."""

    reason: str


@dataclass(frozen=True, slots=True)
class Asker:
    """The town and rig on whose behalf a forge is called; they select the token.

    `host` is the host of the rig's repository. A pull request on another host is refused with `host_mismatch`. If the host
    cannot be derived from the rig's configuration, `host` is None and this check is skipped.
    """

    town_id: str
    rig_id: str | None = None
    host: str | None = None


class SourceForge(Protocol):
    """Reads and merges pull requests. No method raises: every failure is a ForgeError.

    One call takes at most 30 seconds (EFFECT_TIMEOUT of spec/README.md section 3). An adapter neither waits for a rate limit to
    end nor retries: the rules of the town decide when to call again.
    """

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        """Read one pull request. Changes nothing, so it may be repeated at any time."""
        ...

    def merge(
        self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str
    ) -> Merged | NotMerged | ForgeError:
        """Merge the pull request if its head is still `head_sha` (None: at any head).

        The pair of URL and `head_sha` is the idempotency key: a head can be merged only once, and a pull request that is
        already merged is answered with Merged. `effect_id` identifies the attempt in logs. After a ForgeError of kind
        `transient` or `invalid_response` the caller reads the pull request before it tries again.
        """
        ...
