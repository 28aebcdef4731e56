"""Agents behind a control server: one HTTP server for each town, in the container that runs the town's agents.

    GET   /health                    POST /agents/start             POST  /agents/{id}/stop     GET /agents/{id}/status
    POST  /agents/{id}/message       PATCH /agents/{id}/model       POST  /refresh-token        POST /sync-config
    POST  /agents/heard

`infra.agents.control_server` is such a server; `start_request` makes the body of a start. Two headers go with the bodies:
Idempotency-Key is the effect id (for a message, the message id); Town-Generation is the generation that the call addresses.
The agent's order and token are sent in `envVars`, so that a server that knows no generations still passes them to its agent.

The status of an agent that runs may have a field `signOfLife`: `at` (the server's present time) and, as in a heartbeat and each
optional, `lastEventType`, `lastEventAt`, `activeTools`, `containerInstanceId`. The tick counts it as a heartbeat of the answered
`generation`, and after its commit /agents/heard gives `at` back: `{"agents": [{"agentId", "generation", "at"}]}`. A server that
understands both need send no heartbeat of that agent for UNHEARD_AFTER after `at`. Any other sends heartbeats all the time.

Every call has its own timeout. A start that was sent and not answered is reported as unknown, never as rejected. A start that
could not be sent is reported as rejected, never as unknown. The server keeps at most one session of an agent, that of the
newest generation: it cancels a start that is superseded while still in progress.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args
from urllib.parse import quote

from shared.adapters.clock import Budget
from shared.adapters.control_answers import proof_in, sign_in
from shared.adapters.http_json import Answered, NoAnswer, NotSent, call
from shared.adapters.start_request import start_request
from shared.domain import limits
from shared.domain.errors import TownError
from shared.domain.orders import ModelOrder, StartOrder, TokenOrder
from shared.domain.processes import ProcessState, ProcessStatus
from shared.ports.forge import Asker, ForgeError, MergeClaim, Proof
from shared.ports.runtime import (
    AddressUnknown,
    Done,
    NotDone,
    Started,
    StartRejected,
    StartUnknown,
    TownContainers,
)
from shared.ports.tokens import MintToken

TOKEN_VARIABLE: Final = "TOWN_TOKEN"  # noqa: S105 - a name
API_VARIABLE: Final = "TOWN_API"
_NOT_RUNNING: Final = "the agent is not running"


@dataclass(frozen=True, slots=True)
class CallSeconds:
    """The timeout of each kind of call (EFFECT_TIMEOUT of spec/README.md section 3)."""

    start: float = 60.0
    status: float = 10.0
    health: float = 5.0
    heard: float = limits.ACKNOWLEDGE_WITHIN.total_seconds()
    other: float = 30.0


class ControlServerRuntime:
    """`AgentRuntime` over the control servers in `containers`. Safe for threads.

    - `mint` makes tokens; None if the agents of this deployment need none.
    - `key_of` returns the key that a town's server requires, or None.
    - `api` is the base URL of the events API that agents report to.
    - `default_model` is used if neither town nor rig names a model.
    - `hosts` says whether a container may have the token of an agent and generation that it claims to run.
    """

    def __init__(
        self,
        containers: TownContainers,
        *,
        mint: MintToken | None = None,
        key_of: Callable[[str], str | None] = lambda _: None,
        api: str | None = None,
        default_model: str = "default",
        small_model: str | None = None,
        seconds: CallSeconds = CallSeconds(),
        hosts: Callable[[str, int], bool] = lambda _agent_id, _generation: True,
    ) -> None:
        self._containers = containers
        self._hosts = hosts
        self._mint = mint
        self._key_of = key_of
        self._api = api
        self._models = {"model": default_model, "small_model": small_model}
        self._seconds = seconds

    def start(self, order: StartOrder, *, effect_id: str) -> Started | StartRejected | StartUnknown:
        """Start one agent; the same effect id again gives the first answer."""
        town_id, agent_id, generation = order.town_id, order.agent_id, order.generation
        budget = Budget(self._seconds.start)
        awake = self._containers.wake(town_id, effect_id=effect_id, seconds=budget.left())
        if isinstance(awake, StartRejected | StartUnknown):
            return awake
        try:
            # the server may have just started, without any token
            self._give_tokens(
                TokenOrder(town_id=town_id),
                awake.address,
                effect_id,
                None,
                seconds=budget.left(at_most=self._seconds.other),
            )
            environment = self._environment(order)
            headers = self._headers(town_id, effect_id, generation)
        except TownError as error:
            return StartRejected(f"no token can be had: {error.message}", kind="bad_configuration")
        if not budget.left():
            return StartRejected("the town's container answers too slowly; nothing was started", kind="no_capacity")
        request = start_request(order, **self._models, environment=environment)
        answer = call(
            "POST", f"{awake.address}/agents/start", body=request, headers=headers, seconds=max(0.1, budget.left())
        )
        return _start_answer(answer, f"{agent_id}:{generation}")

    def stop(self, town_id: str, agent_id: str, *, generation: int, effect_id: str) -> Done | NotDone:
        """Stop that generation of the agent and no other. Done if it is not running."""
        answer = self._ask(
            "POST", town_id, f"/agents/{_part(agent_id)}/stop", {}, effect_id=effect_id, generation=generation
        )
        if answer is None or (isinstance(answer, Answered) and answer.status in (404, 409, 410)):
            return Done()
        return _done(answer)

    def status(self, town_id: str, agent_id: str) -> ProcessStatus:
        """The agent's newest process; `not_found` if there is no container; `unknown` if the server does not answer."""
        answer = self._ask("GET", town_id, f"/agents/{_part(agent_id)}/status", None, seconds=self._seconds.status)
        if answer is None or (isinstance(answer, Answered) and answer.status == 404):
            return ProcessStatus("not_found")
        if not isinstance(answer, Answered):
            return ProcessStatus("unknown", answer.reason)
        status = _state(answer.body.get("status"))
        if not answer.ok or status is None:
            return ProcessStatus("unknown", answer.said)
        generation, reason = answer.body.get("generation"), answer.body.get("exitReason")
        known = isinstance(generation, int) and not isinstance(generation, bool)
        number = generation if known else None
        sign = sign_in(answer.body.get("signOfLife")) if status == "running" else None
        return ProcessStatus(status, str(reason)[:1000] if reason else None, number, sign)

    def heard(self, town_id: str, seen: Sequence[tuple[str, ProcessStatus]]) -> None:
        """Give each sign of life back to the server that gave it. Its answer does not matter."""
        agents = [
            {"agentId": agent_id, "generation": status.generation, "at": status.sign.at}
            for agent_id, status in seen
            if status.sign is not None and status.generation is not None
        ]
        if agents:
            self._ask("POST", town_id, "/agents/heard", {"agents": agents}, seconds=self._seconds.heard)

    def message(self, town_id: str, agent_id: str, *, message_id: str, text: str, mode: str) -> Done | NotDone:
        """Send the running agent a text. Done if it has already received this message id."""
        path, body = f"/agents/{_part(agent_id)}/message", {"prompt": text}
        answer = self._ask("POST", town_id, path, body, effect_id=message_id, headers={"Town-Message-Mode": mode})
        if answer is None or (isinstance(answer, Answered) and answer.status in (404, 409, 410)):
            return NotDone(_NOT_RUNNING, passing=True)
        return _done(answer)

    def update_model(self, order: ModelOrder, *, effect_id: str) -> Done | NotDone:
        """Change the model of a running agent. Done if it is not running: its next order contains the model."""
        body = {
            "model": order.model or self._models["model"],
            "smallModel": order.small_model or self._models["small_model"],
            "organizationId": order.organization_id,
        }
        body = {name: value for name, value in body.items() if value is not None}
        path = f"/agents/{_part(order.agent_id)}/model"
        answer = self._ask("PATCH", order.town_id, path, body, effect_id=effect_id)
        if answer is None or (isinstance(answer, Answered) and answer.status in (404, 409, 410)):
            return Done()
        return _done(answer)

    def refresh_token(self, order: TokenOrder, *, effect_id: str) -> Done | NotDone:
        """Send the container a fresh token, and one for each agent that it reports as running.

        A container that starts later gets its token with the start of its first agent.
        """
        town_id = order.town_id
        address = self._containers.address(town_id)
        if self._mint is None or address is None:
            return Done()
        if isinstance(address, AddressUnknown):
            return _done(NotSent(address.reason))
        health = call("GET", f"{address}/health", headers=self._headers(town_id), seconds=self._seconds.health)
        agents = health.body.get("agents") if isinstance(health, Answered) and health.ok else None
        try:
            return self._give_tokens(order, address, effect_id, agents, seconds=self._seconds.other)
        except TownError as error:
            return NotDone(f"no token can be made: {error.message}", passing=True)

    def sync_config(self, town_id: str, config: Mapping[str, object], *, effect_id: str) -> Done | NotDone:
        """Configure the container: `rigs` lists the rigs to keep clones of, `envVars` is for every later start."""
        answer = self._ask("POST", town_id, "/sync-config", dict(config), effect_id=effect_id)
        return Done() if answer is None else _done(answer)

    def proof(self, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:
        """Let the town's control server look with its git. An older one cannot, and one that does not run is not started."""
        body = {
            "gitUrl": claim.git_url,
            "targetBranch": claim.target_branch,
            "branch": claim.branch,
            "head": claim.head,
            "base": claim.base,
            "mergeCommit": claim.merge_commit,
        }
        given = {name: value for name, value in body.items() if value is not None}
        answer = self._ask("POST", asker.town_id, "/merge-proof", given)
        if answer is None:
            return Proof(None, says="the town's control server does not run")
        if isinstance(answer, Answered) and answer.status in (400, 404, 405):
            return Proof(None, says="the town's control server cannot look for merges")
        if not isinstance(answer, Answered):
            return ForgeError("transient", f"the control server did not answer: {answer.reason}")
        if not answer.ok:
            return ForgeError("transient", f"the control server could not look ({answer.said})")
        return proof_in(answer.body)

    def stop_container(self, town_id: str, *, effect_id: str) -> Done | NotDone:
        """Stop the town's idle container."""
        return self._containers.stop(town_id, effect_id=effect_id)

    def container_state(self, town_id: str) -> str:
        """The state that `containers` reports; a container that runs and answers is `healthy`."""
        state = self._containers.state(town_id)
        if state != "running":
            return state
        answer = self._ask("GET", town_id, "/health", None, seconds=self._seconds.health)
        return "healthy" if isinstance(answer, Answered) and answer.ok else "running"

    def _environment(self, order: StartOrder) -> dict[str, str]:
        found = {} if self._api is None else {API_VARIABLE: self._api}
        if self._mint is not None:
            found[TOKEN_VARIABLE] = self._mint(
                order.town_id, scope=order.scope, agent_id=order.agent_id, generation=order.generation
            )
        return found

    def _tokens_of_agents(self, order: TokenOrder, agents: object) -> list[dict[str, object]]:
        """A fresh token for each generation that the container says it runs and hosts; the town says which of them coordinate."""
        if self._mint is None or not isinstance(agents, list):
            return []
        running = [(each.get("agentId"), each.get("generation")) for each in agents if isinstance(each, dict)]
        return [
            {
                "agentId": agent_id,
                "generation": generation,
                "token": self._mint(
                    order.town_id,
                    scope=order.scope_of(agent_id, generation),
                    agent_id=agent_id,
                    generation=generation,
                ),
            }
            for agent_id, generation in running
            if isinstance(agent_id, str) and type(generation) is int and self._hosts(agent_id, generation)
        ]

    def _give_tokens(
        self, order: TokenOrder, address: str, effect_id: str, agents: object, *, seconds: float
    ) -> Done | NotDone:
        """Send the container its token, and those of the agents that its /health named."""
        if self._mint is None:
            return Done()
        body: dict[str, object] = {"token": self._mint(order.town_id, scope="container")}
        tokens = self._tokens_of_agents(order, agents)
        if tokens:
            body["agentTokens"] = tokens
        headers = self._headers(order.town_id, effect_id)
        path = f"{address}/refresh-token"
        return _done(call("POST", path, body=body, headers=headers, seconds=max(0.1, seconds)))

    def _ask(
        self,
        method: str,
        town_id: str,
        path: str,
        body: Mapping[str, object] | None,
        *,
        effect_id: str = "",
        generation: int | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Answered | NotSent | NoAnswer | None:
        """One call to the town's server; None if the town has no container."""
        address = self._containers.address(town_id)
        if address is None:
            return None
        if isinstance(address, AddressUnknown):
            return NotSent(address.reason)
        sent = {**self._headers(town_id, effect_id, generation), **(headers or {})}
        return call(method, f"{address}{path}", body=body, headers=sent, seconds=seconds or self._seconds.other)

    def _headers(self, town_id: str, effect_id: str = "", generation: int | None = None) -> dict[str, str]:
        key = self._key_of(town_id)
        found = {"Authorization": f"Bearer {key}"} if key else {}
        if effect_id:
            found["Idempotency-Key"] = effect_id
        if generation is not None:
            found["Town-Generation"] = str(generation)
        return found


def answers_at(address: str) -> bool:
    """Whether a control server answers at a base URL, even if only to require a key."""
    health = call("GET", f"{address}/health", headers={}, seconds=CallSeconds().health)
    return isinstance(health, Answered) and (health.ok or health.status == 401)


def _start_answer(answer: Answered | NotSent | NoAnswer, session: str) -> Started | StartRejected | StartUnknown:
    """The meaning of an answer to a start. After a 5xx from the server or a gateway, the agent may have been started."""
    if isinstance(answer, NotSent):
        return StartRejected(f"the control server cannot be reached: {answer.reason}")
    if isinstance(answer, NoAnswer):
        return StartUnknown(f"the control server did not answer the start: {answer.reason}")
    if answer.ok and answer.is_json:
        return Started(str(answer.body.get("processId") or session)[:200])
    if answer.ok:
        return StartUnknown("the control server answered with nothing that can be read")
    if answer.status in (429, 503):
        return StartRejected(f"the control server takes no start now ({answer.said})", kind="no_capacity")
    if answer.status >= 500:
        return StartUnknown(f"the control server failed ({answer.said})")
    return StartRejected(f"the control server refused the start ({answer.said})")


def _done(answer: Answered | NotSent | NoAnswer) -> Done | NotDone:
    if not isinstance(answer, Answered):
        return NotDone(f"the control server did not answer: {answer.reason}", passing=True)
    return Done() if answer.ok else NotDone(f"the control server refused ({answer.said})", passing=answer.may_pass)


def _state(text: object) -> ProcessState | None:
    """The state with this name; None if the name is unknown."""
    return next((state for state in get_args(ProcessState) if state == text), None)


def _part(text: str) -> str:
    """An id as one segment of a URL path."""
    return quote(text, safe="")
