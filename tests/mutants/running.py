"""Runs tests against mutants. One pytest session collects everything once; every mutant gets a fork of it.

In the fork the bug is planted and the tests run, nearest first, until one fails. Mutants that must be there before the
import get a fork from before it, and collect for themselves.
"""

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import pytest

from tests.mutants import planting
from tests.mutants.catalogue import Mutant

SUITES: Final = ("tests/unit", "tests/scenarios", "tests/conformance")
TEST_TIME: Final = 10
"""Seconds of the processor that one test may take before it counts as failed; six times as long by the clock."""
MUTANT_TIME: Final = 30
"""Seconds of the processor after which no further test is tried against a mutant."""
_MEMORY: Final = 4 << 30
_OPTIONS: Final = ("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov", "-p", "no:terminal", "-s")
_SETTINGS: Final = (
    "-o",
    "addopts=",
    "--import-mode=importlib",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)

Choose = Callable[[Mutant, list[str]], list[str]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: the test that failed, or None; how many tests ran, and how long."""

    index: int
    killer: str | None
    tests: int
    seconds: float


@dataclass(slots=True, eq=False)
class Watch:
    """A pytest plugin that runs chosen tests until one fails, each with a time limit."""

    failed: str | None = None
    broken: list[str] = field(default_factory=list)
    ran: int = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the first failure."""
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A test module that cannot be imported is named too."""
        if report.failed:
            self.broken.append(report.nodeid)

    def run(self, items: list[pytest.Item]) -> None:
        """Run the tests in this order, up to the first that fails."""
        began = time.process_time()
        for item, following in zip(items, [*items, None][1:], strict=True):
            _limit(TEST_TIME)
            try:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            except Exception:  # noqa: BLE001 - its time was over while pytest was writing the report
                self.failed = self.failed or item.nodeid
            finally:
                _limit(0)
            self.ran += 1
            if self.failed is not None or time.process_time() - began > MUTANT_TIME:
                return


def _limit(seconds: float) -> None:
    """A test that works for too long, or waits for something that never comes, fails. 0 = no limit."""
    for number, timer, factor in ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 6)):
        signal.signal(number, _too_slow)
        signal.setitimer(timer, seconds * factor)


def _too_slow(signum: int, frame: object) -> None:
    pytest.fail(f"not done after {TEST_TIME} s")


def in_session(
    watch: Watch, loop: Callable[[list[pytest.Item]], None], suites: Sequence[str] = SUITES, *, marked: str = "not slow"
) -> None:
    """A pytest session in this process that hands its collected tests to `loop` instead of running them."""

    class Session:
        problem: BaseException | None = None

        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            try:
                loop(session.items)
            except BaseException as problem:  # noqa: BLE001 - pytest would keep it to itself
                self.problem = problem
            return True

    holder = Session()
    settings = [*_OPTIONS, *_SETTINGS, "-m", marked, "--continue-on-collection-errors"]
    pytest.main([*settings, *suites], plugins=[watch, holder])
    if holder.problem is not None:
        raise holder.problem


def verdicts(
    mutants: list[tuple[int, Mutant]],
    choose: Choose,
    *,
    jobs: int,
    suites: Sequence[str] = SUITES,
    marked: str = "not slow",
) -> Iterator[Verdict]:
    """Plant each (index, mutant) in a fork of one session, which has collected the tests of `suites` that are so marked."""

    def serve(say: Callable[[Verdict], None]) -> None:
        quiet()
        collected = Watch()

        def loop(items: list[pytest.Item]) -> None:
            by_id = {item.nodeid: item for item in items}
            functions = planting.loaded_functions()
            forks = _Forks(jobs)

            for index, mutant in mutants:

                def judge(tell: Callable[[Verdict], None], index: int = index, mutant: Mutant = mutant) -> None:
                    watch = Watch()
                    item_of = items[0].session
                    item_of.config.pluginmanager.register(watch)
                    began = time.monotonic()
                    planting.plant(mutant, functions)
                    watch.run([by_id[name] for name in choose(mutant, list(by_id))])
                    tell(Verdict(index, watch.failed, watch.ran, time.monotonic() - began))

                for verdict in forks.start(judge, Verdict(index, "(the process died)", 0, 0)):
                    say(verdict)
            for verdict in forks.rest():
                say(verdict)

        in_session(collected, loop, suites, marked=marked)

    yield from one_fork(serve)


def fresh_verdicts(mutants: list[tuple[int, Mutant]], choose: Choose, *, jobs: int) -> Iterator[Verdict]:
    """Plant each (index, mutant) while the modules are imported, in a process of its own."""
    forks = _Forks(jobs)
    for index, mutant in mutants:

        def judge(tell: Callable[[Verdict], None], index: int = index, mutant: Mutant = mutant) -> None:
            quiet()
            watch = Watch()
            began = time.monotonic()
            sys.meta_path.insert(0, planting.Hook(mutant))

            def loop(items: list[pytest.Item]) -> None:
                by_id = {item.nodeid: item for item in items}
                watch.run([by_id[name] for name in choose(mutant, list(by_id))])

            in_session(watch, loop)
            broken = next(iter(watch.broken), None)
            tell(Verdict(index, watch.failed or broken, watch.ran, time.monotonic() - began))

        yield from forks.start(judge, Verdict(index, "(the process died)", 0, 0))
    yield from forks.rest()


def third_party() -> list[str]:
    """What the tests import from others, so that a process can have it before it forks."""

    def look(say: Callable[[Verdict], None]) -> None:
        quiet()
        in_session(Watch(), lambda items: None)
        for name in list(sys.modules):
            if name.partition(".")[0] not in ("shared", "functions", "infra", "tests", "__main__"):
                say(Verdict(0, name, 0, 0))

    return [verdict.killer for verdict in one_fork(look) if verdict.killer]


def quiet() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def one_fork(work: Callable[[Callable[[Verdict], None]], None]) -> Iterator[Verdict]:
    forks = _Forks(1)
    forks.start(work, None)
    yield from forks.stream()


class _Forks:
    """Forked processes that send verdicts, at most so many at a time."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._running: dict[int, tuple[int, Verdict | None]] = {}

    def start(self, work: Callable[[Callable[[Verdict], None]], None], if_lost: Verdict | None) -> list[Verdict]:
        """Begin one more; what has ended meanwhile. Waits while there are too many."""
        ended: list[Verdict] = []
        while len(self._running) >= self._jobs:
            ended += self._wait()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            _in_child(work, writing)
        os.close(writing)
        self._running[pid] = (reading, if_lost)
        return ended

    def rest(self) -> Iterator[Verdict]:
        """Wait for all."""
        while self._running:
            yield from self._wait()

    def stream(self) -> Iterator[Verdict]:
        """What the one running process says, as it says it."""
        ((pid, (reading, _)),) = self._running.items()
        with os.fdopen(reading) as lines:
            for line in lines:
                yield _verdict(line)
        os.waitpid(pid, 0)
        self._running.clear()

    def _wait(self) -> Iterable[Verdict]:
        pid, _ = os.wait()
        reading, if_lost = self._running.pop(pid)
        with os.fdopen(reading) as lines:
            said = [_verdict(line) for line in lines]
        return said or ([] if if_lost is None else [if_lost])


def _verdict(line: str) -> Verdict:
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        raise RuntimeError(f"a fork could not do its work:\n{said['error']}")
    return Verdict(**said)


def _in_child(work: Callable[[Callable[[Verdict], None]], None], writing: int) -> None:
    status = 1
    try:
        with os.fdopen(writing, "w") as out:

            def say(verdict: Verdict) -> None:
                out.write(json.dumps(asdict(verdict)) + "\n")
                out.flush()

            try:
                work(say)
            except BaseException:
                out.write(json.dumps({"error": traceback.format_exc()}) + "\n")
                raise
        status = 0
    finally:
        os._exit(status)
