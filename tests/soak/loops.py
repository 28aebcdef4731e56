"""The processes of townctl: started again whenever they end, and ended in the ways that a machine ends them."""

import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from tests.soak.places import FAST, REAL, REPOSITORY, Place

LIBRARY: Final = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
LIBRARIES: Final = (
    LIBRARY,
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"),
    Path("/usr/lib/faketime/libfaketime.so.1"),
)
WRONG_BY: Final = (
    timedelta(seconds=100),
    timedelta(days=1),
    timedelta(hours=-1),
    timedelta(days=3650),
    timedelta(seconds=-100),
)
_PATIENCE_SECONDS: Final = 60.0
_AGAIN_AFTER_SECONDS: Final = 1.0


def faketime() -> Path | None:
    """The library that gives one process a clock of its own; None if it is not installed."""
    return next((path for path in LIBRARIES if path.exists()), None)


@dataclass
class Loop:
    """One process of townctl that should always run. `town` is the one whose clock it has."""

    place: Place
    name: str
    town: str
    words: tuple[str, ...]
    log: Path
    ends: Counter[str] = field(default_factory=Counter)
    _process: "subprocess.Popen[bytes] | None" = None
    _wrong_by: timedelta | None = None
    _ended_at: float = 0.0
    _killed: bool = False

    def tend(self) -> None:
        """Start it if it does not run."""
        if self._process is not None and self._process.poll() is not None:
            code = self._process.returncode
            self.ends["killed by us" if self._killed else f"exit code {code}"] += 1
            self._process, self._killed, self._ended_at = None, False, time.monotonic()
        if self._process is None and time.monotonic() - self._ended_at >= _AGAIN_AFTER_SECONDS:
            self._start()

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)
        self._killed = self._process is not None

    def stand_still(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def with_clock(self, wrong_by: timedelta | None) -> None:
        """Kill it; its next life has a clock that is wrong by so much, or right."""
        self._wrong_by = wrong_by
        self.kill()

    def end(self) -> None:
        """End it as an operator does, and wait; kill it if it does not end."""
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
            self.ends["did not end at SIGTERM"] += 1
        self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def _start(self) -> None:
        environment = self.place.environment(self.town)
        library = faketime()
        if self._wrong_by is not None and library is not None:
            seconds = f"{self._wrong_by.total_seconds():+.0f}"
            environment |= {"LD_PRELOAD": str(library), "FAKETIME": seconds, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.place.townctl(*self.words),
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def loops_of(place: Place, logs: Path) -> tuple[Loop, ...]:
    """Two loops for the fast town; for the other one `townctl serve`, which also ticks, and a loop whose clock may be wrong."""
    chosen = {
        "fast-1": (FAST, ("run", "--towns", FAST)),
        "fast-2": (FAST, ("run", "--towns", FAST)),
        "serve": (REAL, ("serve", "--port", str(place.port))),
        "real": (REAL, ("run", "--towns", REAL)),
    }
    return tuple(
        Loop(place, name, town, words, logs / f"{place.name}-{name}.log") for name, (town, words) in chosen.items()
    )
