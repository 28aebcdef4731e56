"""The processes of one generation of a local agent: which of them are alive, their status, and how to end them.

Everything is read from the agent's files (`local_state`) and the process table (`local_supervisor`); nothing is held in
memory. A generation has ended only when none of its processes is left.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from typing import Final

from shared.adapters import local_supervisor as supervisor
from shared.adapters.clock import Budget, wait_for
from shared.adapters.local_removal import remove
from shared.adapters.local_state import AgentHome, AgentProcesses, GenerationFiles
from shared.domain.processes import ProcessStatus
from shared.ports.runtime import Started, StartRejected

TERM_GRACE_SECONDS: Final = 2.0
_EXIT_CODE_SECONDS: Final = 1.0
_KEPT_GENERATIONS: Final = 10


def earlier_answer(generation: GenerationFiles, effect_id: str) -> Started | StartRejected | None:
    """The outcome of an earlier attempt to start this generation; None if no attempt got that far."""
    reason = generation.rejection()
    if reason is not None:
        return StartRejected(reason)
    recorded = generation.recorded()
    if recorded is None:
        return None
    if recorded.effect_id != effect_id:
        return StartRejected(f"generation {generation.number} of this agent was started under another effect id before")
    return Started(str(recorded.pid))


def status_in(home: AgentHome, *, is_locked: Callable[[], bool]) -> ProcessStatus:
    """The status of an agent's newest generation, from files and process table.

    If it has no process yet and the agent's lock is held, it is being started.
    """
    newest = home.newest()
    if newest is None:
        return ProcessStatus("not_found")
    recorded = newest.recorded()
    if recorded is None and is_locked():
        return ProcessStatus("starting", generation=newest.number)
    recorded = recorded or newest.recorded()  # the lock may have just been released, after the record was written
    if recorded is None:
        return ProcessStatus("not_found", newest.rejection(), newest.number)
    if recorded.agent_is_alive:
        return ProcessStatus("running", generation=newest.number)
    wait_for(lambda: _is_settled(newest, recorded), seconds=_EXIT_CODE_SECONDS)
    return ProcessStatus("exited", newest.exit_reason() or newest.reason_without_code(), newest.number)


def is_running(generation: GenerationFiles) -> bool:
    """Whether the agent's own process is alive."""
    recorded = generation.recorded()
    return recorded is not None and recorded.agent_is_alive


def living(generation: GenerationFiles) -> set[int]:
    """The agent's process, if it is still the recorded one, and all processes that belong to it, except the supervisor.

    If the agent has a user of its own, these are all processes of the user. An older generation has only those that bear its
    mark, because the others may belong to the newer one.
    """
    if generation.exit_reason() is not None:
        return set()
    recorded = generation.recorded()
    user = generation.user
    if user is not None:
        of_user = set(supervisor.of_user(user))
        if recorded is not None and is_newest_recorded(generation):
            return of_user
        return of_user & set(supervisor.marked(generation.mark))
    alive = set(supervisor.marked(generation.mark))
    if recorded is None:
        return alive
    if recorded.agent_is_alive:
        alive |= {recorded.pid, *supervisor.in_session(recorded.pid)}
    return alive - {recorded.supervisor_pid}


def is_newest_recorded(generation: GenerationFiles) -> bool:
    """Whether no newer generation of the agent was run."""
    newer = AgentHome(generation.directory.parent).generations()
    return not any(each.recorded() is not None for each in newer if each.number > generation.number)


def end(generation: GenerationFiles, budget: Budget, *, polite: signal.Signals = signal.SIGTERM) -> bool:
    """End one generation: first with the signal `polite`, then with SIGKILL. Returns whether none of its processes is left."""
    recorded = generation.recorded()
    # The processes in the agent's session can be found only while the agent is alive, so note them before the signal.
    known = {pid: supervisor.identity(pid) for pid in living(generation)}
    if recorded is not None and recorded.agent_is_alive and polite is not signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(recorded.pid, polite)
        wait_for(lambda: not recorded.agent_is_alive, seconds=budget.left(at_most=TERM_GRACE_SECONDS))
    user = generation.user
    if user is not None and is_newest_recorded(generation):  # whether or not its end is recorded
        if not supervisor.end_user(user, seconds=budget.left()):
            return False
    elif not wait_for(lambda: _killed(generation, known), seconds=budget.left()):
        return False
    if recorded is not None:
        wait_for(lambda: not recorded.supervisor_is_alive, seconds=budget.left(at_most=_EXIT_CODE_SECONDS))
        if recorded.supervisor_is_alive:
            supervisor.kill_all({recorded.supervisor_pid})
    return True


def forget_old(home: AgentHome) -> None:
    """Remove the files of old generations, so that logs and mailboxes do not accumulate."""
    for old in home.generations()[_KEPT_GENERATIONS + 1 :]:
        with contextlib.suppress(OSError):  # the next start tries again
            remove(old.directory)


def _is_settled(generation: GenerationFiles, recorded: AgentProcesses) -> bool:
    """Whether the record of an end is final: the exit code is written, or no supervisor is left to write it."""
    return generation.exit_reason() is not None or not recorded.supervisor_is_alive


def _killed(generation: GenerationFiles, known: Mapping[int, str | None]) -> bool:
    """Kill the living processes of a generation, including those noted before; returns whether there were none."""
    alive = living(generation) | {
        pid for pid, started in known.items() if started and supervisor.is_alive(pid, started)
    }
    supervisor.kill_all(alive)
    return not alive
