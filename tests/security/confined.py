"""Runs an attack in a child that may use 256 MiB more than its parent, and tells how it ended."""

import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

MEMORY: Final = 256 << 20
_LONGEST: Final = 20
"""Processor seconds after which the child is killed. The code under attack has limits of its own, which end it much earlier."""


def outcome(attack: Callable[[], object]) -> tuple[str, str]:
    """The name of the error's class and its text, or `done` and the text of the result. Fails if the child died."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside the threads of other tests
        child = os.fork()
    if child == 0:
        _run(attack, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        name, _, text = said.read().decode(errors="replace").partition("\n")
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the attack ended its process: wait status {status}, {name} {text}"
    return name, text


def _run(attack: Callable[[], object], writer: int) -> None:
    try:
        signal.alarm(10 * _LONGEST)
        resource.setrlimit(resource.RLIMIT_CPU, (_LONGEST, _LONGEST))
        limit = _data_size() + MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        try:
            said = f"done\n{attack()}"
        except Exception as error:  # noqa: BLE001 - the test judges its class
            said = f"{type(error).__name__}\n{error} {getattr(error, 'hint', '')}"
        os.write(writer, said.encode(errors="replace")[:4000])
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a child must never return into pytest
        traceback.print_exc(file=sys.stderr)
        os._exit(1)


def _data_size() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmData:")).split()[1]) << 10
