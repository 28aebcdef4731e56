"""Runs of single towns in child processes: `townctl run --once --towns TOWN`, for towns that a loop did not survive.

The child has the same place, clock, forge and agents as its loop. It ends after one pass over its town, whatever happens to the
loop, and the loop waits for it without being held up.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from infra.townctl.context import DATA_VARIABLE, Context
from infra.townctl.output import INTERRUPTED
from infra.townctl.wiring import LocalClock
from shared.adapters import clock as clocks
from shared.adapters import ids
from shared.adapters.file_locks import exists, this_machine
from shared.domain import strict_json
from shared.domain.errors import TownError
from shared.ports.steps import drive
from shared.ports.watch import LifeNote
from shared.runner import neighbours
from shared.runner.passes import OwnProcess
from shared.runner.run_report import ApartRun
from shared.runner.surroundings import Surroundings

ALONE_VARIABLE: Final = "TOWNCTL_ALONE"
"""Set for a child: it runs its town, makes no child of its own, and leaves notes and retention to its loop."""

_LARGEST_REPORT: Final = 1 << 20
_FIRST_CODE_OF_SIGNALS: Final = 128
_MORE_LIKELY: Final = "500"


def is_alone() -> bool:
    """Whether this process is such a child."""
    return os.environ.get(ALONE_VARIABLE) == "1"


def end_first() -> None:
    """Ask the system to end this process before its loop if memory runs out. Only Linux can be asked."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_MORE_LIKELY)


def tell_the_end(around: Surroundings, towns: Sequence[str], talk: Callable[[str], None]) -> None:
    """Correct the count of deaths at the orderly end of a child, whose loop may have been killed meanwhile."""
    for town_id in towns:
        try:
            drive(neighbours.ended_here(around, town_id))
        except TownError as error:
            talk(
                f"{town_id}: this run has ended well and counts as a death until its loop corrects that: {error.message}"
            )


def own_process(context: Context, clock: LocalClock, *, options: Sequence[str] = ()) -> OwnProcess | None:
    """How a loop runs a town apart; None in a child. `options` are those of `townctl run` that are not remembered."""
    if is_alone():
        return None
    life = LifeNote(ids.worker_id(), (), clocks.SystemClock().now(), host=this_machine(), pid=os.getpid())
    return OwnProcess(life, has_ended, _Children(context, clock, tuple(options)).run)


def has_ended(note: LifeNote, now: datetime) -> bool:
    """Whether the loop of a note has ended: its process is gone, or it has not written the note again."""
    if note.until < now:
        return True
    return note.host == this_machine() and (note.pid == os.getpid() or not exists(note.pid))


@dataclass(frozen=True, slots=True)
class _Children:
    context: Context
    clock: LocalClock
    options: tuple[str, ...]

    def run(self, town_id: str) -> ApartRun:
        """Run one town in a child process and wait for it."""
        try:
            done = subprocess.run(
                [*self._command(town_id), *self.options],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                check=False,
                start_new_session=True,  # so that Ctrl-C ends the loop first, which then waits for the child
            )
        except OSError as error:
            return ApartRun(town_id, problem=f"its child process cannot be started: {error.strerror or error}")
        return _reported(town_id, done.returncode, done.stdout)

    def _command(self, town_id: str) -> list[str]:
        bucket = self.context.bucket
        place = ("--data", str(self.context.data)) if bucket is None else bucket.options()
        return [
            sys.executable,
            "-m",
            "infra.townctl.main",
            *("run", "--once", "--json", "--towns", town_id),
            *place,
        ]

    def _environment(self) -> dict[str, str]:
        more = {
            ALONE_VARIABLE: "1",
            clocks.CLOCK_VARIABLE: self.clock.to_text(),
            DATA_VARIABLE: str(self.context.data),
        }
        return {**os.environ, **more}


def _reported(town_id: str, code: int, printed: bytes) -> ApartRun:
    """The outcome of a child. The end by a signal is a death, except an interrupt by a person."""
    if code < 0 or (code >= _FIRST_CODE_OF_SIGNALS and code != INTERRUPTED):
        return ApartRun(town_id, death=_named(-code if code < 0 else code - _FIRST_CODE_OF_SIGNALS))
    try:
        said = strict_json.foreign(printed, limit=_LARGEST_REPORT)
        failing = said["failing"].get(town_id)
        outcomes = {str(name): int(count) for name, count in said["ticks"].items()}
    except (strict_json.UnreadableJson, AttributeError, KeyError, TypeError, ValueError):
        return ApartRun(town_id, problem=f"its child process ended with exit code {code} and without a report")
    return ApartRun(town_id, outcomes, problem=None if failing is None else str(failing))


def _named(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
