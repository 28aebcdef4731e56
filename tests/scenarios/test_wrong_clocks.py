"""Scenarios 560 to 566: workers and stores whose clocks are wrong, and towns that such a clock has moved."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import ClocksDisagree, FromTheFuture
from shared.domain.tick import Envelope
from shared.domain.times import to_milliseconds
from shared.ports.steps import drive
from shared.ports.watch import Apart
from shared.questions.status import status
from shared.runner import neighbours
from shared.runner.clock_guard import ClockGuard
from shared.runner.passes import Passes
from shared.runner.run_report import FailedRun, PassReport
from shared.runner.sweep import SweepReport, sweep
from shared.runner.worker import run_town
from shared.storage import in_place
from shared.storage.restore import KeptPast
from tests.fakes import FakeClock, RecordingAlerts
from tests.fault_injection import meanwhile
from tests.scenarios.table import scenario
from tests.towns import TOWN, T, TownBuilder, a_town, ago, event
from tests.worlds import World, in_order

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass
class Machines:
    """A store with a clock, and workers whose clocks lead by what each is given."""

    store: FakeClock = field(default_factory=lambda: FakeClock(T))
    workers: list[World] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.objects = MemoryObjects(kept_versions=1000, now=lambda: self.store.at)

    def worker(self, *, ahead: timedelta = timedelta(0)) -> World:
        """A worker with a clock of its own, alerts of its own and worker ids of its own."""
        world = World(objects=self.objects, clock=FakeClock(self.store.at + ahead))
        world.guard = ClockGuard(world.clock, self.store.now, self._real_seconds, alerts=world.alerts)
        world._workers = 1000 * len(self.workers)
        if self.workers:
            world.runtime, world.forge = self.workers[0].runtime, self.workers[0].forge
        self.workers.append(world)
        return world

    def _real_seconds(self) -> float:
        return (self.store.at - T).total_seconds()

    def live(self, span: timedelta) -> None:
        """Time passes on every clock."""
        self.store.at += span
        for worker in self.workers:
            worker.clock.at += span


@pytest.fixture
def machines() -> Machines:
    return Machines()


def a_bead(number: int) -> Envelope:
    """Somebody files a bead that no rule touches."""
    return event(
        "bead_created", {"bead": {"bead_id": f"b{number}", "type": "issue", "title": "t", "labels": ["gt:held"]}}
    )


def a_working_town(*agents: str) -> TownBuilder:
    """Each of these agents works on a bead and was heard a second ago."""
    town = a_town()
    for agent in agents:
        town.bead(f"b-{agent}", status="in_progress", assignee_agent_bead_id=agent)
        town.agent(agent, status="working", hook=f"b-{agent}", last_activity_at=ago(seconds=1))
    return town


def statuses(world: World, *beads: str) -> list[str | None]:
    town = world.town()
    return [town.status(bead) for bead in beads]


def errors(report: PassReport) -> list[type[Exception]]:
    return [type(failed.error) for failed in report.failed]


class Quiet:
    """A watcher that lets no retention fail."""

    def passed(self, report: PassReport) -> None:
        """The caller has the report."""

    def not_tidied(self, failed: FailedRun) -> None:
        raise failed.error


def a_loop(world: World) -> Passes:
    def kept(town_id: str) -> KeptPast:
        objects: MemoryObjects = world.objects  # type: ignore[assignment]
        return KeptPast(objects, objects, town_id)

    return Passes(world.around, Quiet(), worker_id=world.worker_id, pasts=kept)


# --- 560 to 562: a worker whose clock is wrong ------------------------------------------------------


@scenario(560)
@pytest.mark.parametrize("lead", [DAY, -DAY, 3653 * DAY, 100 * SECOND, 31 * SECOND], ids=str)
def test_a_loop_with_a_wrong_clock_does_nothing_at_all_and_says_so_once_an_hour(
    machines: Machines, lead: timedelta
) -> None:
    right = machines.worker()
    right.put_in(a_town())
    right.post(a_bead(1))
    before = {key: machines.objects.get(key) for key in machines.objects.list("").keys}
    wrong = machines.worker(ahead=lead)
    loop = a_loop(wrong)
    for _ in range(12):
        report = in_order(loop.once())
        assert isinstance(report.problem, ClocksDisagree)
        assert (report.runs, report.failed) == ([], [])
        machines.live(5 * SECOND)
    assert {key: machines.objects.get(key) for key in machines.objects.list("").keys} == before
    assert wrong.alerts.kinds() == ["clocks_disagree"]
    machines.live(HOUR)
    in_order(loop.once())
    assert wrong.alerts.kinds() == ["clocks_disagree"] * 2

    assert [run.outcome for run in right.look().runs] == ["committed"]
    assert right.town().status("b1") == "open"


@scenario(560)
def test_a_dead_agents_bead_is_started_again_although_a_clock_a_day_ahead_has_looked_at_its_town(
    machines: Machines,
) -> None:
    right, wrong = machines.worker(), machines.worker(ahead=DAY)
    right.put_in(a_working_town("p"))
    with pytest.raises(ClocksDisagree):
        wrong.run()
    for _ in range(60):
        machines.live(5 * SECOND)
        right.look()
    assert [call.subject for call in right.runtime.calls if call.verb == "start"] != []
    assert right.town().status("b-p") == "in_progress"


@scenario(561)
def test_healthy_agents_are_left_alone_if_every_second_pass_is_100_s_ahead(machines: Machines) -> None:
    """Once, three healthy beads were started 15 times and failed: to the pass that was ahead, every beat was too old."""
    worker = machines.worker()
    loop = a_loop(worker)
    agents = ("p", "q", "r")
    worker.put_in(a_working_town(*agents))
    for number in range(120):
        if number % 6 == 0:
            beats = [event("agent_heartbeat", {}, agent=agent) for agent in agents]
            worker.post(*beats)
        if number % 2:
            worker.clock.at += 100 * SECOND
            assert isinstance(in_order(loop.once()).problem, ClocksDisagree)
            worker.clock.at -= 100 * SECOND
        else:
            assert errors(in_order(loop.once())) == []
        machines.live(5 * SECOND)
    assert statuses(worker, *(f"b-{agent}" for agent in agents)) == ["in_progress"] * 3
    assert [call for call in worker.runtime.calls if call.verb == "start"] == []


@scenario(561)
@pytest.mark.parametrize("lead", [DAY, -DAY], ids=str)
def test_the_result_of_an_effect_during_which_the_clock_was_set_wrong_is_heard_at_once(
    machines: Machines, lead: timedelta
) -> None:
    """Once, it was dated a day ahead, and so was the marker that wakes the town: the stop was made again, and heard a day later."""
    right, wrong = machines.worker(), machines.worker()
    right.put_in(a_working_town("p"))
    right.post(event("bead_cancelled", bead="b-p"))

    def set_wrong() -> None:
        wrong.clock.at += lead

    in_order(meanwhile(wrong.steps(), before="stop_agent p", by=set_wrong))
    assert wrong.alerts.kinds() == ["clocks_disagree"]
    [results] = right.inbox()
    assert results.startswith(f"towns/{TOWN}/inbox/{to_milliseconds(machines.store.at)}-")
    machines.live(5 * SECOND)
    assert [run.outcome for run in right.look().runs] == ["committed"]
    assert right.outbox()["stop_agent p 1"] == ("done", 1)


@scenario(561)
def test_a_run_of_its_own_during_which_the_clock_was_set_wrong_does_not_keep_its_town_apart_for_a_day(
    machines: Machines,
) -> None:
    right, wrong = machines.worker(), machines.worker()
    right.put_in(a_town())
    died = Apart(TOWN, lives=1, deaths=0, since=machines.store.at, at=machines.store.at, orderly=False)
    drive(right.store.keep_apart(died))
    own_runs = neighbours.OwnRuns()
    before = drive(own_runs.begun(wrong.around, TOWN))
    wrong.clock.at += DAY
    after = drive(own_runs.ended(wrong.around, before))
    assert after is not None
    assert after.at == machines.store.at
    with pytest.raises(ClocksDisagree):
        drive(own_runs.begun(wrong.around, TOWN))
    assert drive(right.store.apart(TOWN)) == after, "the run that was not made is not counted as a death"


@scenario(561)
def test_a_town_that_is_resumed_by_a_clock_a_day_ahead_runs_at_once(machines: Machines) -> None:
    right, wrong = machines.worker(), machines.worker(ahead=DAY)
    right.put_in(a_town())
    for key in machines.objects.list("due/").keys:
        machines.objects.delete(key)
    at = machines.store.at
    drive(right.store.keep_apart(Apart(TOWN, lives=1, deaths=3, since=at, at=at, orderly=False)))
    assert drive(neighbours.resume(wrong.around, TOWN))
    assert right.markers() == [at]


@scenario(562)
def test_two_workers_that_disagree_by_20_s_share_the_work(machines: Machines) -> None:
    first, second = machines.worker(ahead=10 * SECOND), machines.worker(ahead=-10 * SECOND)
    first.put_in(a_town())
    for number in range(6):
        worker = (first, second)[number % 2]
        worker.post(a_bead(number))
        machines.live(30 * SECOND)
        assert [run.outcome for run in worker.look().runs] == ["committed"]
    assert first.alerts.kinds() == second.alerts.kinds() == []


@scenario(562)
def test_a_store_whose_clock_is_wrong_stops_every_worker_and_each_says_which_two_clocks_disagree(
    machines: Machines,
) -> None:
    first, second = machines.worker(), machines.worker()
    first.put_in(a_town())
    machines.store.at += HOUR
    for worker in (first, second):
        with pytest.raises(ClocksDisagree, match="1 h behind the clock of the store"):
            worker.run()
        [alert] = worker.alerts.raised
        assert "every worker says this, the store's clock is wrong" in alert.extra["hint"]


# --- 563 to 565: what a wrong clock has left --------------------------------------------------------


def moved_by(machines: Machines, lead: timedelta) -> World:
    """A town in which a worker without a guard, of an earlier release, has made one tick with a wrong clock; and a right worker."""
    right = machines.worker()
    right.put_in(a_working_town("p"))
    right.run()
    wrong = World(objects=machines.objects, clock=FakeClock(machines.store.at + lead), runtime=right.runtime)
    wrong._workers = 5000
    wrong.post(a_bead(7))
    wrong.look()
    machines.live(5 * SECOND)
    return right


def swept(world: World) -> SweepReport:
    return in_order(sweep(world.around))


@scenario(563)
@pytest.mark.parametrize("lead", [DAY, 3653 * DAY, 70 * SECOND], ids=str)
def test_a_head_from_the_future_is_told_by_the_sweep_the_status_and_whoever_runs_the_town(
    machines: Machines, lead: timedelta
) -> None:
    right = moved_by(machines, lead)
    report = swept(right)
    assert [type(failed.error) for failed in report.failed] == [FromTheFuture]
    assert right.alerts.kinds()[-1] == "town_failed"
    assert drive(status(TOWN, right.around)).ahead_seconds == (lead - 5 * SECOND) // SECOND

    right.post(a_bead(8))
    assert errors(right.look()) == [FromTheFuture]
    assert right.inbox() != ()


@scenario(563)
def test_a_sweep_that_stood_still_takes_no_commit_made_meanwhile_for_one_from_the_future(machines: Machines) -> None:
    """A laptop slept between its look at the clock and its look at the town. People were told to restore a healthy town."""
    right, slept = machines.worker(), machines.worker()
    right.put_in(a_town())
    right.look()  # an idle town has no marker, so the sweep looks at its head

    def another_machine_goes_on() -> None:
        machines.live(10 * MINUTE)
        right.post(a_bead(8))
        assert [run.outcome for run in right.look().runs] == ["committed"]

    report = drive(meanwhile(sweep(slept.around), before="start_of", by=another_machine_goes_on))
    assert (report.towns, report.failed) == (1, [])


@scenario(563)
def test_restoring_brings_time_back_and_the_town_goes_on(machines: Machines) -> None:
    right = moved_by(machines, DAY)
    right.post(a_bead(8))
    kept = KeptPast(machines.objects, machines.objects, TOWN)
    last_good = next(point for point in drive(kept.points()) if point.time <= right.clock.now())
    old = drive(kept.at_txid(last_good.txid))
    drive(in_place.restore_in_place(right.store, kept, old, now=right.clock.now(), worker_id="operator"))
    assert drive(status(TOWN, right.around)).ahead_seconds is None
    for _ in range(60):
        machines.live(5 * SECOND)
        assert errors(right.look()) == []
    town = right.town()
    assert town.status("b8") == "open"
    assert [call.subject for call in right.runtime.calls if call.verb == "start"] != []
    assert swept(right).failed == []


@scenario(564)
def test_a_head_that_is_a_minute_ahead_is_no_reason_to_wait(machines: Machines) -> None:
    right = moved_by(machines, 60 * SECOND)
    right.post(a_bead(8))
    assert [run.outcome for run in right.look().runs] == ["committed"]
    assert drive(status(TOWN, right.around)).ahead_seconds is None


@scenario(565)
def test_a_due_marker_that_a_clock_ahead_has_written_does_not_silence_the_town(machines: Machines) -> None:
    """A quiet tick commits nothing, so the head is not from the future: only the marker is."""
    right = machines.worker()
    right.put_in(a_town())
    for key in machines.objects.list("due/").keys:
        machines.objects.delete(key)
    tomorrow = T + DAY
    machines.objects.put(f"due/{tomorrow:%Y%m%dT%H%M%SZ}/{TOWN}", b"")
    machines.live(HOUR)
    assert right.look().runs == []
    assert [marker.at for marker in swept(right).restored] == [right.clock.now()]
    assert [run.outcome for run in right.look().runs] == ["committed"]


# --- 566: towns on a clock of their own -------------------------------------------------------------


@scenario(566)
def test_a_town_on_its_own_clock_says_so_and_real_time_leaves_it_alone(machines: Machines) -> None:
    right = machines.worker()
    right.put_in(a_town())
    fast = World(objects=machines.objects, clock=FakeClock(T + 20 * MINUTE))
    around = replace(fast.around, own_clock=True)
    in_order(run_town(TOWN, around, worker_id="fast", force=True))

    assert right.town().value("clock") == "own"
    assert swept(right).failed == []
    assert right.alerts.raised == []
    assert drive(status(TOWN, right.around)).own_clock
    with pytest.raises(FromTheFuture, match="runs on its own clock"):
        right.run()
    assert in_order(run_town(TOWN, around, worker_id="fast2", force=True)).outcome in ("committed", "quiet")


@scenario(566)
def test_the_key_is_part_of_the_recorded_input_so_a_replay_stores_it_too(machines: Machines) -> None:
    world = World(objects=machines.objects, clock=FakeClock(T), self_check_share=1)
    world.put_in(a_town())
    world.alerts = RecordingAlerts()
    run = in_order(run_town(TOWN, replace(world.around, own_clock=True), worker_id="fast", force=True))
    assert run.diverged == ()
    assert world.journal()[-1]["inputs"]["own_clock"] is True
