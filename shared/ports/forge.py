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
    - `transient`: no answer, or a failure inside the forge. A merge may have been carried out.
    - `invalid_response`: the answer could not be understood. A merge may have been carried out.
    """

    kind: ForgeErrorKind
    message: str
    http_status: int | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What stands between a pull request and its merge (spec/actions.md section 5)."""

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

    `head_sha` and `mergeable_state` are None where the forge does not say. `merge_sha` is set only for a merged pull
    request. `feedback` is None if the caller did not ask for it or the forge did not provide it: None never means that
    nothing stands in the way of a merge.
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
    """The forge refused to merge (HTTP 405 or 409). The caller keeps polling the pull request."""

    reason: str


@dataclass(frozen=True, slots=True)
class Asker:
    """The town and rig on whose behalf a forge is called; they select the token.

    `host` is the host of the rig's repository. A pull request on another host is refused with `host_mismatch`. None means
    that the host cannot be derived from the rig's configuration; then this check is skipped.
    """

    town_id: str
    rig_id: str | None = None
    host: str | None = None


class SourceForge(Protocol):
    """Reads and merges pull requests. No method raises: every failure is a ForgeError.

    One call takes at most 30 seconds (EFFECT_TIMEOUT of spec/README.md section 3). An adapter does not wait for a rate
    limit to end and does not retry: the rules of the town decide when to call again.
    """

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        """Read one pull request. Changes nothing, so it may be repeated at any time."""
        ...

    def merge(
        self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str
    ) -> Merged | NotMerged | ForgeError:
        """Merge the pull request if its head is still `head_sha` (None: whatever its head is).

        The pair of URL and `head_sha` is the idempotency key: a head can be merged only once, and a pull request that is
        already merged is answered with Merged. `effect_id` identifies the attempt in logs. After a ForgeError of kind
        `transient` or `invalid_response` the caller reads the pull request before it tries again.
        """
        ...
