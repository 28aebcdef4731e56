"""Agents on Amazon ECS, in one of two ways. Both run the same image (`infra/agents/control_server/Dockerfile`).

- `EcsAgents`: one task for each generation of an agent. RunTask starts it. The task downloads its start request from
  `TOWN_START_URL` and ends with its agent. The request is too large for the overrides of RunTask (8,192 characters) and contains
  a token, so it is stored elsewhere (`Shelf`) behind a URL that soon expires.
- `EcsContainers`: one control-server task for each town, started for its first agent and stopped when the town is idle.
  `ControlServerRuntime` calls it.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Final

from shared.adapters.clock import Budget
from shared.adapters.control_server import (
    API_VARIABLE,
    TOKEN_VARIABLE,
    CallSeconds,
    ControlServerRuntime,
    answers_at,
)
from shared.adapters.ecs_tasks import LONGEST_CALL_SECONDS, EcsTask, EcsTasks, NotSeen, tag_value
from shared.adapters.start_request import start_request
from shared.adapters.town_containers import FixedAddresses
from shared.domain.errors import TownError
from shared.domain.orders import ModelOrder, StartOrder, TokenOrder
from shared.domain.processes import ProcessState, ProcessStatus
from shared.ports.runtime import AddressUnknown, Awake, Done, NotDone, Started, StartRejected, StartUnknown
from shared.ports.tokens import MintToken

START_URL_VARIABLE: Final = "TOWN_START_URL"
START_KEY_VARIABLE: Final = "TOWN_START_KEY"
TOWN_VARIABLE: Final = "TOWN_ID"
KEY_VARIABLE: Final = "TOWN_CONTROL_KEY"
CONTAINER_TOKEN_VARIABLE: Final = "TOWN_CONTAINER_TOKEN"  # noqa: S105 - a name
"""In `envVars` of a stored start request: the token of the control server inside the task, which no call delivers."""

_ROLE_TAG, _AGENT_TAG, _GENERATION_TAG, _EFFECT_TAG = "town-role", "town-agent", "town-generation", "town-effect"
_SECONDS: Final = CallSeconds()
_LOOK_EVERY_SECONDS: Final = 1.0
_TOKEN_TURNS_SECONDS: Final = 1800.0
"""Shorter than the hour for which ECS shows an ended task. ECS remembers the client token of a start for much longer."""

_STATE: Final[Mapping[str, ProcessState]] = {
    "PROVISIONING": "starting",
    "PENDING": "starting",
    "ACTIVATING": "starting",
    "RUNNING": "running",
    "DEACTIVATING": "stopping",
    "STOPPING": "stopping",
    "DEPROVISIONING": "stopping",
    "STOPPED": "exited",
    "DELETED": "exited",
}

Shelf = Callable[[str, bytes], str]
"""Stores a start request for a task: (name, body) -> an https URL from which the task can download it, for a while.

Raises TownError if the request cannot be stored.
"""

AddressOf = Callable[[EcsTask], str | None]


def address_in_vpc(port: int) -> AddressOf:
    """Finds the base URL of the control server in a task, by the task's private address."""
    return lambda task: None if task.ip is None else f"http://{task.ip}:{port}"


