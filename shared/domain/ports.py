"""The outside world as the reconciler sees it. Each port has a real adapter and an honest fake with state.

Answers that are expected are values; only what nobody can act upon is an exception (`shared.domain.errors`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol


class Clock(Protocol):
    """The wall clock. Only entry points, the worker's edge and adapters read it."""

    def now(self) -> datetime:
        """The present time, aware, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock."""
        ...


@dataclass(frozen=True, slots=True)
class Wake:
    """A wish that somebody looks at a town, with the due markers that led to it, as whole seconds.

    `repeat_key` names the reason: of several wakes with one key within five minutes only the first is delivered.
    `watched`: its sender looks at due markers again within seconds, so the worker need not wait for what follows soon.
    """

    town_id: str
    due: tuple[datetime, ...]
    repeat_key: str
    watched: bool = False


class Queue(Protocol):
    """Wakes on their way to workers: in order and one at a time for each town, delivered at least once.

    A wake is a hint and never the truth. Who loses one loses time: the due marker stays until a tick has dealt with it.
    """

    def send(self, wakes: Sequence[Wake]) -> tuple[Wake, ...]:
        """Hand them over; returns those that were not taken. Raises QueueUnavailable, AccessDenied."""
        ...

    def put_back(self, receipts: Mapping[str, timedelta]) -> None:
        """Let delivered wakes, by receipt, come again after a while, before all later ones of their towns.

        Without that they come again when the queue gives their worker up. Raises QueueUnavailable, AccessDenied.
        """
        ...


ProcessState = Literal[
    "starting", "running", "stopping", "stopped", "exited", "failed", "error", "not_found", "unknown"
]


@dataclass(frozen=True, slots=True)
class Started:
    """The agent process was started, or was running already under the same effect id."""

    process_id: str


RejectKind = Literal["refused", "no_capacity", "bad_configuration"]


@dataclass(frozen=True, slots=True)
class StartRejected:
    """Nothing was started. `reason` is a short text for people, never empty; `kind` says who can help: nobody need (it is
    `refused`), time (`no_capacity`), or whoever configured it.
    """

    reason: str
    kind: RejectKind = "refused"


@dataclass(frozen=True, slots=True)
class StartUnknown:
    """The start was sent and nobody knows what became of it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The call did what it was asked to do, or found it done."""


@dataclass(frozen=True, slots=True)
class NotDone:
    """The call failed. `passing` says that the same call may succeed later."""

    error: str
    passing: bool


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """What the runtime knows of an agent's newest process."""

    status: ProcessState
    exit_reason: str | None = None
    generation: int | None = None


class AgentRuntime(Protocol):
    """Where agent processes live. No method raises for an expected answer; each keeps to its own time budget.

    `order` of start is the start context of spec/actions.md section 3 (the outbox payload), with keys town_id, agent_id,
    generation, role, bead, prompt_kind and so on. `effect_id` is the idempotency key of every attempt.
    """

    def start(self, order: Mapping[str, Any], *, effect_id: str) -> Started | StartRejected | StartUnknown:
        """Start one agent process; the same effect id again gives the first answer."""
        ...

    def stop(self, town_id: str, agent_id: str, *, generation: int, effect_id: str) -> Done | NotDone:
        """Stop that generation of the agent and no other; "not running" is Done."""
        ...

    def status(self, town_id: str, agent_id: str) -> ProcessStatus:
        """The newest process of the agent; `not_found` if there never was one."""
        ...

    def message(self, town_id: str, agent_id: str, *, message_id: str, text: str, mode: str) -> Done | NotDone:
        """Give the running agent a text; a message id that it has seen is Done."""
        ...

    def update_model(self, order: Mapping[str, Any], *, effect_id: str) -> Done | NotDone:
        """Change the model of a running agent; `order` carries town_id, agent_id, model, organization_id."""
        ...

    def refresh_token(self, town_id: str, *, effect_id: str) -> Done | NotDone:
        """Give the town's container a fresh token."""
        ...

    def stop_container(self, town_id: str, *, effect_id: str) -> Done | NotDone:
        """Stop the town's idle container."""
        ...

    def container_state(self, town_id: str) -> str:
        """running, healthy, starting, stopped, ...; `none` where a town has no container, `unmanaged` where somebody else
        starts and stops it, `unknown` where nobody answered.
        """
        ...


ForgeErrorKind = Literal[
    "no_token", "unrecognized_url", "host_mismatch", "http", "rate_limited", "transient", "invalid_response"
]


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


class Secret:
    """A text that shows itself to nobody who does not ask for it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one request that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"


class Secrets(Protocol):
    """Where tokens are kept, by names like `towns/t1/rigs/r1/forges/github.com`."""

    def get(self, name: str) -> Secret | None:
        """The secret of that name, or None if there is none. Raises SecretsUnavailable and AccessDenied."""
        ...


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person must hear of. `fingerprint` groups repeats; `tags` and `extra` never hold secrets."""

    kind: str
    message: str
    fingerprint: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


class Alerts(Protocol):
    """Where alerts go after the commit; never raises, never delays a tick noticeably."""

    def raise_all(self, alerts: Sequence[Alert]) -> None:
        """Hand over the alerts of one tick."""
        ...


class Metrics(Protocol):
    """Where the figures of a tick go; never raises."""

    def tick_ran(self, report: Any) -> None:
        """One committed, quiet or lost tick (`shared.domain.report.RunReport`)."""
        ...
