"""`townctl ui` as a process of its own: NiceGUI keeps one site for a process, and here are others than the tests' own."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from tests.integration.townctl_calls import REPOSITORY, TOWNCTL

_ADDRESS: Final = re.compile(r"http://127\.0\.0\.1:\d+/\?token=\S+")


@contextmanager
def townctl_ui(place: Sequence[str], *options: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address that opens the page of a place, while the `with` block runs."""
    running = subprocess.Popen(
        [*TOWNCTL, *place, "ui", "--no-browser", *options],
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    try:
        for line in running.stdout:
            if found := _ADDRESS.search(line):
                yield found[0]
                break
        else:
            raise AssertionError(f"townctl ui ended with exit code {running.wait()} and without an address")
    finally:
        running.terminate()
        running.wait()
        running.stdout.close()
