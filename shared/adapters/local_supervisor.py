"""The supervisor: the small process that is the parent of a local agent; and functions that find and kill processes.

Only the parent of a process learns its exit code, and townctl may be gone when an agent ends. So each agent has a parent of
its own that outlives townctl: it starts the command in a new session, writes `process.json`, waits, kills whatever the agent
left running, and writes `exit.json`. It runs as a script (`python -I -S local_supervisor.py`), so this module uses only the
standard library.

Three facts make killing by pid safe. Pids are reused, but the pair of pid and start time is not; `identity` combines it with
the id of the boot. A descendant may leave its group, its session and its parent, but it keeps the environment that it was
started with: every process with the agent's mark in its environment belongs to the agent. And an agent with a user of its own
cannot leave that user: every process of the user belongs to the agent. Without a user of its own, a process that clears its
environment after it has left the session escapes.

The agent writes into a pipe, not into its log, so it can neither rewrite nor grow the log.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final, TypedDict

MARK_VARIABLE: Final = "TOWN_AGENT_CONTEXT"
CONTEXT, PROCESS, REJECTED, EXIT, LOG = (
    "context.json",
    "process.json",
    "rejected.json",
    "exit.json",
    "agent.log",
)
_PROC: Final = Path("/proc")
_USER_END: Final = Path(__file__).with_name("local_user_end.py")
_SWEEP_SECONDS: Final = 5.0
LARGEST_LOG: Final = 8 << 20
_KEPT_OF_LOG: Final = 1 << 20
_LAST_WORDS_SECONDS: Final = 1.0
_READ_AT_ONCE: Final = 1 << 16
_MOST_PROCESSES: Final = 4096
_SET_NO_NEW_PRIVILEGES: Final = 38
NOBODY_ELSE: Final = "-"
"""In place of a user id: the agent runs as the user of its supervisor."""


def write_atomically(path: Path, value: object, *, reader: int | None = None) -> None:
    """Write a JSON file so that a reader, even after a power failure, sees all of it or nothing.

    Only this user can read the file, and the group `reader` if one is given. A link at the place of the file is replaced.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8"
    ) as file:
        json.dump(value, file, ensure_ascii=False, sort_keys=True)
        file.flush()
        if reader is not None:
            os.fchown(file.fileno(), -1, reader)
            os.fchmod(file.fileno(), 0o640)
        os.fsync(file.fileno())
    draft.replace(path)


def identity(pid: int) -> str | None:
    """A text that distinguishes this process from all others with its pid; None if it is not alive. A zombie is not alive."""
    if not _has_proc():
        return _identity_by_ps(pid)
    fields = _stat(pid)
    if fields is None or fields[0] in ("Z", "X"):
        return None
    return f"{_boot_id()}:{fields[19]}"


def is_alive(pid: int, started: str) -> bool:
    """Whether the process that was recorded as (pid, started) still runs."""
    return identity(pid) == started


def marked(mark: str) -> Iterator[int]:
    """Living processes that were started with the mark in their environment. Without /proc, none are found."""
    needle = f"{MARK_VARIABLE}={mark}".encode()
    for pid in _all_pids():
        with contextlib.suppress(OSError):
            if needle in (_PROC / str(pid) / "environ").read_bytes().split(b"\0") and identity(pid) is not None:
                yield pid


def of_user(user: int) -> Iterator[int]:
    """Living processes whose real, effective, saved or file system user is this one."""
    for pid in _all_pids():
        with contextlib.suppress(OSError, ValueError):
            status = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
            users = status.partition("\nUid:")[2].partition("\n")[0].split()
            if str(user) in users and identity(pid) is not None:
                yield pid


def kill_user(user: int) -> bool:
    """Kill every process of a user at once, so that none can start another meanwhile, and remove its shared memory, message
    queues and semaphores, which outlive processes. Needs the rights of root.

    Returns whether that was done: a process that kills all others of its user may have killed the one that does it.
    """
    ends = [sys.executable, "-I", "-S", str(_USER_END), str(user)]
    return subprocess.run(ends, check=False, stderr=subprocess.DEVNULL, env={}, cwd="/").returncode == 0


def end_user(user: int, *, seconds: float = _SWEEP_SECONDS) -> bool:
    """Kill the processes of a user until there are none, for at most `seconds`. Returns whether none is left.

    It kills even if it sees none: a process that replaces itself all the time is in no list of processes.
    """
    end = time.monotonic() + seconds
    while not kill_user(user) or any(True for _ in of_user(user)):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class AsUser(TypedDict, total=False):
    """Arguments of `subprocess`."""

    user: int
    group: int
    extra_groups: list[int]
    umask: int


