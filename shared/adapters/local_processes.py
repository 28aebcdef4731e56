"""Agents as processes of this machine: the runtime of `townctl demo`, of `townctl serve` and of a laptop.

Nothing is held in memory. Every answer is read from files (`local_state`) and from the process table, so another
townctl, or the same one after a restart, finds what runs. Three rules make that safe:

- A start and a stop of the same agent exclude one another by a file lock. The supervisor inherits the lock and lets
  it go when it has written down what it started; so a townctl that dies in the middle leaves either a record or no
  process.
- A newer generation supersedes: what is left of older ones is killed before the new one starts, and a start order
  older than the newest generation, or one that was stopped before it started, is refused.
- A generation is killed by the identity of its processes (pid with start time, mark in the environment), never by a
  bare pid; and it counts as ended only when nothing of it is left.

Needs a POSIX system. On Linux descendants are found wherever they went; elsewhere only those in the agent's process
group.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.adapters import local_supervisor as supervisor
from shared.adapters.clock import Budget, wait_for
from shared.adapters.local_state import AgentHome, Generation, Recorded, RuntimeDirectory
from shared.domain.ports import Done, NotDone, ProcessStatus, Started, StartRejected, StartUnknown

CALL_BUDGET_SECONDS: Final = 10.0
TERM_GRACE_SECONDS: Final = 2.0
_EXIT_CODE_SECONDS: Final = 1.0
_KEPT_GENERATIONS: Final = 10
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """One generation of which at least one process lives."""

    town_id: str
    agent_id: str
    generation: int
    pid: int


class _Busy(Exception):
    """Another start or stop of the same agent did not end in time."""


class LocalProcessRuntime:
    """Runs agents as local processes below `root`. Implements `AgentRuntime`; safe for threads and for several
    processes.

    `command` is the program with its arguments. It finds the path of its start order in TOWN_AGENT_CONTEXT, a working
    directory of its own that later generations find again, and of our environment only what any program needs, plus
    `environment`.
    """

    def __init__(self, root: Path, *, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._directory = RuntimeDirectory(root.resolve())  # one spelling of each path, for it is the mark
        self._command = list(command)
        self._environment = dict(environment or {})

    def start(self, order: Mapping[str, Any], *, effect_id: str) -> Started | StartRejected | StartUnknown:
        """Start one agent process; the same effect id again gives the first answer."""
        home = self._directory.agent(order["town_id"], order["agent_id"])
        generation = home.generation(int(order["generation"]))
        budget = Budget(CALL_BUDGET_SECONDS)
        try:
            with _locked(home, budget) as lock:
                return self._start_locked(home, generation, order, effect_id=effect_id, lock=lock, budget=budget)
        except _Busy:
            return StartUnknown("another start or stop of this agent is still going on")
        except OSError as error:
            return StartRejected(
                f"cannot start under {home.directory}: {error}; check its rights and this machine's limits"
            )

    def stop(self, town_id: str, agent_id: str, *, generation: int, effect_id: str) -> Done | NotDone:
        """Stop that generation of the agent and no other, with all its descendants; "not running" is Done."""
        home = self._directory.agent(town_id, agent_id)
        budget = Budget(CALL_BUDGET_SECONDS)
        try:
            with _locked(home, budget):
                target = home.generation(generation)
                target.mark_stopped(effect_id)
                ended = _end(target, budget)
        except _Busy:
            return NotDone("another start or stop of this agent is still going on", passing=True)
        except OSError as error:
            return NotDone(f"cannot stop under {home.directory}: {error}", passing=True)
        return Done() if ended else NotDone(f"processes of generation {generation} survived a KILL", passing=True)

    def status(self, town_id: str, agent_id: str) -> ProcessStatus:
        """The newest process of the agent: `not_found` if there never was one, `unknown` if nobody can tell."""
        try:
            return _status_in(self._directory.agent(town_id, agent_id))
        except OSError as error:
            return ProcessStatus("unknown", str(error))

    def message(self, town_id: str, agent_id: str, *, message_id: str, text: str, mode: str) -> Done | NotDone:
        """Put a text into the running agent's mailbox; an id that any generation of it has seen is Done."""
        generations = self._directory.agent(town_id, agent_id).generations()
        if any(generation.has_message(message_id) for generation in generations):
            return Done()
        if not generations or not _is_running(generations[0]):
            return NotDone("the agent is not running", passing=True)
        try:
            generations[0].deliver(message_id, {"message_id": message_id, "text": text, "mode": mode})
        except OSError as error:
            return NotDone(f"cannot write into {generations[0].directory}: {error.strerror}", passing=True)
        return Done()

    def update_model(self, order: Mapping[str, Any], *, effect_id: str) -> Done | NotDone:
        """Write the model where the agent looks for it; one that never ran gets it in its next order."""
        home = self._directory.agent(order["town_id"], order["agent_id"])
        with contextlib.suppress(FileNotFoundError):
            supervisor.write_atomically(home.directory / "model.json", {**order, "effect_id": effect_id})
        return Done()

    def refresh_token(self, town_id: str, *, effect_id: str) -> Done | NotDone:  # noqa: ARG002 - the port's shape
        """Nothing to do: a local agent reads and writes with the rights of the user who runs it."""
        return Done()

    def stop_container(self, town_id: str, *, effect_id: str) -> Done | NotDone:  # noqa: ARG002 - as above
        """Nothing to do: local agents share no container, and each ends by itself."""
        return Done()

    def container_state(self, town_id: str) -> str:  # noqa: ARG002 - as above
        """`none`: local agents live in no container."""
        return "none"

    def running(self, town_id: str | None = None) -> tuple[RunningAgent, ...]:
        """Every generation of which a process lives, of one town or of all."""
        return tuple(
            RunningAgent(str(order.get("town_id")), str(order.get("agent_id")), generation.number, min(alive))
            for home in self._directory.agents(town_id)
            for generation in home.generations()
            if (alive := _living(generation))
            for order in [generation.context()]
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
        self,
        home: AgentHome,
        generation: Generation,
        order: Mapping[str, Any],
        *,
        effect_id: str,
        lock: int,
        budget: Budget,
    ) -> Started | StartRejected | StartUnknown:
        """Give the answer of an earlier attempt, or make the attempt."""
        earlier = _earlier_answer(generation, effect_id)
        if earlier is not None:
            return earlier
        newest = home.newest()
        if newest is not None and newest.number > generation.number:
            return StartRejected(f"superseded: generation {newest.number} of this agent was started before")
        if generation.was_stopped:
            return StartRejected("this generation was stopped before it was started")
        for living in home.generations():
            if not _end(living, budget):
                return StartRejected(f"generation {living.number} of this agent does not end; kill its processes")
        _forget_old(home)
        generation.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        supervisor.write_atomically(Path(generation.mark), dict(order))
        self._spawn(home, generation, effect_id=effect_id, lock=lock)
        wait_for(lambda: _earlier_answer(generation, effect_id) is not None, seconds=budget.left())
        return _earlier_answer(generation, effect_id) or StartUnknown("the supervisor has not answered in time")

    def _spawn(self, home: AgentHome, generation: Generation, *, effect_id: str, lock: int) -> None:
        """Start the supervisor, which starts the agent, holding our lock until it has written down what it did."""
        work = home.directory / "work"
        work.mkdir(exist_ok=True)
        script = [
            sys.executable,
            "-I",
            "-S",
            supervisor.__file__,
            str(generation.directory),
            str(lock),
            effect_id,
        ]
        process = subprocess.Popen(
            script + self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=work,
            env=self._agent_environment(generation),
            pass_fds=(lock,),
            start_new_session=True,
        )
        # Whoever starts a process must ask for its end, or it stays in the process table as a zombie.
        threading.Thread(target=process.wait, name=f"reaper-{process.pid}", daemon=True).start()

    def _agent_environment(self, generation: Generation) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return inherited | self._environment | {supervisor.MARK_VARIABLE: generation.mark}


