"""`townctl run` over several towns: one whose runtime does not answer delays nobody but itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from infra.townctl.loop import Stop, TownLoop
from infra.townctl.wiring import open_store
from shared.adapters.clock import wait_for
from shared.domain import limits
from shared.domain.errors import DamagedImage, StoreUnavailable
from shared.domain.orders import StartOrder
from shared.ports.runtime import Started, StartRejected, StartUnknown
from shared.runner.run_report import FailedRun, RunReport
from shared.storage.restore import KeptPast
from tests.fakes import FakeRuntime
from tests.patience import PATIENCE_SECONDS
from tests.towns import a_town
from tests.worlds import World, a_world


class StuckRuntime(FakeRuntime):
    """A runtime that lets the town `slow` wait at every start until somebody lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def start(self, order: StartOrder, *, effect_id: str) -> Started | StartRejected | StartUnknown:
        if order.town_id == "slow":
            self.reached.set()
            assert self.go_on.wait(PATIENCE_SECONDS)
        return super().start(order, effect_id=effect_id)


class Seen:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.runs: list[RunReport] = []
        self.failures: list[FailedRun] = []

    def ran(self, run: RunReport) -> None:
        self.runs.append(run)

    def failed(self, failed: FailedRun) -> None:
        self.failures.append(failed)


def two_towns() -> tuple[World, StuckRuntime]:
    world = a_world(a_town("slow").bead("b1"), a_town("quick").bead("b1"))
    world.runtime = StuckRuntime()
    return world, world.runtime


@contextmanager
def going_on(loop: TownLoop) -> Iterator[None]:
    """The loop runs beside the test; afterwards it ends after the pass that is going on."""
    stop = Stop()
    runs = threading.Thread(target=loop.until, args=(stop.wait,))
    runs.start()
    try:
        yield
    finally:
        stop.ask()
        runs.join()


def test_a_town_whose_runtime_hangs_delays_no_other_town() -> None:
    world, runtime = two_towns()
    seen = Seen()

    def committed() -> list[str]:
        return [run.town_id for run in seen.runs if run.outcome == "committed"]

    def quick_has_ticked(since: datetime) -> bool:
        ticks = [run.tick for run in seen.runs if run.town_id == "quick" and run.outcome == "committed"]
        return any(tick is not None and tick.input.now >= since for tick in ticks)

    with going_on(TownLoop(world.around, seen, speed=1000)):
        for _ in range(4):
            assert wait_for(partial(quick_has_ticked, world.clock.now()), seconds=PATIENCE_SECONDS)
            assert runtime.reached.wait(PATIENCE_SECONDS)
            world.clock.at += limits.WATCH_INTERVAL + timedelta(seconds=1)
        assert "slow" not in committed()
        assert len(runtime.seen("start")) == 1
        runtime.go_on.set()
        assert wait_for(lambda: committed().count("slow") == 2, seconds=PATIENCE_SECONDS)
    assert world.town("slow").rows("SELECT last_dispatch_outcome FROM agent_metadata WHERE role = 'polecat'") == [
        ("started",)
    ]


def test_whoever_asks_to_stop_in_a_pass_lets_it_come_to_its_end() -> None:
    """And what was begun in it: a start that is under way is waited for, its result is posted."""
    world, runtime = two_towns()
    seen, stop = Seen(), Stop()

    def stop_now(seconds: float) -> bool:
        if seconds:
            stop.ask()
            runtime.go_on.set()
        return stop.wait(seconds)

    TownLoop(world.around, seen, speed=1000).until(stop_now)
    assert [run.town_id for run in seen.runs].count("slow") == 1
    assert world.inbox("slow") != ()


def test_the_result_of_an_effect_is_taken_at_once_and_not_after_the_pause() -> None:
    world, runtime = two_towns()
    runtime.go_on.set()
    seen, stop = Seen(), Stop()
    pauses: list[float] = []

    def note(seconds: float) -> bool:
        pauses.append(seconds)
        return seconds > 0 or stop.wait(seconds)

    TownLoop(world.around, seen, speed=1).until(note)
    assert pauses == [0, 0, 5]
    assert world.inbox("slow") == world.inbox("quick") == ()


def test_whoever_wakes_the_loop_ends_its_pause() -> None:
    stop = Stop()
    stop.wake()
    assert not stop.wait(PATIENCE_SECONDS * 100)
    assert not stop.wait(0)
    stop.ask()
    assert stop.wait(PATIENCE_SECONDS * 100)


