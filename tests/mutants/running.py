"""Runs tests against mutants. One pytest session collects everything once; every mutant gets a fork of it.

In the fork the bug is planted and the tests run, nearest first, until one fails. Mutants that must be there before the
import get a fork from before it, and collect for themselves.
"""

import gc
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

import pytest

from tests.mutants import planting
from tests.mutants.catalogue import Mutant

SUITES: Final = (
    *(
        f"tests/unit/{layer}"
        for layer in ("actions", "adapters", "domain", "engine", "events", "functions", "history", "images")
    ),
    *(
        f"tests/unit/{layer}"
        for layer in ("intake", "ports", "questions", "replay", "rules", "runner", "storage", "telemetry")
    ),
    "tests/unit/town",
    "tests/scenarios",
    "tests/conformance",
)
"""The layers that are near enough to the core to be tried against its mutants."""
TEST_TIME: Final = 10.0
"""Seconds of the processor that one test may take before it counts as failed; six times as long by the clock."""
ROUNDS: Final = (1.0, 120.0)
"""Seconds of the processor for the tests of one mutant: most are killed in the first round, the rest gets a second."""
_REPLAYING: Final = "_every_tick_is_replayed"
"""A fixture of the scenarios that takes half of their time, and shows nothing here: the replay has the same bug."""
_FRESH_FILES: Final = 12
"""How many test files a process collects for one mutant: the nearest, for collecting all takes longer than running them."""
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
Said = dict[str, Any]
Say = Callable[[Said], None]
Work = Callable[[Say], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: the test that failed, or None; how many of the chosen tests ran, and how long."""

    index: int
    killer: str | None
    tests: int
    chosen: int
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

    def run(
        self, items: list[pytest.Item], spent: Mapping[str, float] | None = None, *, seconds: float = ROUNDS[-1]
    ) -> None:
        """Run the tests in this order, up to the first that fails; each may take a few times as long as it once took."""
        began = time.process_time()
        for item, following in zip(items, [*items, None][1:], strict=True):
            usual = (spent or {}).get(item.nodeid)
            self.run_one(item, following, seconds=TEST_TIME if usual is None else 1 + 5 * usual)
            if self.failed is not None or time.process_time() - began > seconds:
                return

    def run_one(self, item: pytest.Item, following: pytest.Item | None, *, seconds: float) -> None:
        """Run one test, which fails after so many seconds of the processor."""
        _limit(seconds)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except Exception:  # noqa: BLE001 - its time was over while pytest was writing the report
            self.failed = self.failed or item.nodeid
        finally:
            _limit(0)
        self.ran += 1


def _limit(seconds: float) -> None:
    """A test that works for too long, or waits for something that never comes, fails. 0 = no limit."""
    for number, timer, factor in ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 6)):
        signal.signal(number, _too_slow)
        signal.setitimer(timer, seconds * factor)


def _too_slow(signum: int, frame: object) -> None:
    pytest.fail("not done in time")


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
    spent: Mapping[str, float] | None = None,
    seconds: float = ROUNDS[-1],
    note: Callable[[Verdict], None] | None = None,
) -> Iterator[Verdict]:
    """Plant each (index, mutant) in a fork of one session, which has collected the tests of `suites` that are so marked.

    That session chooses the tests, and notes each verdict, so that verdicts can guide the choice.
    """

    def serve(say: Say) -> None:
        quiet()

        def loop(items: list[pytest.Item]) -> None:
            by_id = {item.nodeid: item for item in items}
            for item in items:
                names: list[str] = getattr(item, "fixturenames", [])
                names[:] = [name for name in names if name != _REPLAYING]
            functions = planting.loaded_functions()
            gc.freeze()  # so that a collection in a fork does not copy all that was there before it

            def judging(index: int, mutant: Mutant) -> Work:
                chosen = choose(mutant, list(by_id))

                def judge(tell: Say) -> None:
                    watch = Watch()
                    items[0].config.pluginmanager.register(watch)
                    began = time.monotonic()
                    planting.plant(mutant, functions)
                    watch.run([by_id[name] for name in chosen], spent, seconds=seconds)
                    tell(asdict(Verdict(index, watch.failed, watch.ran, len(chosen), time.monotonic() - began)))

                return judge

            for said in forks((_or_lost(index, judging(index, mutant)) for index, mutant in mutants), jobs=jobs):
                if note is not None:
                    note(Verdict(**said))
                say(said)

        in_session(Watch(), loop, suites, marked=marked)

    for said in one_fork(serve):
        yield Verdict(**said)


def fresh_verdicts(
    mutants: list[tuple[int, Mutant]], choose: Choose, collected: list[str], spent: Mapping[str, float], *, jobs: int
) -> Iterator[Verdict]:
    """Plant each (index, mutant) while the modules are imported, in a process of its own, which collects what it needs."""

    def judging(index: int, mutant: Mutant) -> Work:
        def judge(tell: Say) -> None:
            quiet()
            watch = Watch()
            began = time.monotonic()
            sys.meta_path.insert(0, planting.Hook(mutant))
            chosen = _of_few_files(choose(mutant, collected))

            def loop(items: list[pytest.Item]) -> None:
                by_id = {item.nodeid: item for item in items}
                watch.run([by_id[name] for name in chosen if name in by_id], spent)

            in_session(watch, loop, list(dict.fromkeys(name.partition("::")[0] for name in chosen)))
            broken = next(iter(watch.broken), None)
            tell(asdict(Verdict(index, watch.failed or broken, watch.ran, len(chosen), time.monotonic() - began)))

        return judge

    for said in forks((_or_lost(index, judging(index, mutant)) for index, mutant in mutants), jobs=jobs):
        yield Verdict(**said)


def _of_few_files(names: list[str]) -> list[str]:
    files = list(dict.fromkeys(name.partition("::")[0] for name in names))[:_FRESH_FILES]
    return [name for name in names if name.partition("::")[0] in files]


def third_party() -> list[str]:
    """What the tests import from others, so that a process can have it before it forks."""

    def look(say: Say) -> None:
        quiet()
        in_session(Watch(), lambda items: None)
        for name in list(sys.modules):
            if name.partition(".")[0] not in ("shared", "functions", "infra", "tests", "__main__"):
                say({"name": name})

    return [said["name"] for said in one_fork(look)]


def quiet() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def one_fork(work: Work) -> Iterator[Said]:
    """What a forked process says, as it says it."""
    return forks([(work, None)], jobs=1)


def forks(works: Iterable[tuple[Work, Said | None]], *, jobs: int) -> Iterator[Said]:
    """What forked processes say, as they say it; at most so many run at a time.

    For one that dies without a word, the second of its pair is said.
    """
    running: dict[Connection, tuple[BaseProcess, Said | None]] = {}
    waiting = iter(works)
    while True:
        for work, if_silent in islice(waiting, jobs - len(running)):
            reading, process = _forked(work)
            running[reading] = (process, if_silent)
        if not running:
            return
        ready = wait(list(running))
        for reading in [each for each in running if each in ready]:
            process, if_silent = running[reading]
            try:
                said: Said = reading.recv()
            except EOFError:
                del running[reading]
                process.join()
                if if_silent is not None:
                    yield if_silent
                continue
            if "error" in said:
                raise RuntimeError(f"a fork could not do its work:\n{said['error']}")
            running[reading] = (process, None)
            yield said


def _or_lost(index: int, judge: Work) -> tuple[Work, Said]:
    return judge, asdict(Verdict(index, "(the process died)", 0, 0, 0))


def _forked(work: Work) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)

    def run() -> None:
        reading.close()
        try:
            work(writing.send)
        except BaseException:
            writing.send({"error": traceback.format_exc()})
            raise

    process = context.Process(target=run)
    process.start()
    writing.close()
    return reading, process
