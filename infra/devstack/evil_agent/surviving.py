"""Children that try to live on after their agent was stopped. Each writes the time into a file while it lives."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from infra.devstack.evil_agent.attempts import Diary

LONGEST_LIFE_SECONDS: Final = 600
"""A child that nothing has stopped ends itself after this time."""

_LIVE: Final = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    with open(sys.argv[1], "w") as file:
        file.write(f"{os.getpid()} {time.time()}")
    time.sleep(0.1)
"""


def leave_children(home: Path, diary: Diary) -> None:
    """Start a child in a session of its own, and one that has also no environment, no parent and another directory."""
    needed = {
        name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"
    }  # else Python may not start
    ways = {"session": dict(os.environ), "orphan": needed}
    for name, environment in ways.items():
        file = home / f"survivor-{name}"
        words = [sys.executable, "-I", "-S", "-c", _LIVE, str(file), str(LONGEST_LIFE_SECONDS)]
        if name == "orphan":
            words = ["sh", "-c", '"$@" &', "sh", *words]
        subprocess.Popen(
            words,
            env=environment,
            cwd="/",
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        diary.note("W5", f"a child that wants to survive: {name}", "started", got_through=False)


def ignore_signals() -> None:
    """Ignore every signal with which a runtime asks a process to end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def survivors(home: Path) -> list[int]:
    """The pids that the children wrote; for the tests, which check that none of them lives."""
    return [int(text.split()[0]) for file in home.glob("survivor-*") if (text := file.read_text())]
