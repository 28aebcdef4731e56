"""The program's process in one turn: its lines, and its end with everything that it started.

Lines arrive in a bounded queue, so a program that prints faster than it is read has to wait. A line that is too long is dropped
and leaves a mark, since no event of any program needs it. On Linux, this process becomes the parent of orphans that the program
leaves, so that it finds them.
"""

import contextlib
import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from infra.agents.drivers.contract import Start
from shared.adapters import local_supervisor as supervisor
from shared.adapters.clock import Budget, wait_for

LONGEST_LINE: Final = 4 << 20
_READ_AT_ONCE: Final = 1 << 16
_WAITING_BYTES: Final = 16 << 20
_LEAST_WEIGHT: Final = 64 << 10
_POLITE_SECONDS: Final = 0.8
_LAST_WORDS_SECONDS: Final = 2.0
_SWEEP_SECONDS: Final = 2.0
_LAST_READ_SECONDS: Final = 0.5
_SET_CHILD_SUBREAPER: Final = 36


@dataclass(frozen=True, slots=True)
class Line:
    """A line of output. `content` is None if it was too long."""

    content: bytes | None
    is_error_output: bool


class _Lines(queue.Queue[Line | None]):
    """A queue whose size is counted in bytes: a few hundred lines of the largest size would take all memory."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._bytes = 0

    def _qsize(self) -> int:
        return self._bytes

    def _put(self, item: Line | None) -> None:
        super()._put(item)
        self._bytes += _weight(item)

    def _get(self) -> Line | None:
        item = super()._get()
        self._bytes -= _weight(item)
        return item


class Child:
    """One running program. Raises OSError if it cannot be started."""

    def __init__(self, start: Start, environment: Mapping[str, str]) -> None:
        self._lines = _Lines(_WAITING_BYTES)
        self._open_outputs = 2
        self._given_up = threading.Event()
        self._is_dead = threading.Event()
        self._last_words: Budget | None = None
        self._process = subprocess.Popen(
            start.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**environment, **start.environment},
            start_new_session=True,
        )
        outputs = ((self._process.stdout, False), (self._process.stderr, True))
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in outputs]
        for reader in self._readers:
            reader.start()
        threading.Thread(target=self._write, args=(start.stdin.encode(errors="replace"),), daemon=True).start()

    def line(self, *, seconds: float) -> Line | None:
        """The next line; None if none came in time. When `has_ended`, there are no more."""
        try:
            found = self._lines.get(timeout=seconds)
        except queue.Empty:
            return None
        if found is None:
            self._open_outputs -= 1
        return found

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended and all that it printed was read. What it left running may hold its outputs open, so they
        are waited for no longer than a moment.
        """
        if self._process.poll() is None:
            return False
        if self._last_words is None:
            self._last_words = Budget(_LAST_WORDS_SECONDS)
        if self._last_words.left() == 0:
            self._given_up.set()  # nothing more is taken in: what the program left running may print for ever
        return self._open_outputs == 0 or (self._given_up.is_set() and self._lines.empty())

    def end(self) -> int:
        """End the process politely, then by force. Returns its exit code; negative codes are signals."""
        self._given_up.set()
        if self._process.poll() is None:
            _signal_group(self._process.pid, signal.SIGTERM)
            wait_for(lambda: self._process.poll() is not None, seconds=_POLITE_SECONDS)
        _signal_group(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        self._is_dead.set()
        for reader in self._readers:  # it closes its output, unless what the program left running holds that open
            reader.join(timeout=_LAST_READ_SECONDS)
        return code

    def _read(self, output: IO[bytes], is_error_output: bool) -> None:
        """Put the lines of one output into the queue, then the mark of its end."""
        rest, is_too_long = b"", False
        while not self._is_dead.is_set() and (piece := _piece(output)):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._put(Line(None if is_too_long else line, is_error_output))
                is_too_long = False
            if len(rest) > LONGEST_LINE:
                rest, is_too_long = b"", True
        if rest or is_too_long:
            self._put(Line(None if is_too_long else rest, is_error_output))
        output.close()
        self._put(None)

    def _put(self, line: Line | None) -> None:
        while not self._given_up.is_set():
            with contextlib.suppress(queue.Full):
                return self._lines.put(line, timeout=0.5)
        return None

    def _write(self, prompt: bytes) -> None:
        """Give the program its prompt. One that ends before it has read all of it says itself why."""
        stdin = self._process.stdin
        if stdin is not None:
            with contextlib.suppress(OSError), stdin:
                stdin.write(prompt)


def adopt_orphans() -> None:
    """Become the parent of processes whose parent ends, so that their marks and sessions are still found among our own."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_everything(mark: str) -> None:
    """Kill every process of this agent but this one and those that started it."""
    spared = _self_and_ancestors()

    def none_is_left() -> bool:
        left = set(supervisor.marked(mark)) - spared
        supervisor.kill_all(left)
        _reap()
        return not left

    wait_for(none_is_left, seconds=_SWEEP_SECONDS)


def _weight(line: Line | None) -> int:
    return _LEAST_WEIGHT if line is None or line.content is None else _LEAST_WEIGHT + len(line.content)


def _piece(output: IO[bytes]) -> bytes:
    try:
        return os.read(output.fileno(), _READ_AT_ONCE)
    except (OSError, ValueError):
        return b""


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _self_and_ancestors() -> set[int]:
    found, pid = set[int](), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        pid = _parent_of(pid)
    return found


def _parent_of(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        status = (Path("/proc") / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
        return int(status.partition("\nPPid:")[2].partition("\n")[0])
    return 0


def _reap() -> None:
    """Take note of the orphans that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
