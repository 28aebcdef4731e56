"""The operations behind the control server's routes: starts, stops, statuses, messages, models, tokens.

A start may clone a repository and take long. So it runs in a thread, and the caller gets the result or, after a few seconds,
the answer `starting`. A repeated start waits for the first one. A start of a newer generation, or a stop, cancels it.
`LocalProcessRuntime` decides all this and keeps its answers in files, so a restarted server knows which agents it has
started.
"""

import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from datetime import datetime
from pathlib import Path
from typing import Final

from infra.agents.control_server.forge_access import ForgeAccess
from infra.agents.control_server.log import say
from infra.agents.control_server.requests import (
    Heard,
    RefreshToken,
    SendMessage,
    SetModel,
    StartAgentRequest,
    StopAgentRequest,
    SyncConfig,
    wrong_address,
)
from infra.agents.control_server.secret_files import write_secret
from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.control_server.workspace import Workspaces
from infra.agents.credentials import FILE
from infra.agents.variables import (
    HEARTBEATS_VARIABLE,
    OF_THE_CONTAINER,
    wrong_in_configuration,
    wrong_in_start,
)
from shared.adapters import outside_files
from shared.adapters.control_answers import sign_answer
from shared.adapters.git_prover import REMOTE_PROTOCOLS
from shared.adapters.local_processes import Launch, LocalProcessRuntime, NotPrepared
from shared.adapters.local_state import AgentHome, segment
from shared.adapters.local_supervisor import write_atomically
from shared.adapters.local_users import AgentUsers
from shared.domain.orders import ModelOrder, StartOrder
from shared.domain.processes import SignOfLife
from shared.ports.runtime import NotDone, Started, StartRejected, StartUnknown

NOT_STARTED: Final = "could not be started"
"""How the exit reason begins of an agent whose process never came to life."""
TOKEN_FILE_VARIABLE: Final = "TOWN_TOKEN_FILE"  # noqa: S105 - a name
_TOKEN_VARIABLE: Final = "TOWN_TOKEN"  # noqa: S105 - a name
_AT_ONCE: Final = 64
_FETCHED_AT_ONCE: Final = 4

SessionAnswer = tuple[int, dict[str, object]]
StartAnswer = Started | StartRejected | StartUnknown


