"""The supervisor: the small process that is the parent of a local agent; and functions that find and kill processes.

Only the parent of a process learns its exit code, and townctl may be gone when an agent ends. So each agent has a parent of
its own that outlives townctl: it starts the command in a new session, writes `process.json`, waits, kills whatever the agent
left running, and writes `exit.json`. It runs as a script (`python -I -S local_supervisor.py`), so this module uses only the
standard library.

Two facts make killing by pid safe. Pids are reused, but the pair of pid and start time is not; `identity` combines it with
the id of the boot. And a descendant may leave its group, its session and its parent, but it keeps the environment that it was
started with: every process with the agent's mark in its environment belongs to the agent. Only a process that clears its
environment after it has left the session escapes; only a container can stop that.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

MARK_VARIABLE: Final = "TOWN_AGENT_CONTEXT"
CONTEXT, PROCESS, REJECTED, EXIT, LOG = (
    "context.json",
    "process.json",
    "rejected.json",
    "exit.json",
    "agent.log",
)
_PROC: Final = Path("/proc")
_SWEEP_SECONDS: Final = 5.0
LARGEST_LOG: Final = 8 << 20
_KEPT_OF_LOG: Final = 1 << 20
_LOOK_AT_LOG_SECONDS: Final = 1.0


def write_atomically(path: Path, value: object) -> None:
    """Write a JSON file so that a reader, even after a power failure, sees all of it or nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, sort_keys=True)
        file.flush()
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


def supervise(directory: Path, lock: int, *, effect_id: str, command: list[str]) -> None:
    """Run one agent to its end. `lock` is an inherited file lock; it is released once `process.json` or `rejected.json` exists."""
    mark = os.environ[MARK_VARIABLE]
    try:
        with (directory / LOG).open("ab") as log:
            agent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    except OSError as error:
        write_atomically(directory / REJECTED, {"effect_id": effect_id, "reason": _why_not_started(command, error)})
        return
    facts = {"effect_id": effect_id, "pid": agent.pid, "started": identity(agent.pid) or "ended at once"}
    facts |= {"supervisor_pid": os.getpid(), "supervisor_started": identity(os.getpid())}
    write_atomically(directory / PROCESS, facts)
    os.close(lock)
    _pass_on_signals(agent)
    threading.Thread(target=_keep_short, args=(directory / LOG,), daemon=True).start()
    _await_end(agent)
    _end_what_is_left(mark, agent.pid)
    write_atomically(directory / EXIT, {"code": agent.wait()})


def _why_not_started(command: list[str], error: OSError) -> str:
    """Why the operating system did not start a command, and what to do about it."""
    return f"cannot run {command[0]!r}: {error.strerror}; set the runtime's command to a program that exists"


def _pass_on_signals(agent: "subprocess.Popen[bytes]") -> None:
    """Forward SIGTERM and SIGINT to the agent."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(agent.pid, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _keep_short(log: Path) -> None:
    """Truncate the log when it grows too long, keeping its end, so that an agent that prints without end cannot fill the disk."""
    while True:
        time.sleep(_LOOK_AT_LOG_SECONDS)
        with contextlib.suppress(OSError):
            if log.stat().st_size > LARGEST_LOG:
                with log.open("rb") as printed:
                    printed.seek(-_KEPT_OF_LOG, os.SEEK_END)
                    newest = printed.read()
                os.truncate(log, 0)  # the agent appends, so it continues at the new end
                with log.open("ab") as shorter:
                    shorter.write(b"[earlier output was removed: the log grew too long]\n" + newest)


def _await_end(agent: "subprocess.Popen[bytes]") -> None:
    """Wait until the agent has ended, but leave it as a zombie, so that its pid is not reused."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, agent.pid, os.WEXITED | os.WNOWAIT)
    else:
        agent.wait()


def _end_what_is_left(mark: str, leader: int) -> None:
    """Kill what an ended agent left running."""
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
    supervise(Path(sys.argv[1]), int(sys.argv[2]), effect_id=sys.argv[3], command=sys.argv[4:])
