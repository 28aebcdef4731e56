"""Agents as processes of this machine: the runtime of `townctl demo` and `townctl serve`.

Nothing is held in memory. Every answer is read from files (`local_state`) and from the process table, so another townctl, or
the same one after a restart, finds the running agents. Three rules make that safe:

- A start and a stop of the same agent exclude each other by a file lock. The supervisor inherits the lock and releases it
  once it has recorded what it started. So a townctl that dies in between leaves either a record or no process.
- A newer generation supersedes older ones. Their processes are killed before the new one starts. A start of an older
  generation, or of one that was stopped before it started, is rejected. Starts and stops are recorded before the lock is
  taken: a start that is still preparing its working directory sees them and gives up.
- A process is killed by its identity (pid with start time, mark in the environment), never by its pid alone. A generation
  has ended only when none of its processes is left.

The control server (`infra.agents.control_server`) runs its agents with this class and a `prepare` that clones a repository.
Requires a POSIX system. On Linux all descendants are found; elsewhere only those in the agent's process group.
"""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from shared.adapters import local_generations as generations
from shared.adapters import local_supervisor as supervisor
from shared.adapters.clock import Budget, wait_for
from shared.adapters.local_locks import Busy, is_locked, locked
from shared.adapters.local_removal import remove
from shared.adapters.local_state import USER, AgentHome, GenerationFiles, RuntimeDirectory
from shared.adapters.local_users import AgentUsers, NoUserLeft
from shared.adapters.prompts import letter, told
from shared.domain.orders import ModelOrder, StartOrder, TokenOrder
from shared.domain.processes import ProcessStatus
from shared.ports.runtime import Done, NotDone, Started, StartRejected, StartUnknown

CALL_BUDGET_SECONDS: Final = 10.0
HOME_VARIABLE: Final = "TOWN_AGENT_HOME"
"""The agent's own directory, which all its generations share. It may work in another directory."""
PROXIES_AND_CERTIFICATES: Final = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"),
)
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "TERM", *PROXIES_AND_CERTIFICATES)


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """One generation with at least one living process."""

    town_id: str
    agent_id: str
    generation: int
    pid: int


@dataclass(frozen=True, slots=True)
class Launch:
    """One start: the order, its effect id, and `environment` and `token`, which only the process may see. `prepare` puts the
    token where the process finds it; the environment is not stored.
    """

    order: StartOrder
    effect_id: str
    environment: Mapping[str, str]
    token: str | None = None


class NotPrepared(Exception):
    """The working directory could not be prepared. The text says why, for people."""


Wrap = Callable[[GenerationFiles, Sequence[str]], Sequence[str]]
"""Puts a command into a sandbox: (the files of the generation, command) -> command."""

Prepare = Callable[[Launch, Path, Callable[[], bool]], Path]
"""Prepares the working directory of an agent: (launch, the agent's own directory, is_cancelled) -> working directory.

It may take long. It should call `is_cancelled` now and then and give up if the result is true. Raises NotPrepared.
"""

Variables = Callable[[Launch, Path], Mapping[str, str]]
"""More variables of a process that is about to start: (launch, the agent's own directory) -> variables. Raises NotPrepared."""


def _as_it_is(files: GenerationFiles, command: Sequence[str]) -> Sequence[str]:  # noqa: ARG001 - a Wrap
    return command


def _own_directory(launch: Launch, work: Path, cancelled: Callable[[], bool]) -> Path:  # noqa: ARG001 - a Prepare
    return work