class EcsAgents:
    """`AgentRuntime` with one task for each generation of an agent. Safe for threads."""

    def __init__(
        self,
        tasks: EcsTasks,
        *,
        shelf: Shelf,
        mint: MintToken | None = None,
        key_of: Callable[[str], str | None] = lambda _: None,
        api: str | None = None,
        address_of: AddressOf | None = None,
        default_model: str = "default",
        seconds: CallSeconds = _SECONDS,
    ) -> None:
        self._tasks = tasks
        self._shelf = shelf
        self._mint = mint
        self._key_of = key_of
        self._api = api
        self._address_of = address_of or address_in_vpc(tasks.settings.port)
        self._default_model = default_model
        self._seconds = seconds

    def start(self, order: StartOrder, *, effect_id: str) -> Started | StartRejected | StartUnknown:
        """Run the task of this generation. The same effect id again gives the same task."""
        town_id, agent_id, generation = order.town_id, order.agent_id, order.generation
        budget = Budget(self._seconds.start)
        found = self._of_agent(town_id, agent_id)
        if isinstance(found, NotSeen):
            return StartRejected(f"ECS does not say what runs already: {found.reason}")
        known = _known_start(found, generation, effect_id)
        if known is not None:
            return known
        for older in found:
            if older.lives and isinstance(self._tasks.stop(older.arn, reason="superseded"), NotDone):
                return StartRejected(f"generation {older.generation} of this agent cannot be stopped")
        try:
            environment = {**_of_town(town_id, self._key_of(town_id)), START_KEY_VARIABLE: effect_id}
            environment[START_URL_VARIABLE] = self._shelf(effect_id, self._request(order))
        except TownError as error:
            return StartRejected(f"the order cannot be handed over: {error.message}", kind="bad_configuration")
        if budget.left() < LONGEST_CALL_SECONDS:
            return StartRejected("ECS answers too slowly; nothing was started", kind="no_capacity")
        tags = {
            _ROLE_TAG: "agent",
            _AGENT_TAG: tag_value(agent_id),
            _GENERATION_TAG: str(generation),
            _EFFECT_TAG: effect_id,
        }
        answer = self._tasks.run(town_id, token=effect_id, environment=environment, tags=tags)
        if isinstance(answer, StartUnknown):
            # ECS refuses the same token with another URL. Then the first start succeeded, and its task can be found.
            again = self._of_agent(town_id, agent_id)
            known = None if isinstance(again, NotSeen) else _known_start(again, generation, effect_id)
            return answer if known is None else known
        return Started(answer.arn) if isinstance(answer, EcsTask) else answer

    def stop(self, town_id: str, agent_id: str, *, generation: int, effect_id: str) -> Done | NotDone:  # noqa: ARG002 - stopping is idempotent
        """Stop the tasks of that generation. Done if there are none."""
        found = self._of_agent(town_id, agent_id)
        if isinstance(found, NotSeen):
            return NotDone(found.reason, passing=True)
        for task in found:
            if task.generation == generation and task.lives:
                done = self._tasks.stop(task.arn, reason="stop_agent")
                if isinstance(done, NotDone):
                    return done
        return Done()

    def status(self, town_id: str, agent_id: str) -> ProcessStatus:
        """The state of the agent's newest task. The list of the town's tasks is cached for two seconds."""
        found = self._of_agent(town_id, agent_id, recent=True)
        if isinstance(found, NotSeen):
            return ProcessStatus("unknown", found.reason)
        if not found:
            return ProcessStatus("not_found")
        newest = found[-1]
        status = _STATE.get(newest.status, "unknown")
        reason = newest.stopped_reason if status == "exited" else None
        if reason is not None and newest.exit_code is not None:
            reason = f"{reason} (exit code {newest.exit_code})"
        return ProcessStatus(status, reason or ("ended" if status == "exited" else None), newest.generation)

    def heard(self, town_id: str, seen: Sequence[tuple[str, ProcessStatus]]) -> None:
        """Nothing to do: no status says more than whether the process runs, so all signs of life are heartbeats."""

    def message(self, town_id: str, agent_id: str, *, message_id: str, text: str, mode: str) -> Done | NotDone:
        """Send the agent a text through the control server inside its task."""
        server = self._server_of(town_id, agent_id)
        if server is None or isinstance(server, NotSeen):
            return NotDone("the agent is not running" if server is None else server.reason, passing=True)
        return server.message(town_id, agent_id, message_id=message_id, text=text, mode=mode)

    def update_model(self, order: ModelOrder, *, effect_id: str) -> Done | NotDone:
        """Change the model of a running agent. Done if it is not running: its next order contains the model."""
        server = self._server_of(order.town_id, order.agent_id)
        if isinstance(server, NotSeen):
            return NotDone(server.reason, passing=True)
        return Done() if server is None else server.update_model(order, effect_id=effect_id)

    def refresh_token(self, order: TokenOrder, *, effect_id: str) -> Done | NotDone:
        """Send every task of the town fresh tokens."""
        found = self._tasks.find(order.town_id, ended=False)
        if isinstance(found, NotSeen):
            return NotDone(found.reason, passing=True)
        answers = [
            server.refresh_token(order, effect_id=effect_id)
            for task in found
            if task.lives and (server := self._server(task)) is not None
        ]
        return next((answer for answer in answers if isinstance(answer, NotDone)), Done())

    def stop_container(self, town_id: str, *, effect_id: str) -> Done | NotDone:  # noqa: ARG002 - the port's shape
        """Does nothing: a task ends with its agent."""
        return Done()

    def container_state(self, town_id: str) -> str:  # noqa: ARG002 - as above
        """`none`: agents share no container."""
        return "none"

    def _request(self, order: StartOrder) -> bytes:
        environment = {} if self._api is None else {API_VARIABLE: self._api}
        if self._mint is not None:
            environment[CONTAINER_TOKEN_VARIABLE] = self._mint(order.town_id, scope="container")
            environment[TOKEN_VARIABLE] = self._mint(
                order.town_id, scope=order.scope, agent_id=order.agent_id, generation=order.generation
            )
        request = start_request(order, model=self._default_model, small_model=None, environment=environment)
        return json.dumps(request, ensure_ascii=False).encode()

    def _of_agent(self, town_id: str, agent_id: str, *, recent: bool = False) -> tuple[EcsTask, ...] | NotSeen:
        """The agent's tasks, oldest generation first."""
        found = self._tasks.recent(town_id) if recent else self._tasks.find(town_id, ended=True)
        if isinstance(found, NotSeen):
            return found
        ours = [task for task in found if task.tags.get(_AGENT_TAG) == tag_value(agent_id)]
        return tuple(sorted(ours, key=lambda task: (task.generation, task.lives, task.created_at, task.arn)))

    def _server_of(self, town_id: str, agent_id: str) -> ControlServerRuntime | NotSeen | None:
        found = self._of_agent(town_id, agent_id)
        if isinstance(found, NotSeen):
            return found
        return self._server(found[-1]) if found and found[-1].lives else None

    def _server(self, task: EcsTask) -> ControlServerRuntime | None:
        address = self._address_of(task)
        if address is None:
            return None
        return ControlServerRuntime(
            FixedAddresses(address),
            mint=self._mint,
            key_of=self._key_of,
            seconds=self._seconds,
            hosts=lambda agent, start: (tag_value(agent), start) == (task.tags.get(_AGENT_TAG), task.generation),
        )


