"""The command lines of this machine, which every user of it can read: no secret may stand in one."""

from collections.abc import Iterator
from pathlib import Path


def command_lines() -> Iterator[bytes]:
    """The arguments of every process, as they stand in /proc."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield process.read_bytes()
        except OSError:  # it has ended
            continue
