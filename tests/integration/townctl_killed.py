"""Ticks that are killed: for each store call of one tick, a process that dies by SIGKILL right before it, and one that
dies right after it.

    python -m tests.integration.townctl_killed TEMPLATE PLACE

Each case works on its own copy of the template directory, PLACE/<number>-<before or after>. The last line says how many
calls there were.
"""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from infra.townctl import command_line
from shared.adapters.directory_objects import DirectoryObjects

_CALLS = ("get", "get_if_changed", "create", "replace", "put", "delete", "list")


class DyingObjects(DirectoryObjects):
    """Objects in a directory whose call number `at` is the last thing that the process does, made or not."""

    def __init__(self, root: Path, *, at: int, when: str) -> None:
        super().__init__(root)
        self._calls = 0
        self._at = at
        self._when = when

    def __getattribute__(self, name: str) -> Any:
        """Count the calls of the port."""
        found = super().__getattribute__(name)
        return self._counted(found) if name in _CALLS and "_calls" in self.__dict__ else found

    def _counted(self, call: Any) -> Any:
        def made(*words: Any, **more: Any) -> Any:
            number, self._calls = self._calls, self._calls + 1
            if number == self._at and self._when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = call(*words, **more)
            if number == self._at and self._when == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return made


def run_and_die(template: Path, place: Path, *, at: int, when: str) -> bool:
    """Whether a tick on a copy of the template was killed: False if it had fewer calls."""
    data = place / f"{at:02}-{when}"
    shutil.copytree(template, data)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        words = ["--data", str(data), "tick", "alpha"]
        os._exit(command_line.run(words, objects=lambda root: DyingObjects(root, at=at, when=when)))
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, data
        shutil.rmtree(data)
        return False
    return os.WTERMSIG(status) == signal.SIGKILL


def run_all(template: Path, place: Path) -> int:
    """Kill at every call, before and after; how many calls there are."""
    at = 0
    while run_and_die(template, place, at=at, when="before"):
        assert run_and_die(template, place, at=at, when="after")
        at += 1
    return at


if __name__ == "__main__":
    print(run_all(Path(sys.argv[1]), Path(sys.argv[2])))
