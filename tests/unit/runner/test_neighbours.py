"""A town that ends the process which runs it: its neighbours go on, and it is set aside in the end."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from threading import Event
from typing import TypeVar

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import StoreUnavailable
from shared.ports.object_store import StoredObject
from shared.ports.steps import Call, Steps, drive
from shared.ports.watch import Apart, LifeNote
from shared.runner import neighbours, passes
from shared.runner.minute import Dispatcher
from shared.runner.neighbours import NOTED_FOR, REMEMBERED, Neighbours, OwnRuns
from shared.runner.passes import OwnProcess, Passes
from shared.runner.run_report import ApartRun, FailedRun, PassReport
from tests.cloud import Cloud, a_cloud
from tests.fakes import FakeClock
from tests.fault_injection import Crash, death, each_call, meanwhile
from tests.scenarios.table import scenario
from tests.towns import T, a_town, event
from tests.worlds import World, in_order

R = TypeVar("R")
KILLER = "a-killer"
TOWNS = (KILLER, "b", "c")
MINUTE = timedelta(minutes=1)


class KillingObjects(MemoryObjects):
    """Whoever opens the town KILLER dies, as by a lack of memory."""

    kills = True

    def get(self, key: str) -> StoredObject | None:
        if self.kills and key == f"towns/{KILLER}/head":
            raise Crash("out of memory")
        return super().get(key)


def a_dangerous_world() -> World:
    objects = KillingObjects()
    objects.kills = False
    world = World(objects=objects)
    for town_id in TOWNS:
        world.put_in(a_town(town_id).bead("b1", labels=["gt:held"]))
        world.post(event("town_started"), town_id=town_id)
    objects.kills = True
    return world


def heal(world: World) -> None:
    assert isinstance(world.objects, KillingObjects)
    world.objects.kills = False


def ticks(world: World, town_id: str) -> int:
    return len(world.journal(town_id))


def notes(world: World) -> list[str]:
    return [key for key in world.objects.list("watch/").keys if not key.startswith("watch/violated/")]


@dataclass
class Fleet:
    """A dispatcher and workers that begin a new life after each death, as Lambdas do."""

    cloud: Cloud
    deaths: list[str] = field(default_factory=list)

    @property
    def world(self) -> World:
        return self.cloud.world

    def minutes(self, count: int) -> None:
        for _ in range(count):
            minute = self.world.clock.now()
            try:
                self.cloud.minute(minute)
            except Crash:
                self.deaths.append("dispatcher")
                at = self.cloud.dispatcher
                self.cloud.dispatcher = Dispatcher(at.around, at.queue, at.figures, at.worker_id)
            while self._work():
                pass
            self.world.clock.at = minute + MINUTE

    def _work(self) -> bool:
        messages = self.cloud.queue.receive()
        for message in messages:
            try:
                again = self.cloud.work({"Records": [message.record()]})
            except Crash:
                self.deaths.append("worker")
                continue
            left = {failure["itemIdentifier"] for failure in again["batchItemFailures"]}
            self.cloud.queue.settle([message], left)
        return bool(messages)


@scenario(604)
def test_a_town_that_ends_the_dispatcher_delays_its_neighbours_by_a_minute_and_is_set_aside() -> None:
    """Seen: it kept two others from being looked at for six minutes and more."""
    fleet = Fleet(a_cloud(a_dangerous_world()))
    fleet.minutes(1)
    assert fleet.deaths == ["dispatcher"]
    fleet.minutes(1)
    assert ticks(fleet.world, "b") >= 1
    assert ticks(fleet.world, "c") >= 1
    fleet.minutes(20)

    assert fleet.deaths == ["dispatcher", *["worker"] * 3]
    told = [alert for alert in fleet.world.alerts.raised if alert.kind == "town_set_aside"]
    assert [alert.tags["townId"] for alert in told] == [KILLER]
    assert fleet.cloud.summaries()[-1]["townsSetAside"] == [1.0]
    assert fleet.cloud.queue.dead == []

    heal(fleet.world)
    assert ticks(fleet.world, KILLER) == 0
    assert drive(neighbours.resume(fleet.world.around, KILLER))
    fleet.minutes(2)
    assert ticks(fleet.world, KILLER) >= 1
    assert fleet.cloud.summaries()[-1]["townsSetAside"] == [0.0]


@scenario(604)
def test_neighbours_of_a_dead_dispatcher_are_together_again_after_one_run_of_their_own() -> None:
    fleet = Fleet(a_cloud(a_dangerous_world()))
    fleet.minutes(1)
    heal(fleet.world)
    fleet.minutes(2)
    sent = {wake.town_id for wake in fleet.cloud.queue.sent}
    assert sent <= set(TOWNS)
    assert all(wake.alone for wake in fleet.cloud.queue.sent)
    before = len(fleet.cloud.queue.sent)
    for town_id in TOWNS:
        fleet.world.post(event("town_started", event_id=f"once-again-{town_id}"), town_id=town_id)
    fleet.minutes(1)
    assert len(fleet.cloud.queue.sent) == before, "they run in the dispatcher again"
    fleet.world.clock.at += REMEMBERED
    fleet.minutes(1)
    assert notes(fleet.world) == []


def test_a_dispatcher_that_runs_towns_writes_one_note_a_minute_and_an_idle_one_none() -> None:
    world = a_dangerous_world()
    heal(world)
    cloud = a_cloud(world)
    written: list[str] = []
    put = world.objects.put

    def counted(key: str, body: bytes) -> str:
        written.append(key)
        return put(key, body)

    world.objects.put = counted  # type: ignore[method-assign]
    cloud.minute()
    assert sum(key.startswith("watch/") for key in written) <= 2
    assert notes(world) == []
    written.clear()
    world.clock.at = T + 61 * MINUTE
    for key in world.objects.list("due/").keys:
        world.objects.delete(key)
    a_cloud(world).minute()
    assert not any(key.startswith("watch/") for key in written)


def test_a_wake_that_comes_again_is_a_run_of_its_own_because_its_worker_may_have_died() -> None:
    cloud = a_cloud(a_dangerous_world())
    cloud.minute(remaining=timedelta(seconds=0))
    [marker] = cloud.world.markers(KILLER)
    cloud.queue.put(f'{{"town_id": "{KILLER}", "due": [], "repeat_key": "x"}}', group=KILLER)
    for _ in range(5):
        for message in cloud.queue.receive():
            with pytest.raises(Crash):
                cloud.work({"Records": [message.record()]})
        cloud.world.clock.move(seconds=200)
        record_of = drive(cloud.world.store.apart(KILLER))
        if neighbours.is_set_aside(record_of):
            break
    assert neighbours.is_set_aside(drive(cloud.world.store.apart(KILLER)))
    assert marker in cloud.world.markers(KILLER), "for when it is resumed"


# the loop of one machine -----------------------------------------------------------------------------


@dataclass
class Loop:
    """A loop that makes child processes; those that open KILLER die. `reports` is what it told."""

    world: World
    children: list[str] = field(default_factory=list)
    reports: list[PassReport] = field(default_factory=list)
    has_ended: Callable[[LifeNote, datetime], bool] = lambda _, __: True
    pause: float = 5.0

    def __post_init__(self) -> None:
        life = LifeNote(f"life-{id(self)}", (), T)
        own = OwnProcess(life, self.has_ended, self._child)
        self.passes = Passes(self.world.around, self, worker_id=self.world.worker_id, own_process=own, pause=self.pause)

    def _child(self, town_id: str) -> ApartRun:
        self.children.append(town_id)
        try:
            run = in_order(self.world.steps(town_id=town_id))
        except Crash:
            return ApartRun(town_id, death="SIGKILL")
        return ApartRun(town_id, {run.outcome: 1})

    def passed(self, report: PassReport) -> None:
        self.reports.append(report)

    def not_tidied(self, failed: FailedRun) -> None:
        raise AssertionError(failed)

    def live(self, passes: int) -> None:
        for _ in range(passes):
            drive(self.passes.once())
            self.world.clock.move(seconds=5)


def after_a_death(world: World, *towns: str, until: datetime = T + NOTED_FOR) -> World:
    """A loop has died while it ran these towns."""
    drive(world.store.note_life(LifeNote("dead", towns, until, host="here", pid=1)))
    return world


@scenario(605)
def test_the_towns_of_a_dead_loop_run_in_child_processes_until_that_ends_well() -> None:
    loop = Loop(after_a_death(a_dangerous_world(), *TOWNS))
    loop.live(60)

    assert sorted(loop.children) == [KILLER, KILLER, KILLER, "b", "c"]
    assert ticks(loop.world, "b") >= 1
    assert set(loop.reports[-1].set_aside) == {KILLER}
    assert [alert.kind for alert in loop.world.alerts.raised if alert.kind == "town_set_aside"] == ["town_set_aside"]
    for town_id in ("b", "c"):
        loop.world.post(event("town_started", event_id=f"once-again-{town_id}"), town_id=town_id)
    loop.live(2)
    assert {run.town_id for report in loop.reports[-2:] for run in report.runs} == {"b", "c"}

    heal(loop.world)
    drive(neighbours.resume(loop.world.around, KILLER))
    loop.live(14)
    assert ticks(loop.world, KILLER) >= 1
    assert not loop.reports[-1].set_aside


@scenario(605)
def test_a_town_that_costs_two_loops_their_lives_runs_apart_for_an_hour_although_it_runs_well_there() -> None:
    world = a_dangerous_world()
    heal(world)
    first = Loop(after_a_death(world, "b"))
    first.live(1)
    assert first.children == ["b"]
    loop = Loop(after_a_death(world, "b"))
    loop.live(1)
    assert loop.children == ["b"]
    world.post(event("town_started", event_id="once-again"), town_id="b")
    loop.live(2)
    apart = len(loop.children)
    assert apart > 1
    assert not any(run.town_id == "b" for report in loop.reports for run in report.runs)
    world.clock.at += REMEMBERED
    world.post(event("town_started", event_id="and-once-again"), town_id="b")
    loop.live(2)
    assert len(loop.children) == apart
    assert notes(world) == []


@pytest.mark.parametrize("was_made", [False, True], ids=["not made", "made, and its answer lost"])
@pytest.mark.parametrize("at", ["the beginning", "the end"])
def test_a_store_that_fails_when_a_run_of_its_own_is_counted_is_no_death(at: str, was_made: bool) -> None:
    """Seen in a soak: three such failures set a healthy town aside, and it did nothing until a person resumed it."""
    world = a_dangerous_world()
    drive(world.store.keep_apart(Apart("b", lives=1, deaths=0, since=T, at=T)))
    process = OwnRuns()

    def failing(steps: Steps[R]) -> Steps[R]:
        return each_call(
            steps, lambda call: Call(call.name, partial(fail, call)) if "put watch/" in call.name else call
        )

    def fail(call: Call) -> None:
        if was_made:
            call.make()
        raise StoreUnavailable("no answer")

    for _ in range(5):
        steps: Steps[Apart | None]
        if at == "the beginning":
            steps = process.begun(world.around, "b")
        else:
            steps = process.ended(world.around, drive(process.begun(world.around, "b")))
        with pytest.raises(StoreUnavailable):
            drive(failing(steps))
    before = drive(process.begun(world.around, "b"))
    assert before.deaths == 0
    assert drive(process.ended(world.around, before)) == drive(world.store.apart("b"))
    assert not neighbours.must_run_apart(drive(world.store.apart("b")))


def test_a_run_that_dies_is_counted_although_the_store_failed_at_the_one_before() -> None:
    world = a_dangerous_world()
    drive(world.store.keep_apart(Apart("b", lives=1, deaths=1, since=T, at=T)))
    process = OwnRuns()
    with pytest.raises(Crash):
        drive(meanwhile(process.begun(world.around, "b"), before="put watch/", by=death))
    for deaths in (2, 3):
        drive(process.ended(world.around, drive(process.begun(world.around, "b")), died=True))
        record = drive(world.store.apart("b"))
        assert record is not None
        assert record.deaths == deaths


def test_a_run_that_ends_well_in_a_child_process_is_no_death_although_its_loop_was_killed() -> None:
    world = a_dangerous_world()
    drive(world.store.keep_apart(Apart("b", lives=1, deaths=0, since=T, at=T)))
    for _ in range(5):
        drive(OwnRuns().begun(world.around, "b"))  # by a loop that is killed while it waits
        drive(neighbours.ended_here(world.around, "b"))
    record = drive(world.store.apart("b"))
    assert record is not None
    assert (record.lives, record.deaths, record.orderly) == (1, 0, True)


def test_a_town_whose_run_has_ended_well_meanwhile_is_not_told_as_set_aside() -> None:
    world = after_a_death(a_dangerous_world())
    drive(world.store.keep_apart(Apart("b", lives=1, deaths=3, since=T, at=T)))
    watching = neighbours.Neighbours(world.around, LifeNote("me", (), T), has_ended=lambda _, __: False)
    drive(watching.look())
    assert world.alerts.kinds() == ["town_set_aside"]

    drive(world.store.keep_apart(Apart("c", lives=1, deaths=3, since=T, at=T)))
    reads = iter(range(10))

    def after_the_first_read(call: Call) -> Call:
        if call.name == "get watch/apart/c" and next(reads) == 1:
            drive(neighbours.ended_here(world.around, "c"))
        return call

    drive(each_call(watching.look(), after_the_first_read))
    assert world.alerts.kinds() == ["town_set_aside"]
    drive(watching.look())
    assert watching.set_aside == ("b",)


def test_slow_towns_that_once_ran_apart_leave_room_for_those_that_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "PATIENCE_SECONDS", 0.2)
    world = a_dangerous_world()
    heal(world)
    loop = Loop(after_a_death(world, "b", "c"), pause=0.2)
    loop.live(1)
    assert sorted(loop.children) == ["b", "c"]

    go_on = Event()
    get = world.objects.get

    def slow(key: str) -> StoredObject | None:
        if key in ("towns/b/head", "towns/c/head"):
            go_on.wait(10)
        return get(key)

    monkeypatch.setattr(world.objects, "get", slow)
    for town_id in TOWNS:
        world.post(event("town_started", event_id=f"once-again-{town_id}"), town_id=town_id)
    after_a_death(world, KILLER).clock.at += MINUTE
    passed = iter((False, True))

    def wait(_: float) -> bool:
        if ends := next(passed):
            go_on.set()
        return ends

    try:
        drive(loop.passes.until(wait))
    finally:
        go_on.set()
    assert loop.children[2:] == [KILLER]


def test_a_loop_leaves_no_note_when_it_ends_and_one_while_it_runs() -> None:
    world = a_dangerous_world()
    heal(world)
    loop = Loop(world)
    during: list[list[str]] = []
    answers = iter([False, False, True])

    def wait(_: float) -> bool:
        during.append(notes(world))
        return next(answers)

    drive(loop.passes.until(wait))
    assert [len(found) for found in during] == [0, 1, 1]
    assert notes(world) == []


def test_two_loops_that_live_let_each_other_run_their_towns() -> None:
    world = after_a_death(a_dangerous_world(), "b")
    heal(world)
    loop = Loop(world, has_ended=lambda note, now: note.until < now)
    loop.live(1)
    assert loop.children == []
    assert notes(world) == ["watch/lives/dead"]
    world.clock.at += NOTED_FOR
    loop.live(1)
    assert "watch/lives/dead" not in notes(world), "it was not written again, so its loop has ended"


def test_a_loop_whose_towns_have_a_clock_of_their_own_judges_other_loops_by_real_time() -> None:
    """A soak with a town on a fast clock: three hours ahead, its loop took every other loop for a dead one once a minute."""
    world = after_a_death(a_dangerous_world(), "b")
    heal(world)
    real = FakeClock(T)
    around = replace(world.around, clock=FakeClock(T + 3 * REMEMBERED), guard=None, own_clock=True, real=real)
    fast = Neighbours(around, LifeNote("fast", (), T), has_ended=lambda note, now: note.until < now)
    drive(fast.look())
    assert notes(world) == ["watch/lives/dead"]

    drive(fast.note(["toy"]))
    [own] = [note for note in drive(world.store.watched()).lives if note.life == "fast"]
    assert own.until == T + NOTED_FOR

    real.move(seconds=NOTED_FOR.total_seconds() + 1)
    drive(fast.look())
    record = drive(world.store.apart("b"))
    assert record is not None
    assert record.at == real.now()


def test_what_cannot_be_read_of_the_watch_is_named_and_holds_up_nothing() -> None:
    world = a_dangerous_world()
    heal(world)
    for key in ("watch/lives/x", "watch/apart/b", "watch/other", "watch/apart/UPPER"):
        world.objects.put(key, b"{")
    found = drive(world.store.watched())
    assert found.unreadable == ("watch/apart/UPPER", "watch/apart/b", "watch/lives/x", "watch/other")
    loop = Loop(world)
    loop.live(1)
    assert ticks(world, "b") == 1
    assert drive(neighbours.resume(world.around, "b"))
    assert "watch/apart/b" not in notes(world)


def test_a_record_says_what_it_said_when_it_is_read_back() -> None:
    world = World()
    record = Apart("b", lives=1, deaths=2, since=T, at=T + MINUTE, orderly=False, told=True)
    drive(world.store.keep_apart(record))
    assert drive(world.store.apart("b")) == record
    drive(world.store.forget_apart("b"))
    assert drive(world.store.apart("b")) is None
