"""The forge port: where pull requests live."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from shared.domain.forge_errors import ForgeErrorKind


@dataclass(frozen=True, slots=True)
class ForgeError:
    """Why a forge call gave nothing. `retry_at` only for rate_limited."""

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
    """A pull request as the forge shows it. `merge_sha` only when merged; `feedback` only if it was wanted."""

    state: Literal["open", "merged", "closed"]
    head_sha: str | None = None
    merge_sha: str | None = None
    mergeable_state: str | None = None
    feedback: Feedback | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """The forge merged the pull request as this commit."""

    sha: str


@dataclass(frozen=True, slots=True)
class NotMerged:
    """The forge answered that it will not merge (405, 409); polling goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf a forge is asked. `host` is where the rig's repository is, None where nobody can tell."""

    town_id: str
    rig_id: str | None = None
    host: str | None = None


class SourceForge(Protocol):
    """Where pull requests live. No method raises for an expected answer, waits out a limit or tries again by itself."""

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        """Read one pull request."""
        ...

    def merge(
        self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str
    ) -> Merged | NotMerged | ForgeError:
        """Merge exactly `head_sha`; one that is merged already is Merged."""
        ...
