"""Keeps keys and tokens out of the environment that others can see.

The environment with which a process was started stays readable in /proc/<pid>/environ, whatever the process changes later. So the
control server starts itself again with a harmless environment, and hands itself the whole one through a file without a name.
"""

import ctypes
import json
import os
import sys
import tempfile
from typing import Final

_HANDED: Final = "TOWN_HANDED_OVER"
"""Contains the number of the open file with the whole environment."""
_HARMLESS: Final = frozenset(
    {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "TERM", "USER", "LOGNAME", "SHELL", "PWD", "HOSTNAME"}
)
_ALSO_HARMLESS: Final = ("LC_", "PYTHON")
_SET_DUMPABLE: Final = 4
_SET_NO_NEW_PRIVILEGES: Final = 38


def whole_environment() -> dict[str, str]:
    """The environment that this program was started with. /proc shows only the harmless part of it when this returns.

    Restarts the program, in the same process, unless that has been done or the environment is harmless. Afterwards other
    processes of the same user cannot read this one's memory and open files either, unless the user is root. And nothing that this
    one starts, not even git for an agent, can gain rights by running a program.
    """
    handed = os.environ.pop(_HANDED, None)
    whole = dict(os.environ)
    if handed is not None:
        with os.fdopen(int(handed), encoding="utf-8") as file:
            file.seek(0)
            whole = json.load(file)
    elif not all(is_harmless(name) for name in whole):
        _start_again(whole)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)
        ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return whole


def is_harmless(name: str) -> bool:
    """Whether a variable of this name contains no secret."""
    return name in _HARMLESS or name.startswith(_ALSO_HARMLESS)


def _start_again(whole: dict[str, str]) -> None:
    file = _without_name()
    os.write(file, json.dumps(whole).encode())
    os.set_inheritable(file, True)
    seen = {name: value for name, value in whole.items() if is_harmless(name)}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], seen | {_HANDED: str(file)})  # noqa: S606 - the same program


def _without_name() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("environment")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
