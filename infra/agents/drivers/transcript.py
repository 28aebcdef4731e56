"""The transcript of an agent: readable lines on standard output, and one JSON object a line in `transcript.jsonl` on the desk.

Whatever looks like a secret is removed from both. The file holds the newest events: when it grows too long, its older half is
dropped.
"""

import contextlib
import json
import os
import stat
import sys
import threading
from pathlib import Path
from typing import Final, TextIO

from infra.agents.drivers.scrubbing import Scrubber
from shared.domain import times
from shared.ports.clock import Clock

TRANSCRIPT: Final = "transcript.jsonl"
LARGEST: Final = 8 << 20
_LONGEST_SAID: Final = 6_000
_LONGEST_OUTPUT: Final = 2_000
_LONGEST_SECRET: Final = 1_000


class Transcript:
    """Writes what was said and done. Thread-safe."""

    def __init__(self, desk: Path, clock: Clock, scrub: Scrubber, *, out: TextIO | None = None) -> None:
        self._path = desk / TRANSCRIPT
        self._scrub = scrub
        self._clock = clock
        self._out = out or sys.stdout
        self._guard = threading.Lock()

    def prompt(self, text: str) -> None:
        """The program gets a prompt."""
        self._write("prompt", text, longest=_LONGEST_SAID, mark=">")

    def said(self, text: str) -> None:
        """The model says something."""
        self._write("text", text, longest=_LONGEST_SAID)

    def tool(self, tool: str, about: str) -> None:
        """A tool is called."""
        self._write("tool", f"{tool} {about}", longest=_LONGEST_OUTPUT, mark="$")

    def output(self, text: str, *, failed: bool) -> None:
        """A tool has ended with this output."""
        kind = "tool_failed" if failed else "tool_output"
        self._write(kind, text, longest=_LONGEST_OUTPUT, mark="!" if failed else " ")

    def complaint(self, text: str) -> None:
        """The program prints something that is no event."""
        self._write("error_output", text, longest=_LONGEST_OUTPUT, mark="!")

    def note(self, text: str) -> None:
        """The driver says something itself."""
        self._write("driver", text, longest=_LONGEST_SAID, mark="driver:")

    def without_secrets(self, text: str, *, longest: int = _LONGEST_SAID) -> str:
        """The beginning of a text as everybody may read it."""
        return self._scrub(text, most=longest)

    def _write(self, kind: str, text: str, *, longest: int, mark: str = "") -> None:
        shown = self.without_secrets(text, longest=longest).strip("\n")
        if not shown.strip():
            return
        at = times.to_text(self._clock.now())
        lines = "\n".join(
            f"{mark} {line}".lstrip(" ") if mark.strip() else f"{mark}{line}" for line in shown.split("\n")
        )
        with self._guard, contextlib.suppress(OSError):
            print(lines, file=self._out, flush=True)
            self._add(json.dumps({"at": at, "kind": kind, "text": shown}, ensure_ascii=False) + "\n")

    def _add(self, line: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise OSError("the agent has put a pipe there, whose writer would have to wait")
            size = found.st_size
            if size > LARGEST:
                newest = os.pread(handle, LARGEST // 2, size - LARGEST // 2)
                os.ftruncate(handle, 0)
                file.write(newest.partition(b"\n")[2])
            file.write(line.encode(errors="replace"))