class LocalProcessRuntime:
    """Runs agents as local processes below `root`. Implements `AgentRuntime`. Safe for several threads and processes.

    `command` is the program with its arguments. The program finds the path of its start order in TOWN_AGENT_CONTEXT. It runs
    in a working directory that all generations of the agent share, and inherits only the usual variables of our environment
    (PATH, HOME, proxies and so on), plus `environment`.
    With `users`, each agent runs as a user of its own, with a home of its own; without, as our user. `wrap` may put the command
    into a sandbox.
    """

    def __init__(
        self,
        root: Path,
        *,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        prepare: Prepare = _own_directory,
        variables: Variables | None = None,
        users: AgentUsers | None = None,
        wrap: Wrap | None = None,
    ) -> None:
        # resolved, because the path is used as the mark and must always be spelled the same
        self._directory = RuntimeDirectory(root.resolve())
        self._command = list(command)
        self._environment = dict(environment or {})
        self._prepare = prepare
        self._variables = variables or (lambda _launch, _work: {})
        self._users = users
        self._wrap = wrap or _as_it_is

    def start(self, order: StartOrder, *, effect_id: str) -> Started | StartRejected | StartUnknown:
        """Start one agent process; the same effect id again gives the first answer."""
        return self.launch(Launch(order, effect_id, {}))

    def launch(self, launch: Launch) -> Started | StartRejected | StartUnknown:
        """As `start`, with an environment for this one process. Takes as long as `prepare` does."""
        home = self._directory.agent(launch.order.town_id, launch.order.agent_id)
        generation = home.generation(launch.order.generation)
        try:
            generation.announce()
            with locked(home, Budget(CALL_BUDGET_SECONDS)) as lock:
                return self._start_locked(home, generation, launch, lock=lock)
        except Busy as error:
            return StartUnknown(str(error))
        except (OSError, ValueError) as error:  # ValueError: a text with U+0000, which no system call accepts
            return StartRejected(
                f"cannot start under {home.directory}: {error}; check its rights and this machine's limits"
            )

    def stop(
        self,
        town_id: str,
        agent_id: str,
        *,
        generation: int,
        effect_id: str,
        polite: signal.Signals = signal.SIGTERM,
    ) -> Done | NotDone:
        """Stop that generation of the agent and no other, with all its descendants. Done if it is not running.

        `polite` is the signal that is sent first. Processes that ignore it are killed.
        """
        home = self._directory.agent(town_id, agent_id)
        budget = Budget(CALL_BUDGET_SECONDS)
        try:
            target = home.generation(generation)
            target.mark_stopped(effect_id)
            with locked(home, budget):
                ended = generations.end(target, budget, polite=polite)
        except Busy as error:
            return NotDone(str(error), passing=True)
        except OSError as error:
            return NotDone(f"cannot stop under {home.directory}: {error}", passing=True)
        return Done() if ended else NotDone(f"processes of generation {generation} survived a KILL", passing=True)

    def status(self, town_id: str, agent_id: str) -> ProcessStatus:
        """The agent's newest process: `not_found` if there never was one, `unknown` if its files cannot be read."""
        home = self._directory.agent(town_id, agent_id)
        try:
            return generations.status_in(home, is_locked=lambda: is_locked(home))
        except OSError as error:
            return ProcessStatus("unknown", str(error))

    def heard(self, town_id: str, seen: Sequence[tuple[str, ProcessStatus]]) -> None:
        """Nothing to do: no status says more than whether the process runs, so all signs of life are heartbeats."""

    def message(self, town_id: str, agent_id: str, *, message_id: str, text: str, mode: str) -> Done | NotDone:
        """Put a text into the running agent's mailbox. Done if any of its generations has already received this message id."""
        known = self._directory.agent(town_id, agent_id).generations()
        if any(generation.has_message(message_id) for generation in known):
            return Done()
        if not known or not generations.is_running(known[0]):
            return NotDone("the agent is not running", passing=True)
        try:
            known[0].deliver(message_id, {"message_id": message_id, "text": letter(text), "mode": mode})
        except OSError as error:
            return NotDone(f"cannot write into {known[0].directory}: {error.strerror}", passing=True)
        return Done()

    def update_model(self, order: ModelOrder, *, effect_id: str) -> Done | NotDone:
        """Write the model to the file that the agent reads. An agent that never ran gets the model with its next order."""
        home = self._directory.agent(order.town_id, order.agent_id)
        with contextlib.suppress(FileNotFoundError):
            told_model = {**order.as_json(), "small_model": order.small_model, "effect_id": effect_id}
            supervisor.write_atomically(home.directory / "model.json", told_model, reader=home.user)
        return Done()

    def refresh_token(self, order: TokenOrder, *, effect_id: str) -> Done | NotDone:  # noqa: ARG002 - the port's shape
        """Does nothing: a local agent has the permissions of the user who runs it."""
        return Done()

    def stop_container(self, town_id: str, *, effect_id: str) -> Done | NotDone:  # noqa: ARG002 - as above
        """Does nothing: local agents run in no container."""
        return Done()

    def container_state(self, town_id: str) -> str:  # noqa: ARG002 - as above
        """`none`: local agents run in no container."""
        return "none"

    def newest(self, town_id: str, agent_id: str) -> GenerationFiles | None:
        """The files of the agent's newest generation."""
        return self._directory.agent(town_id, agent_id).newest()

    def user_of(self, town_id: str, agent_id: str) -> int | None:
        """The user that only this agent has; None if it runs as our own user, or never ran."""
        return self._directory.agent(town_id, agent_id).user

    def was_stopped(self, town_id: str, agent_id: str, generation: int) -> bool:
        """Whether the stop of this generation was requested: it is never started again, whether or not it has ended."""
        return self._directory.agent(town_id, agent_id).generation(generation).was_stopped

    def running(self, town_id: str | None = None) -> tuple[RunningAgent, ...]:
        """Every generation with a living process, of one town or of all."""
        return tuple(
            RunningAgent(order.town_id, order.agent_id, generation.number, min(alive))
            for home in self._directory.agents(town_id)
            for generation in home.generations()
            if (alive := generations.living(generation))
            for order in [generation.context()]
            if order is not None
        )

    def stop_all(self, town_id: str | None = None) -> tuple[RunningAgent, ...]:
        """Stop every agent, of one town or of all, and return those that survived: normally none."""
        found = self.running(town_id)
        if found:
            with ThreadPoolExecutor(max_workers=min(16, len(found))) as pool:
                list(pool.map(self._stop_found, found))
        return self.running(town_id)

    def _stop_found(self, agent: RunningAgent) -> None:
        self.stop(agent.town_id, agent.agent_id, generation=agent.generation, effect_id="stop-all")

    def _start_locked(
        self, home: AgentHome, generation: GenerationFiles, launch: Launch, *, lock: int
    ) -> Started | StartRejected | StartUnknown:
        """Return the answer of an earlier attempt, or make the attempt."""
        earlier = generations.earlier_answer(generation, launch.effect_id)
        if earlier is not None:
            return earlier
        overtaken = _overtaken(home, generation)
        if overtaken is not None:
            return StartRejected(overtaken)
        budget = Budget(CALL_BUDGET_SECONDS)
        for older in home.generations():
            if not generations.end(older, budget):
                return StartRejected(f"generation {older.number} of this agent does not end; kill its processes")
        generations.forget_old(home)
        try:
            user = self._user_of(home)
        except NoUserLeft as error:
            return StartRejected(str(error), kind="no_capacity")
        work = home.own_directory("work", user=user)
        generation.lay_out(told(launch.order), user=user)
        try:
            place = self._prepare(launch, work, lambda: _overtaken(home, generation) is not None)
            more = self._variables(launch, work)
        except NotPrepared as error:
            if user is not None:
                supervisor.end_user(user)  # what git ran for it
            reason = _overtaken(home, generation) or str(error)
            generation.reject(launch.effect_id, reason)
            return StartRejected(reason)
        if user is not None and not supervisor.end_user(user):  # git ran what an earlier generation configured
            return StartRejected(f"processes of user {user} survived a KILL")
        overtaken = _overtaken(home, generation)
        if overtaken is not None:
            return StartRejected(overtaken)
        self._spawn(generation, replace(launch, environment={**launch.environment, **more}), place, lock=lock)
        wait_for(
            lambda: generations.earlier_answer(generation, launch.effect_id) is not None, seconds=CALL_BUDGET_SECONDS
        )
        answer = generations.earlier_answer(generation, launch.effect_id)
        return answer or StartUnknown("the supervisor has not answered in time")

    def _user_of(self, home: AgentHome) -> int | None:
        """The user as which an agent runs, of whom no process is left; None for our own. Raises NoUserLeft, OSError."""
        if self._users is None:
            remove(home.directory / USER)  # an earlier server gave it one
            return None
        user = self._users.user_of(home)
        self._users.let_pass(self._directory.root, home.directory.parent, home.directory)
        for name in ("home", "tmp"):
            home.own_directory(name, user=user)
        if not supervisor.end_user(user):
            raise OSError(errno.EBUSY, f"processes of user {user} survived a KILL")
        return user

    def _spawn(self, generation: GenerationFiles, launch: Launch, place: Path, *, lock: int) -> None:
        """Start the supervisor, which starts the agent and holds our lock until it has recorded the start."""
        user = generation.user
        script = [
            sys.executable,
            "-I",
            "-S",
            supervisor.__file__,
            str(generation.directory),
            str(lock),
            launch.effect_id,
            supervisor.NOBODY_ELSE if user is None else str(user),
        ]
        process = subprocess.Popen(
            [*script, *self._wrap(generation, self._command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=place,
            env=self._agent_environment(generation, launch),
            pass_fds=(lock,),
            start_new_session=True,
        )
        # A parent must wait for its child, or the child stays in the process table as a zombie.
        threading.Thread(target=process.wait, name=f"reaper-{process.pid}", daemon=True).start()

    def _agent_environment(self, generation: GenerationFiles, launch: Launch) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        home = generation.directory.parent
        ours = {supervisor.MARK_VARIABLE: generation.mark, HOME_VARIABLE: str(home / "work")}
        if generation.user is not None:
            ours |= {"HOME": str(home / "home"), "TMPDIR": str(home / "tmp")}
        return inherited | self._environment | dict(launch.environment) | ours


def _overtaken(home: AgentHome, generation: GenerationFiles) -> str | None:
    """Why this generation must not be started; None if it may be."""
    newest = home.newest()
    if newest is not None and newest.number > generation.number:
        return f"superseded: generation {newest.number} of this agent was started before"
    if generation.was_stopped:
        return "this generation was stopped before it was started"
    return None