def as_user(user: int | None) -> AsUser:
    """The arguments of `subprocess` with which a process runs as a user of its own: no other group, files for nobody else."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": [], "umask": 0o077}


def in_session(leader: int) -> Iterator[int]:
    """Living processes of the session that `leader` opened; without /proc, of its process group.

    Call it only if the leader is, or just was, the recorded process: a reused pid leads another session.
    """
    if not _has_proc():
        yield from _group_by_ps(leader)
        return
    for pid in _all_pids():
        fields = _stat(pid)
        if fields is not None and fields[3] == str(leader) and fields[0] not in ("Z", "X"):
            yield pid


def kill_all(pids: set[int]) -> None:
    """Kill each of these processes. Those that are gone are not an error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def supervise(directory: Path, lock: int, *, effect_id: str, user: int | None, command: list[str]) -> None:
    """Run one agent to its end, as `user` if one is given. `lock` is an inherited file lock; it is released once `process.json`
    or `rejected.json` exists.
    """
    mark = os.environ[MARK_VARIABLE]
    _limit(user)
    said, says = os.pipe()
    if user is not None:
        os.fchown(says, user, user)  # so that programs can open /dev/stdout and /dev/stderr
    try:
        agent = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=says, stderr=says, start_new_session=True, **as_user(user)
        )
    except (OSError, subprocess.SubprocessError) as error:
        write_atomically(directory / REJECTED, {"effect_id": effect_id, "reason": _why_not_started(command, error)})
        return
    os.close(says)
    log = threading.Thread(target=_keep, args=(said, directory / LOG), daemon=True)
    log.start()
    facts = {"effect_id": effect_id, "pid": agent.pid, "started": identity(agent.pid) or "ended at once"}
    facts |= {"supervisor_pid": os.getpid(), "supervisor_started": identity(os.getpid())}
    write_atomically(directory / PROCESS, facts)
    os.close(lock)
    _pass_on_signals(agent)
    _await_end(agent)
    _end_what_is_left(mark, agent.pid, user)
    log.join(_LAST_WORDS_SECONDS)
    write_atomically(directory / EXIT, {"code": agent.wait()})


def _limit(user: int | None) -> None:
    """What the agent inherits from its supervisor: it can gain no rights by running a program, and leaves no core file. An
    agent with a user of its own has a limit of processes, so that it cannot take them all from the machine.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if user is not None:
        most = min(each for each in (_MOST_PROCESSES, resource.getrlimit(resource.RLIMIT_NPROC)[1]) if each >= 0)
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def _why_not_started(command: list[str], error: Exception) -> str:
    """Why the operating system did not start a command, and what to do about it."""
    if isinstance(error, PermissionError):
        return f"cannot run {command[0]!r}: {error.strerror}; let the agent's user read and run the program and its directories"
    said = error.strerror if isinstance(error, OSError) else str(error)
    return f"cannot run {command[0]!r}: {said}; set the runtime's command to a program that exists"


def _pass_on_signals(agent: "subprocess.Popen[bytes]") -> None:
    """Forward SIGTERM and SIGINT to the agent."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(agent.pid, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _keep(said: int, path: Path) -> None:
    """Write what the agent says into its log. A log that grows too long is cut, and its end kept, so that an agent that prints
    without end cannot fill the disk. A full disk loses words, and does not stop the agent.
    """
    log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    while words := os.read(said, _READ_AT_ONCE):
        with contextlib.suppress(OSError):
            size = os.fstat(log).st_size
            if size > LARGEST_LOG - _READ_AT_ONCE:
                newest = os.pread(log, _KEPT_OF_LOG, size - _KEPT_OF_LOG)
                os.ftruncate(log, 0)
                os.write(log, b"[earlier output was removed: the log grew too long]\n" + newest)
            os.write(log, words)


def _await_end(agent: "subprocess.Popen[bytes]") -> None:
    """Wait until the agent has ended, but leave it as a zombie, so that its pid is not reused."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, agent.pid, os.WEXITED | os.WNOWAIT)
    else:
        agent.wait()


def _end_what_is_left(mark: str, leader: int, user: int | None) -> None:
    """Kill what an ended agent left running."""
    if user is not None:
        end_user(user)
        return
    end = time.monotonic() + _SWEEP_SECONDS
    while left := ({*marked(mark), *in_session(leader)} - {os.getpid()}):
        kill_all(left)
        if time.monotonic() > end:
            return
        time.sleep(0.01)


def _has_proc() -> bool:
    return (_PROC / "self" / "stat").exists()


def _all_pids() -> list[int]:
    return [int(path.name) for path in _PROC.iterdir() if path.name.isdigit()] if _has_proc() else []


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the command name, which may contain anything: state, ppid, pgrp, session, ..."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _boot_id() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "boot"


def _identity_by_ps(pid: int) -> str | None:
    columns = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    state, _, started = (
        subprocess.run(columns, check=False, capture_output=True, text=True).stdout.strip().partition(" ")
    )
    return started.strip() if started and not state.startswith("Z") else None


def _group_by_ps(leader: int) -> Iterator[int]:
    columns = ["ps", "-A", "-o", "pid=,pgid=,stat="]
    for line in subprocess.run(columns, check=True, capture_output=True, text=True).stdout.splitlines():
        pid, group, state = line.split(None, 2)
        if group == str(leader) and not state.startswith("Z"):
            yield int(pid)


if __name__ == "__main__":
    place, locked, effect, of = sys.argv[1:5]
    runs_as = None if of == NOBODY_ELSE else int(of)
    supervise(Path(place), int(locked), effect_id=effect, user=runs_as, command=sys.argv[5:])