class Sessions:
    """The agents of one town. Thread-safe."""

    def __init__(
        self,
        settings: ControlServerSettings,
        *,
        started: Callable[[str, int], None],
        failed_late: Callable[[str, int, str], None],
        sign_of: Callable[[str, int], SignOfLife | None],
        taken: Callable[[str, int, datetime], None],
    ) -> None:
        """`started` is called for every successful start, before the caller is answered. `failed_late` is called for a start
        that was answered with `starting` and failed afterwards. `sign_of` says what a heartbeat of an agent and generation would
        say, `taken` is called when the town has taken such a sign of life.
        """
        self._settings = settings
        self._started = started
        self._failed_late = failed_late
        self._sign_of = sign_of
        self._taken = taken
        self._root = settings.root
        self._tokens, keys = settings.root / "tokens", settings.root / "keys"
        users = settings.agent_users
        self.workspaces = Workspaces(settings.root / "clones", environment=settings.environment, keeper=settings.keeper)
        self.runtime = LocalProcessRuntime(
            settings.root / "agents",
            command=settings.command,
            environment={
                "GIT_ALLOW_PROTOCOL": REMOTE_PROTOCOLS,
                HEARTBEATS_VARIABLE: OF_THE_CONTAINER,
                **settings.environment,
            },
            prepare=self._prepare,
            variables=self._of_forge,
            users=None if users is None else AgentUsers(users, settings.root / "users", holding=(self._tokens, keys)),
        )
        self.access = ForgeAccess(settings, token_file=self._token_file, keys=keys)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="start")
        self._fetches = ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="fetch")
        self._closed = threading.Event()
        self._starting: dict[str, tuple[Launch, Future[StartAnswer]]] = {}
        self._guard = threading.Lock()
        self.evicting = False

    @property
    def town_id(self) -> str:
        """The town whose agents these are."""
        return self._settings.town_id

    @property
    def local_repositories(self) -> bool:
        """Whether repositories on this machine's disk may be used."""
        return self._settings.local_repositories

    def health(self) -> SessionAnswer:
        """The state of this server and its running agents."""
        agents = [
            {"agentId": agent.agent_id, "generation": agent.generation}
            for agent in self.runtime.running(self._settings.town_id)
        ]
        return 200, {
            "status": "evicting" if self.evicting else "ok",
            "townId": self._settings.town_id,
            "instanceId": self._settings.instance_id,
            "agents": agents,
        }

    def start(self, body: StartAgentRequest, *, effect_id: str) -> SessionAnswer:
        """Start an agent. Idempotent: a repeated start with the same key gets the first answer."""
        if body.town_id != self._settings.town_id:
            return 409, {"error": f"this container serves town {self._settings.town_id}"}
        try:
            launch = self._launch(body, effect_id)
        except ValueError as error:
            return 400, {"error": str(error)}
        generation = launch.order.generation
        with self._guard:
            if self.evicting:
                return 503, {"error": "this container is being evicted"}
            if launch.effect_id not in self._starting:
                self._starting[launch.effect_id] = (launch, self._pool.submit(self._run, launch))
            _, future = self._starting[launch.effect_id]
        try:
            answer = future.result(timeout=self._settings.answer_within)
        except NotYet:
            future.add_done_callback(lambda done: self._settled_late(done, launch))
            return 202, self._shown(body.agent_id, generation, "starting")
        with self._guard:
            self._starting.pop(launch.effect_id, None)
        if isinstance(answer, Started):
            return 200, self._shown(body.agent_id, generation, "running")
        return (409 if isinstance(answer, StartRejected) else 500), {"error": answer.reason}

    def take_no_more_starts(self) -> None:
        """Refuse every start from now on. Starts in progress are cancelled and reported like any failed start."""
        with self._guard:
            self.evicting = True
            under_way = [launch for launch, _ in self._starting.values()]
        for launch in under_way:
            agent_id, generation = launch.order.agent_id, launch.order.generation
            self.runtime.stop(self._settings.town_id, agent_id, generation=generation, effect_id="evicted")

    def stop(self, agent_id: str, body: StopAgentRequest, *, effect_id: str, generation: int | None) -> SessionAnswer:
        """Stop the given generation, or the newest one if the caller names none."""
        newest = self.runtime.newest(self._settings.town_id, agent_id)
        if newest is None and generation is None:
            return 404, {"error": "no such agent"}
        number = generation if generation is not None or newest is None else newest.number
        if number is None:
            return 404, {"error": "no such agent"}
        self._token_file(agent_id, number).unlink(missing_ok=True)  # even if its processes cannot be ended
        self.access.close(agent_id, number)
        if newest is not None:
            (AgentHome(newest.directory.parent).generation(number).desk / FILE).unlink(missing_ok=True)
        done = self.runtime.stop(
            self._settings.town_id,
            agent_id,
            generation=number,
            effect_id=effect_id or "stop",
            polite=signal.Signals[body.signal],
        )
        if isinstance(done, NotDone):
            return 503, {"error": done.error}
        return 200, self._shown(agent_id, number, "stopped")

    def status(self, agent_id: str) -> SessionAnswer:
        """The status of the agent's newest generation. One that could not be started counts as exited."""
        known = self.runtime.status(self._settings.town_id, agent_id)
        if known.generation is None and known.status == "not_found":
            return 404, {"error": "no such agent"}
        status, reason = known.status, known.exit_reason
        if status == "not_found" and reason is not None:
            status, reason = "exited", f"{NOT_STARTED}: {reason}"
        shown = self._shown(agent_id, known.generation, status)
        sign = None if known.generation is None else self._sign_of(agent_id, known.generation)
        if status == "running" and sign is not None:
            shown |= {"signOfLife": sign_answer(sign)}
        return 200, shown if reason is None else shown | {"exitReason": reason}

    def heard(self, body: Heard) -> SessionAnswer:
        """Note which signs of life the town has: no heartbeat needs to say the same."""
        for each in body.agents:
            self._taken(each.agent_id, each.generation, each.at)
        return 200, {"status": "noted"}

    def message(self, agent_id: str, body: SendMessage, *, message_id: str, mode: str) -> SessionAnswer:
        """Deliver a message to the running agent, once per `message_id`."""
        done = self.runtime.message(
            self._settings.town_id, agent_id, message_id=message_id, text=body.prompt, mode=mode
        )
        if isinstance(done, NotDone):
            return 409, {"error": done.error}
        return 200, {"agentId": agent_id, "status": "delivered"}

    def update_model(self, agent_id: str, body: SetModel, *, effect_id: str) -> SessionAnswer:
        """Write the model to the file that the agent reads."""
        if self.runtime.newest(self._settings.town_id, agent_id) is None:
            return 404, {"error": "no such agent"}
        order = ModelOrder(
            town_id=self._settings.town_id,
            agent_id=agent_id,
            model=body.model,
            small_model=body.small_model,
            organization_id=body.organization_id,
        )
        self.runtime.update_model(order, effect_id=effect_id)
        return 200, {"agentId": agent_id, "model": body.model}

    def refresh_token(self, body: RefreshToken) -> SessionAnswer:
        """Store the tokens in the files from which the server and its agents read them. Nobody else can read the files.

        A generation whose stop was requested gets no more token.
        """
        write_secret(self._root / "token", body.token)
        for each in body.agent_tokens:
            if not self.runtime.was_stopped(self._settings.town_id, each.agent_id, each.generation):
                reader = self.runtime.user_of(self._settings.town_id, each.agent_id)
                write_secret(self._token_file(each.agent_id, each.generation), each.token, reader=reader)
        return 200, {"status": "refreshed"}

    def sync_config(self, body: SyncConfig) -> SessionAnswer:
        """Store environment variables for later starts, and fetch repositories in the background."""
        wrong = wrong_in_configuration(body.env_vars, named=self._settings.named)
        if wrong is not None:
            return 400, {"error": f"envVars: {wrong}"}
        for at, rig in enumerate(body.rigs):
            wrong = wrong_address(rig.git_url, local=self._settings.local_repositories)
            if wrong is not None:
                return 400, {"error": f"rigs.{at}.git_url: {wrong}"}
        write_atomically(self._root / "config.json", {"env_vars": dict(body.env_vars)})
        for rig in body.rigs:
            if rig.git_url is not None:
                self._fetches.submit(self._fetch, rig.git_url)
        return 200, {"status": "synced"}

    def save(self, work: Path, order: StartOrder, cancelled: Callable[[], bool]) -> str:
        """Commit and push the work that an agent left in its clone. Returns a text about the result."""
        return self.workspaces.save(work, order, self.access.of(order), cancelled)

    def close(self) -> None:
        """Start no more agents and fetch no more repositories."""
        self._closed.set()
        for pool in (self._pool, self._fetches):
            pool.shutdown(wait=False, cancel_futures=True)

    def _launch(self, body: StartAgentRequest, effect_id: str) -> Launch:
        newest = self.runtime.newest(self._settings.town_id, body.agent_id)
        generation = body.generation(otherwise=1 if newest is None else newest.number + 1)
        if generation < 0:
            raise ValueError("the generation must not be negative")
        wrong = wrong_in_start(body.environment, named=self._settings.named)
        if wrong is not None:
            raise ValueError(f"envVars: {wrong}")
        order = body.order(generation=generation)
        url = None if order.rig is None else order.rig.git_url
        wrong = wrong_address(url, local=self._settings.local_repositories)
        if wrong is not None:
            raise ValueError(f"gitUrl: {wrong}")
        environment = self._configured() | body.environment
        token, token_file = environment.pop(_TOKEN_VARIABLE, None), self._token_file(body.agent_id, generation)
        if token is not None:
            for older in self._tokens.glob(f"{segment(body.agent_id)}.*"):
                if int(older.suffix[1:]) < generation:
                    older.unlink(missing_ok=True)
        environment[TOKEN_FILE_VARIABLE] = str(token_file)
        key = effect_id or f"{body.agent_id}:{generation}"
        return Launch(order, key, environment, token)

    def _prepare(self, launch: Launch, work: Path, cancelled: Callable[[], bool]) -> Path:
        """Put the token and the clone where the agent finds them. The agent's lock is held. Raises NotPrepared."""
        order = launch.order
        if launch.token is not None:
            reader = self.runtime.user_of(order.town_id, order.agent_id)
            write_secret(self._token_file(order.agent_id, order.generation), launch.token, reader=reader)
            if cancelled():  # the stop looked for the file before it was there
                self._token_file(order.agent_id, order.generation).unlink(missing_ok=True)
        access = self.access.opened(launch, user=AgentHome(work.parent).user, cancelled=cancelled)
        return self.workspaces.prepare(launch, work, cancelled, access)

    def _of_forge(self, launch: Launch, work: Path) -> Mapping[str, str]:
        """The variables with which the agent reaches its forge."""
        around = {**self._settings.environment, **launch.environment}
        return self.access.of(launch.order).of_agent(around, work)

    def _run(self, launch: Launch) -> StartAnswer:
        answer = self.runtime.launch(launch)
        if isinstance(answer, Started):
            self._started(launch.order.agent_id, launch.order.generation)
        return answer

    def _settled_late(self, done: "Future[StartAnswer]", launch: Launch) -> None:
        with self._guard:
            if self._starting.pop(launch.effect_id, None) is None:
                return
        if done.cancelled():
            return
        answer = done.result()
        if not isinstance(answer, Started):
            self._failed_late(launch.order.agent_id, launch.order.generation, answer.reason)

    def _fetch(self, url: str) -> None:
        try:
            self.workspaces.fetch(url, self._closed.is_set)
        except NotPrepared as error:
            say(f"a repository could not be fetched in advance; the first start retries: {error}")

    def _configured(self) -> dict[str, str]:
        path = self._root / "config.json"
        if not path.exists():
            return {}
        stored = outside_files.json_of(path)
        variables = {str(name): str(value) for name, value in stored["env_vars"].items()}
        wrong = wrong_in_configuration(variables, named=self._settings.named)
        if wrong is not None:
            raise ValueError(
                f"the configuration of an earlier /sync-config is refused: {wrong}; send /sync-config again"
            )
        return variables

    def _token_file(self, agent_id: str, generation: int) -> Path:
        """The token file of one generation. Generations do not share it, so a late token cannot replace a newer generation's."""
        return self._tokens / f"{segment(agent_id)}.{generation}"

    def _shown(self, agent_id: str, generation: int | None, status: str) -> dict[str, object]:
        shown: dict[str, object] = {"agentId": agent_id, "status": status}
        if generation is not None:
            shown |= {"generation": generation, "processId": f"{agent_id}:{generation}"}
        return shown