class EcsContainers:
    """`TownContainers` with one control-server task for each town. Safe for threads."""

    def __init__(
        self,
        tasks: EcsTasks,
        *,
        key_of: Callable[[str], str | None] = lambda _: None,
        address_of: AddressOf | None = None,
        look_every: float = _LOOK_EVERY_SECONDS,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._tasks = tasks
        self._key_of = key_of
        self._wall = wall
        self._address_of = address_of or address_in_vpc(tasks.settings.port)
        self._look_every = look_every
        self._waking: dict[str, Lock] = {}
        self._guard = Lock()

    def address(self, town_id: str) -> str | AddressUnknown | None:
        """The base URL of the town's task; None if none is running."""
        found = self._tasks.recent(town_id)
        if isinstance(found, NotSeen):
            return AddressUnknown(f"ECS does not say where the container is: {found.reason}")
        living = _containers_in(found)
        return self._address_of(living[0]) if living else None

    def wake(self, town_id: str, *, effect_id: str, seconds: float) -> Awake | StartRejected | StartUnknown:  # noqa: ARG002 - the token follows from the town's tasks
        """Run the town's task if there is none, and wait until it answers. If there are several, only the oldest is kept."""
        budget = Budget(seconds)
        with self._turn(town_id):
            found = self._living(town_id)
            if isinstance(found, NotSeen):
                return StartRejected(f"ECS does not say what runs already: {found.reason}")
            try:
                ran = None if found else self._run(town_id)
            except TownError as error:
                return StartRejected(f"the control key cannot be read: {error.message}", kind="bad_configuration")
            if isinstance(ran, StartRejected | StartUnknown):
                return ran
        while True:
            found = self._living(town_id)
            tasks = () if isinstance(found, NotSeen) else found
            for surplus in tasks[1:]:
                self._tasks.stop(surplus.arn, reason="another container of this town is older")
            address = self._address_of(tasks[0]) if tasks else None
            if address is not None and answers_at(address):
                return Awake(address)
            if budget.left() < self._look_every:
                return StartRejected("the town's container is starting; the next attempt finds it", kind="no_capacity")
            time.sleep(self._look_every)

    def stop(self, town_id: str, *, effect_id: str) -> Done | NotDone:  # noqa: ARG002 - stopping is idempotent
        """Stop the town's tasks."""
        found = self._living(town_id)
        if isinstance(found, NotSeen):
            return NotDone(found.reason, passing=True)
        answers = [self._tasks.stop(task.arn, reason="idle") for task in found]
        return next((answer for answer in answers if isinstance(answer, NotDone)), Done())

    def state(self, town_id: str) -> str:
        """running, starting, stopping or stopped; `unknown` if ECS does not answer."""
        found = self._tasks.recent(town_id)
        if isinstance(found, NotSeen):
            return "unknown"
        states = {_STATE.get(task.status, "unknown") for task in found if task.tags.get(_ROLE_TAG) == "town"}
        return next((state for state in ("running", "starting", "stopping") if state in states), "stopped")

    def _living(self, town_id: str) -> tuple[EcsTask, ...] | NotSeen:
        found = self._tasks.find(town_id, ended=False)
        if isinstance(found, NotSeen):
            return found
        return _containers_in(found)

    def _run(self, town_id: str) -> EcsTask | StartRejected | StartUnknown:
        """Run the town's task, with a token that makes concurrent starts the same start.

        The token is derived from the tasks that ECS shows, so two workers that see the same tasks use the same token and
        get one task. The current half hour is part of the token. Without it, a town that wakes after some hours, when ECS no
        longer shows the ended task, would use the token of its first start, and ECS would answer with the ended task.
        """
        known = self._tasks.find(town_id, ended=True)
        before = () if isinstance(known, NotSeen) else tuple(task.arn for task in known)
        turn = str(int(self._wall() // _TOKEN_TURNS_SECONDS))
        token = hashlib.sha256("\n".join([town_id, turn, *sorted(before)]).encode()).hexdigest()
        environment = _of_town(town_id, self._key_of(town_id))
        return self._tasks.run(town_id, token=token, environment=environment, tags={_ROLE_TAG: "town"})

    def _turn(self, town_id: str) -> Lock:
        """The lock that lets one thread of this process at a time look for the town's task and run it."""
        with self._guard:
            return self._waking.setdefault(town_id, Lock())


def _of_town(town_id: str, key: str | None) -> dict[str, str]:
    """The town of a task and the key of its control server, which each start brings, so that no task knows another town's."""
    return {TOWN_VARIABLE: town_id, **({} if key is None else {KEY_VARIABLE: key})}


def _containers_in(tasks: tuple[EcsTask, ...]) -> tuple[EcsTask, ...]:
    return tuple(task for task in tasks if task.lives and task.tags.get(_ROLE_TAG) == "town")


def _known_start(tasks: tuple[EcsTask, ...], generation: int, effect_id: str) -> Started | StartRejected | None:
    """The answer if this generation or a newer one was started before, else None."""
    for task in tasks:
        if task.generation == generation:
            if task.tags.get(_EFFECT_TAG) == effect_id:
                return Started(task.arn)
            return StartRejected(f"generation {generation} of this agent was started under another effect id before")
    newest = tasks[-1].generation if tasks else 0
    if newest > generation:
        return StartRejected(f"superseded: generation {newest} of this agent was started before")
    return None
