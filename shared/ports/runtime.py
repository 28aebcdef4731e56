"""The runtime port: starting, observing and stopping agent processes and the containers that they run in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from shared.domain.orders import ModelOrder, StartOrder, TokenOrder
from shared.domain.processes import ProcessStatus


@dataclass(frozen=True, slots=True)
class Started:
    """The agent process was started, by this call or by an earlier one with the same effect id."""

    process_id: str


RejectKind = Literal["refused", "no_capacity", "bad_configuration", "no_agent_program"]


@dataclass(frozen=True, slots=True)
class StartRejected:
    """Nothing was started, and nothing of this attempt will start later.

    `reason` is a short text for people, never empty. `kind` says what the remedy is:

    - `refused`: none is needed (the order is superseded, for example);
    - `no_capacity`: a later attempt may succeed;
    - `bad_configuration`: an operator must correct the configuration of the runtime;
    - `no_agent_program`: no program, or no runtime, is configured that could run any agent: an operator must set one.
    """

    reason: str
    kind: RejectKind = "refused"


@dataclass(frozen=True, slots=True)
class StartUnknown:
    """The start was sent and its outcome is unknown. The agent may be running: the caller observes before it starts again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The call did what it was asked to do, or found that it had been done already."""


@dataclass(frozen=True, slots=True)
class NotDone:
    """The call failed, or its outcome is unknown; repeating it is safe. `passing`: the same call may succeed later."""

    error: str
    passing: bool


class AgentRuntime(Protocol):
    """Runs agent processes. No method raises for an expected answer.

    Each call keeps to EFFECT_TIMEOUT of spec/README.md section 3: start 60 s, status 10 s, everything else 30 s. The runner
    counts an answer that comes later as unknown. `effect_id` is the idempotency key of start, stop and the other effects: it is
    the same for every attempt of one effect.

    An agent has at most one process. Generations order its starts: a start of a newer generation ends older processes, and a
    start of an older generation than the newest is rejected.
    """

    def start(self, order: StartOrder, *, effect_id: str) -> Started | StartRejected | StartUnknown:
        """Start one agent process. The same effect id again gives the first answer and starts nothing.

        The order is passed to the agent with all its keys, known here or not.
        """
        ...

    def stop(self, town_id: str, agent_id: str, *, generation: int, effect_id: str) -> Done | NotDone:
        """Stop that generation of the agent and no other. Done if it is not running; it will not start later either."""
        ...

    def status(self, town_id: str, agent_id: str) -> ProcessStatus:
        """The state of the agent's newest process.

        `not_found` means that there never was one, or that the runtime no longer remembers it. `unknown` means that the
        runtime could not find out: the caller must not conclude that the agent has ended. A runtime that would otherwise send
        heartbeats for the agent may say with `running` what they would say.
        """
        ...

    def heard(self, town_id: str, seen: Sequence[tuple[str, ProcessStatus]]) -> None:
        """A tick with these statuses, each with a sign of life, is committed: no heartbeat needs to say the same again.

        Called by ticks only, and after the commit. A lost call costs a heartbeat and nothing else.
        """
        ...

    def message(self, town_id: str, agent_id: str, *, message_id: str, text: str, mode: str) -> Done | NotDone:
        """Send the running agent a text. `message_id` is the idempotency key: Done if the agent has already received it.

        NotDone with `passing` if the agent is not running.
        """
        ...

    def update_model(self, order: ModelOrder, *, effect_id: str) -> Done | NotDone:
        """Change the model of a running agent. Done if it is not running: its next start order contains the model."""
        ...

    def refresh_token(self, order: TokenOrder, *, effect_id: str) -> Done | NotDone:
        """Give the town's container, and each agent that runs in it, a fresh token. Done if there is no container."""
        ...

    def stop_container(self, town_id: str, *, effect_id: str) -> Done | NotDone:
        """Stop the town's idle container. Done if there is none."""
        ...

    def container_state(self, town_id: str) -> str:
        """The state of the town's container: starting, running, healthy (it runs and answers), stopping or stopped.

        `none` if towns have no container here, `unmanaged` if this deployment does not start and stop it, `unknown` if the
        state could not be determined.
        """
        ...


@dataclass(frozen=True, slots=True)
class Awake:
    """The town's control server answers at `address`, a base URL."""

    address: str


@dataclass(frozen=True, slots=True)
class AddressUnknown:
    """It is unknown whether the town has a container, and where. Nothing was sent to it."""

    reason: str


class TownContainers(Protocol):
    """The containers in which the control servers of towns run, one for each town. No method raises for an expected answer."""

    def address(self, town_id: str) -> str | AddressUnknown | None:
        """The base URL of the town's control server; None if the town has no container now. Takes at most 30 seconds."""
        ...

    def wake(self, town_id: str, *, effect_id: str, seconds: float) -> Awake | StartRejected | StartUnknown:
        """Start the town's container if it does not run, and wait at most `seconds` until its control server answers.

        The same call again finds the container that an earlier one started.
        """
        ...

    def stop(self, town_id: str, *, effect_id: str) -> Done | NotDone:
        """Stop the town's container. Done if there is none."""
        ...

    def state(self, town_id: str) -> str:
        """running, starting, stopping or stopped; `unmanaged` and `unknown` as in `AgentRuntime.container_state`."""
        ...
