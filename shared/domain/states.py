"""The vocabulary of a town (spec/README.md section 2, spec/data-model.md section 1).

A *bead* is a unit of work of any type; an *agent* is a bead with a row of agent metadata. An agent's *hook* is the one
bead it works on; a bead's *assignee* is its agent. *Terminal* means closed or failed, *live* everything else. A *live
MR* is a merge request that is open or in progress.
"""

from enum import StrEnum
from typing import Final, Literal


class BeadType(StrEnum):
    """The kind of a bead."""

    ISSUE = "issue"
    MESSAGE = "message"
    ESCALATION = "escalation"
    MERGE_REQUEST = "merge_request"
    CONVOY = "convoy"
    MOLECULE = "molecule"
    AGENT = "agent"


class BeadStatus(StrEnum):
    """The status of a bead."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    IN_REVIEW = "in_review"
    CLOSED = "closed"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        """Whether no action can change it any more. Only the event bead_reopened can, and only from failed."""
        return self in (BeadStatus.CLOSED, BeadStatus.FAILED)


class Role(StrEnum):
    """The role of an agent."""

    POLECAT = "polecat"
    REFINERY = "refinery"
    MAYOR = "mayor"


class AgentStatus(StrEnum):
    """The status of an agent."""

    IDLE = "idle"
    WORKING = "working"
    WAITING = "waiting"
    STALLED = "stalled"
    DEAD = "dead"

    @property
    def busy(self) -> bool:
        """Whether the agent is at work on its hook: working, or stalled with a process that may still run."""
        return self in (AgentStatus.WORKING, AgentStatus.STALLED)

    @property
    def resting(self) -> bool:
        """Whether the agent does nothing: idle or dead."""
        return self in (AgentStatus.IDLE, AgentStatus.DEAD)

    @property
    def has_process(self) -> bool:
        """Whether the agent should have a process: busy, or waiting, as only the mayor does."""
        return self.busy or self is AgentStatus.WAITING


class DispatchOutcome(StrEnum):
    """The outcome of an agent's newest dispatch."""

    PENDING = "pending"
    STARTED = "started"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    ALIVE = "alive"
    LOST = "lost"


class Priority(StrEnum):
    """The priority of a bead and the severity of an escalation, in ascending order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class MergeMode(StrEnum):
    """How a convoy lands."""

    REVIEW_THEN_LAND = "review-then-land"
    REVIEW_AND_MERGE = "review-and-merge"


class EffectState(StrEnum):
    """The state of an effect in the outbox."""

    PENDING = "pending"
    CLAIMED = "claimed"
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"


class EffectKind(StrEnum):
    """The calls to external systems that a town can request (spec/tick.md section 5)."""

    DISPATCH_AGENT = "dispatch_agent"
    STOP_AGENT = "stop_agent"
    POLL_PR = "poll_pr"
    MERGE_PR = "merge_pr"
    VERIFY_MERGE = "verify_merge"
    UPDATE_BRANCH = "update_branch"
    DEQUEUE = "dequeue"
    REQUEST_REVIEW = "request_review"
    SEND_NUDGE = "send_nudge"
    NOTIFY_MAYOR = "notify_mayor"
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - the name of an effect
    STOP_CONTAINER = "stop_container"
    UPDATE_MODEL = "update_model"
    SEND_NOTICE = "send_notice"


class EventSource(StrEnum):
    """The origin of an event in the inbox. The receiver sets it, never the producer."""

    INGEST = "ingest"
    OPERATOR = "operator"
    EFFECT = "effect"
    OBSERVATION = "observation"
    DERIVED = "derived"


Scope = Literal["agent", "coordinator", "container", "operator"]
"""The holder of a town token. A coordinator is the mayor or a triage polecat."""
SCOPES: Final[tuple[Scope, ...]] = ("agent", "coordinator", "container", "operator")


class Label:
    """The labels to which rules and events give a meaning."""

    HELD = "gt:held"
    TRIAGE_REQUEST = "gt:triage-request"
    TRIAGE = "gt:triage"
    REWORK = "gt:rework"
    PR_FEEDBACK = "gt:pr-feedback"
    PR_CONFLICT = "gt:pr-conflict"
    PR_FIXUP = "gt:pr-fixup"
    MERGE_REQUEST = "gt:merge-request"
    BABYSIT = "gt:babysit"


SYSTEM = "system"
PATROL = "patrol"
