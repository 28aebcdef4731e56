"""The answer of a forge about a pull request, which the results of polls and merges contain."""

from datetime import datetime
from typing import Annotated, Protocol

from pydantic import Field

from shared.domain.forge_errors import ForgeErrorKind
from shared.domain.green import Shown
from shared.events.fields import FreeText, Integer, Part, Texts, Time


class RepositorySeen(Part):
    """A repository as the forge knows it."""

    id: FreeText
    name: FreeText | None = None


class IdentitySeen(Part):
    """Which pull request it is: see `shared.ports.forge.Identity`."""

    head_repository: RepositorySeen | None = None
    head_branch: FreeText
    base_repository: RepositorySeen
    base_branch: FreeText
    author: FreeText | None = None
    draft: bool = False


class ChangeRequestSeen(Part):
    """A review that requests changes."""

    id: FreeText
    author: FreeText | None = None


class CommentSeen(Part):
    """What somebody says about a pull request: see `shared.ports.forge.Comment`."""

    text: FreeText
    author: FreeText | None = None
    file: FreeText | None = None
    line: Integer | None = None
    thread: FreeText | None = None

    def noted(self) -> dict[str, object]:
        """The comment as a bead keeps it."""
        return self.model_dump(exclude_none=True)


Comments = Annotated[tuple[CommentSeen, ...], Field(strict=False, max_length=50)]


class FeedbackSeen(Part):
    """The state of a pull request's comments, checks and approval, as the forge reports it."""

    has_unresolved_comments: bool
    has_failing_checks: bool
    has_unchecked_runs: bool
    all_checks_pass: bool
    awaiting_approval: bool
    changes_requested: bool
    review_decision: FreeText | None = None
    merge_state_status: FreeText | None = None
    checks_unreadable: bool = False
    all_runs_counted: bool = False
    has_checks: bool = True
    required_known: bool = False
    required_failing: bool = False
    required_pass: bool = False
    required_missing: Texts = ()
    change_requests: Annotated[tuple[ChangeRequestSeen, ...], Field(strict=False)] = ()
    comments: Comments = ()


class OpenSeen(Shown, Protocol):
    """What a poll shows of an open pull request."""

    @property
    def feedback(self) -> FeedbackSeen | None: ...  # noqa: D102
    @property
    def identity(self) -> IdentitySeen | None: ...  # noqa: D102
    @property
    def in_queue(self) -> bool: ...  # noqa: D102
    @property
    def queue_position(self) -> int | None: ...  # noqa: D102


class ForgeProblem(Part):
    """Why a call to a forge failed."""

    kind: ForgeErrorKind
    http_status: Integer | None = None
    message: FreeText = ""
    retry_at: Time | None = None
    secret: FreeText | None = None
    is_platform: bool = False
    host: FreeText | None = None
    repository: FreeText | None = None

    @property
    def effective_kind(self) -> ForgeErrorKind:
        """The kind that decides what happens: 5xx is transient; 429 and 403 are rate limits only with a `retry_at`."""
        status = self.http_status if self.kind == "http" and self.http_status is not None else 0
        limited = self.kind == "rate_limited" or status in (403, 429)
        if limited and self.retry_at is not None:
            return "rate_limited"
        if self.kind == "rate_limited" or status == 429 or status >= 500:
            return "transient"
        return self.kind

    @property
    def wait_until(self) -> datetime | None:
        """When the rate limit ends, if this is one."""
        return self.retry_at if self.effective_kind == "rate_limited" else None