@contextlib.contextmanager
def _locked(home: AgentHome, budget: Budget) -> Iterator[int]:
    """Hold the lock of one agent. It is let go by closing, never by unlocking: a supervisor may hold it with us."""
    home.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(home.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not wait_for(lambda: _try_lock(lock), seconds=budget.left()):
            raise _Busy
        yield lock
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _earlier_answer(generation: Generation, effect_id: str) -> Started | StartRejected | None:
    """What became of an earlier attempt to start this generation; None if there was none that got so far."""
    reason = generation.rejection()
    if reason is not None:
        return StartRejected(reason)
    recorded = generation.recorded()
    if recorded is None:
        return None
    if recorded.effect_id != effect_id:
        return StartRejected(f"generation {generation.number} of this agent was started under another effect id before")
    return Started(str(recorded.pid))


def _status_in(home: AgentHome) -> ProcessStatus:
    """What the files of an agent and the process table say of its newest generation."""
    newest = home.newest()
    if newest is None:
        return ProcessStatus("not_found")
    recorded = newest.recorded()
    if recorded is None:
        return _not_recorded(home, newest)
    if recorded.agent_is_alive:
        return ProcessStatus("running", generation=newest.number)
    wait_for(lambda: _is_settled(newest, recorded), seconds=_EXIT_CODE_SECONDS)
    return ProcessStatus("exited", newest.exit_reason() or newest.reason_without_code(), newest.number)


def _not_recorded(home: AgentHome, generation: Generation) -> ProcessStatus:
    """The status of a generation without process: it is being started now, or it never ran."""
    with contextlib.suppress(OSError), (home.directory / "lock").open("rb") as lock:
        if not _try_lock(lock.fileno()):
            return ProcessStatus("starting", generation=generation.number)
    return ProcessStatus("not_found", generation.rejection(), generation.number)


def _is_running(generation: Generation) -> bool:
    recorded = generation.recorded()
    return recorded is not None and recorded.agent_is_alive


def _is_settled(generation: Generation, recorded: Recorded) -> bool:
    """Whether no more will be learned about an end: the code stands, or nobody is left to write it."""
    return generation.exit_reason() is not None or not recorded.supervisor_is_alive


def _living(generation: Generation) -> set[int]:
    """The agent's process, if it is still the recorded one, and everything that belongs to it; without the
    supervisor.
    """
    if generation.exit_reason() is not None:
        return set()
    recorded = generation.recorded()
    alive = set(supervisor.marked(generation.mark))
    if recorded is None:
        return alive
    if recorded.agent_is_alive:
        alive |= {recorded.pid, *supervisor.in_session(recorded.pid)}
    return alive - {recorded.supervisor_pid}


def _end(generation: Generation, budget: Budget) -> bool:
    """End one generation, politely first, and say whether nothing of it is left."""
    recorded = generation.recorded()
    # Who belongs to the agent's session can be told only as long as the agent lives; so it is noted before the TERM.
    known = {pid: supervisor.identity(pid) for pid in _living(generation)}
    if recorded is not None and recorded.agent_is_alive:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(recorded.pid, signal.SIGTERM)
        wait_for(lambda: not recorded.agent_is_alive, seconds=budget.left(at_most=TERM_GRACE_SECONDS))
    if not wait_for(lambda: _killed(generation, known), seconds=budget.left()):
        return False
    if recorded is not None:
        wait_for(lambda: not recorded.supervisor_is_alive, seconds=budget.left(at_most=_EXIT_CODE_SECONDS))
        if recorded.supervisor_is_alive:
            supervisor.kill_all({recorded.supervisor_pid})
    return True


def _killed(generation: Generation, known: Mapping[int, str | None]) -> bool:
    """Kill whatever lives of a generation and of what was known of it before; True when there was nothing."""
    alive = _living(generation) | {
        pid for pid, started in known.items() if started and supervisor.is_alive(pid, started)
    }
    supervisor.kill_all(alive)
    return not alive


def _forget_old(home: AgentHome) -> None:
    """Remove the files of generations long gone; logs and mailboxes would pile up otherwise."""
    for old in home.generations()[_KEPT_GENERATIONS:]:
        shutil.rmtree(old.directory, ignore_errors=True)
