"""Recorded ticks run with the code of any working tree: by child processes that import it instead of the code of this townctl.

A child is started as `python -P -m infra.townctl.other_code PLACE` with the tree first in its path. It reads one job a line and
writes one answer a line: a window, or how it could not be run. It only reads the towns. A child that does not answer in time is
ended, and another takes its place. What the code prints goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Self, cast

from infra.townctl.context import Context
from infra.townctl.wording import message_of, quantity
from shared.domain import strict_json
from shared.domain.errors import Refused, TownError
from shared.domain.shapes import document, read
from shared.domain.times import from_text
from shared.ports.steps import drive
from shared.replay.backtest.summary import Unread
from shared.replay.backtest.window import WindowBacktest, backtest, beside
from shared.replay.time_window import Window

if TYPE_CHECKING:
    from typing import TextIO

    from shared.ports.town_past import TownPast

THIS_TREE: Final = Path(__file__).parents[2]
_LARGEST_ANSWER: Final = 256 << 20
_LARGEST_JOB: Final = 1 << 10
_READY: Final = "ready\n"
"""What a child says once its code is imported."""

_STARTING_SECONDS: Final = 120
"""A child that has not imported its code by then never will."""

_LONGEST_SECONDS: Final = 24 * 3600
_MODULE: Final = Path("infra/townctl/other_code.py")


@dataclass(frozen=True, slots=True)
class Job:
    """A town, and either a window of it, as two times, or the tick after which the next one is run."""

    town_id: str
    from_: str = ""
    to: str = ""
    after: int | None = None

    def __str__(self) -> str:
        """The job in words: what is run of which town."""
        return f"town {self.town_id}" if self.after is None else f"tick {self.after + 1} of town {self.town_id}"


def checked_tree(code: Path | None) -> Path:
    """The working tree whose code is run; without one, that of this townctl. Raises Refused if it cannot be."""
    tree = THIS_TREE if code is None else code.resolve()
    if not (tree / _MODULE).is_file():
        hint = "give the root of a checkout of this project, of a release that has `townctl backtest`"
        raise Refused(f"{tree} has no {_MODULE}", status=400, path="code", hint=hint)
    return tree


def checked_limit(limit: int, *, default: int) -> int:
    """The seconds that the code may take for one job. Raises Refused if there cannot be so many."""
    if not 1 <= limit <= _LONGEST_SECONDS:
        hint = f"leave --limit out for {default} seconds"
        raise Refused(f"--limit must be 1 to {_LONGEST_SECONDS}, not {limit}", status=400, path="limit", hint=hint)
    return limit


class OtherCode:
    """Some children that run the code of a tree on the towns of a place. A job may take `limit` seconds."""

    def __init__(self, tree: Path, context: Context, *, children: int, limit: int) -> None:
        """Start them."""
        bucket = context.bucket
        place = ("--data", str(context.data)) if bucket is None else bucket.options()
        self._tree = tree
        self._place = place
        self._limit = limit
        self._ended = False
        self._children = [self._started() for _ in range(children)]
        self._free: SimpleQueue[int] = SimpleQueue()
        for number in range(children):
            self._free.put(number)

    def __enter__(self) -> Self:
        """Use them inside a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        self.end()
        for child in self._children:
            _closed(child)

    def end(self) -> None:
        """End them now, whatever they are doing: their jobs find no tick. A signal handler may call it."""
        self._ended = True
        for child in self._children:
            child.kill()

    def run(self, jobs: Iterable[Job]) -> Iterator[WindowBacktest | Unread | None]:
        """What each job found, in their order, as `ask` says. Whatever ends it early, Ctrl-C too, also ends the children."""
        with ThreadPoolExecutor(len(self._children)) as pool:
            try:
                yield from pool.map(self.ask, jobs)
            except BaseException:
                self.end()  # the pool waits for its threads, and they wait for the children
                raise

    def ask(self, job: Job) -> WindowBacktest | Unread | None:
        """What one job found. None: there is no tick. A child that ends in it, or does not answer in time, is replaced.

        Raises Refused if a child cannot even be started.
        """
        number = self._free.get()
        try:
            said = self._said(number, job)
            if said or self._ended:
                return _found(job, said or "")
            code = _closed(self._children[number])
            self._children[number] = self._started()
            if self._ended:
                self._children[number].kill()
            if said is None:
                late = f"did not answer in {quantity(self._limit, 'second')} on {job}"
                return Unread(job.town_id, f"the code in {self._tree} {late}, so it was ended and started again")
            problem = f"the code in {self._tree} ended while it ran {job} (exit code {code})"
            return Unread(job.town_id, f"{problem}; its error is above")
        finally:
            self._free.put(number)

    def _said(self, number: int, job: Job) -> str | None:
        """The answer of a child; empty if it has ended, None if the time is over."""
        child = self._children[number]
        try:
            print(json.dumps([job.town_id, job.from_, job.to, job.after]), file=cast("TextIO", child.stdin), flush=True)
        except BrokenPipeError:
            return ""
        return _line_of(child, seconds=self._limit)

    def _started(self) -> subprocess.Popen[str]:
        """A child that is ready. Raises Refused if the code of the tree cannot be imported."""
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "infra.townctl.other_code", *self._place],
            env={**os.environ, "PYTHONPATH": str(self._tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that Ctrl-C ends this process, which then ends its children
        )
        said = _line_of(child, seconds=_STARTING_SECONDS)
        if said != _READY:
            code = _closed(child)
            why = f"it was not ready in {_STARTING_SECONDS} seconds" if said is None else f"exit code {code}"
            problem = f"the code in {self._tree} cannot be run ({why})"
            raise Refused(problem, status=400, path="code", hint="its error is above; run the tests of that tree")
        return child


def _found(job: Job, said: str) -> WindowBacktest | Unread | None:
    """What an answer says; None if there is none."""
    if not said:
        return None
    found: dict[str, Any] = strict_json.foreign(said.encode(), limit=_LARGEST_ANSWER)
    if "problem" in found:
        return Unread(job.town_id, found["problem"])
    return None if found["window"] is None else read(WindowBacktest, found["window"])


def _line_of(child: subprocess.Popen[str], *, seconds: int) -> str | None:
    """The next line of a child; empty if it has ended, None if it does not begin one in time."""
    answers = cast("TextIO", child.stdout)
    with selectors.DefaultSelector() as waiting:
        waiting.register(answers, selectors.EVENT_READ)
        return answers.readline() if waiting.select(seconds) else None


def _closed(child: subprocess.Popen[str]) -> int:
    """End a child and close its pipes; its exit code."""
    child.kill()
    code = child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
    return code


def main(given: Sequence[str], jobs: TextIO, answers: TextIO) -> None:
    """Answer jobs until there are none."""
    from shared.history.retained_past import StoredPast

    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "bucket", "endpoint", "region"):
        parser.add_argument(f"--{name}")
    asked = parser.parse_args(given)
    context = Context(named_data=Path(asked.data)) if asked.data else Context(named_bucket=_bucket(asked))
    objects = context.objects()
    print(_READY, end="", file=answers, flush=True)
    for line in jobs:
        job = Job(*strict_json.foreign(line.encode(), limit=_LARGEST_JOB))
        print(json.dumps(_answered(StoredPast(objects, objects), job)), file=answers, flush=True)


def _bucket(asked: argparse.Namespace) -> Any:
    from infra.buckets import Bucket

    return Bucket(asked.bucket, asked.endpoint, asked.region).completed_from(os.environ)


def _answered(past: TownPast, job: Job) -> dict[str, Any]:
    try:
        if job.after is not None:
            found = drive(beside(job.town_id, past, job.after, most=1))
        else:
            found = drive(backtest(job.town_id, past, Window(from_text(job.from_), from_text(job.to))))
    except TownError as error:
        return {"problem": message_of(error)}
    return {"window": None if found is None else document(found)}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # a `print` in a rule is no answer
        main(sys.argv[1:], sys.stdin, cast("TextIO", sys.__stdout__))