def test_a_town_that_fails_is_run_again_after_five_seconds_however_often_the_loop_looks() -> None:
    world, _ = two_towns()
    world.objects.put("towns/slow/head", b"no head at all")
    loop = TownLoop(world.around, Seen(), speed=1, in_directory=True)
    assert [failed.town_id for failed in loop.one_pass().failed] == ["slow"]
    world.clock.move(seconds=1)
    assert loop.one_pass().failed == []
    world.clock.move(seconds=4)
    assert [failed.town_id for failed in loop.one_pass().failed] == ["slow"]


def test_one_pass_waits_for_everybody() -> None:
    world, runtime = two_towns()
    runtime.go_on.set()
    loop = TownLoop(world.around, Seen(), speed=1)
    assert sorted(run.town_id for run in loop.one_pass().runs) == ["quick", "slow"]


def test_a_run_that_breaks_is_told_and_the_others_go_on() -> None:
    world, runtime = two_towns()
    runtime.go_on.set()
    store = world.store

    class Broken(type(store)):  # type: ignore[misc] # the class of an instance
        def load(self, town_id: str, known: Any = None) -> Any:
            if town_id == "slow":
                raise ZeroDivisionError
            return super().load(town_id, known=known)

    seen = Seen()
    loop = TownLoop(replace(world.around, store=Broken(world.objects)), seen, speed=1)
    report = loop.one_pass()
    assert [run.town_id for run in report.runs] == ["quick"]
    assert [(failed.town_id, type(failed.error)) for failed in seen.failures] == [("slow", ZeroDivisionError)]


def test_at_first_and_then_once_a_day_every_town_forgets_and_one_that_cannot_is_told() -> None:
    world, runtime = two_towns()
    runtime.go_on.set()
    seen, asked = Seen(), []

    def archive_of(town_id: str) -> KeptPast:
        asked.append(town_id)
        if town_id == "slow":
            raise DamagedImage("slow is damaged", hint="restore it")
        objects: Any = world.objects
        return KeptPast(objects, objects, town_id)

    loop = TownLoop(world.around, seen, speed=1, pasts=archive_of)
    loop.one_pass()
    loop.one_pass()
    assert asked == ["quick", "slow"]
    assert [(failed.town_id, type(failed.error)) for failed in seen.failures] == [("slow", DamagedImage)]
    world.clock.move(seconds=86_399)
    loop.one_pass()
    assert asked == ["quick", "slow"]
    world.clock.move(seconds=1)
    loop.one_pass()
    assert asked == ["quick", "slow", "quick", "slow"]


def test_retention_whose_list_of_towns_failed_begins_in_the_next_pass_and_not_a_day_later() -> None:
    world, runtime = two_towns()
    runtime.go_on.set()
    lists = iter((StoreUnavailable("no answer", hint="try again"),))

    class NotListed(type(world.store)):  # type: ignore[misc] # the class of an instance
        def towns(self, **page: Any) -> Any:
            problem = next(lists, None)
            if problem is not None:
                raise problem
            return super().towns(**page)

    asked = []

    def archive_of(town_id: str) -> KeptPast:
        asked.append(town_id)
        objects: Any = world.objects
        return KeptPast(objects, objects, town_id)

    around = replace(world.around, store=NotListed(world.objects))
    loop = TownLoop(around, Seen(), speed=1, pasts=archive_of)
    assert isinstance(loop.one_pass().problem, StoreUnavailable)
    assert asked == []
    loop.one_pass()
    assert asked == ["quick", "slow"]


def test_ticks_do_not_wait_until_every_town_has_forgotten() -> None:
    """Once a day the towns of a bucket, each with twenty reads or so, kept all ticks waiting."""
    world, runtime = two_towns()
    runtime.go_on.set()
    ticked, seen = threading.Event(), Seen()

    def archive_of(town_id: str) -> KeptPast:
        assert ticked.wait(PATIENCE_SECONDS)
        objects: Any = world.objects
        return KeptPast(objects, objects, town_id)

    with going_on(TownLoop(world.around, seen, speed=1000, pasts=archive_of)):
        assert wait_for(lambda: {run.town_id for run in seen.runs} == {"quick", "slow"}, seconds=PATIENCE_SECONDS)
        ticked.set()
    assert seen.failures == []


def test_a_loop_over_some_towns_forgets_nothing_of_the_others() -> None:
    """Their past went by the clock of a town that was run at a thousand times the speed."""
    world, runtime = two_towns()
    runtime.go_on.set()
    asked = []

    def archive_of(town_id: str) -> KeptPast:
        asked.append(town_id)
        objects: Any = world.objects
        return KeptPast(objects, objects, town_id)

    around = replace(world.around, store=open_store(world.objects, towns=["slow", "nobody"]))
    TownLoop(around, Seen(), speed=1000, pasts=archive_of).one_pass()

    assert asked == ["slow"]
