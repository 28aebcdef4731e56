"""The runtime port: where agent processes live."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from shared.domain.processes import ProcessStatus


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
