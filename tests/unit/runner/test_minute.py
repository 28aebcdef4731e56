"""The dispatcher over one scheduled minute, and over an idle hour."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.errors import StoreUnavailable
from shared.domain.limits import MILLISECOND
from shared.domain.times import from_text
from shared.runner.life import DISPATCHER_TURN
from shared.runner.minute import STUCK_AFTER
from shared.storage.towns import ObjectTownStore
from shared.telemetry import catalogue
from tests.cloud import Cloud, a_cloud
from tests.cloud import a_fleet as fleet_of
from tests.emf import metrics_of
from tests.scenarios.test_breaker_and_dispatch import breaker_open
from tests.towns import T, a_town, event
from tests.worlds import a_world

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def a_fleet(count: int) -> Cloud:
    return fleet_of(*(f"town-{number:03d}" for number in range(count)))


def test_a_due_town_is_ticked_here_and_now() -> None:
    cloud = a_fleet(1)
    report = cloud.minute()

    assert report.outcomes["committed"] >= 1
    assert cloud.queue.sent == []
    assert cloud.world.journal("town-000")


def test_many_due_towns_go_to_the_queue_once_each_although_every_pass_sees_them() -> None:
    cloud = a_fleet(5)
    report = cloud.minute()

    assert report.passes > 5
    assert sorted(wake.town_id for wake in cloud.queue.sent) == [f"town-{number:03d}" for number in range(5)]
    assert report.handed_over == 5
    assert report.outcomes == {}


def test_a_town_whose_group_is_stuck_in_the_queue_is_run_by_the_dispatcher_in_the_end() -> None:
    """Behind a message whose worker died nothing of its town is delivered before the queue gives that worker up."""
    cloud = a_fleet(5)
    cloud.minute(remaining=timedelta(seconds=11))
    assert len(cloud.queue.receive()) == 5  # to a worker that dies

    cloud.world.clock.at = T + MINUTE
    report = cloud.minute()

    assert report.outcomes["committed"] == 5
    for number in range(5):
        [row] = cloud.world.journal(f"town-{number:03d}")
        assert from_text(row["now"]) >= T + STUCK_AFTER


def test_what_the_queue_did_not_take_is_offered_again_by_the_next_pass() -> None:
    cloud = a_fleet(5)
    cloud.queue.refuses = {"town-003"}
    report = cloud.minute(remaining=timedelta(seconds=18))

    assert report.handed_over == 4
    assert report.left >= 1
    # alone it is few: the next pass runs it here
    assert report.outcomes["committed"] >= 1


def test_workers_take_what_the_dispatcher_handed_over() -> None:
    cloud = a_fleet(5)
    cloud.minute(remaining=timedelta(seconds=11))
    while cloud.queue.pump(cloud.work):
        pass

    assert all(cloud.world.journal(f"town-{number:03d}") for number in range(5))
    assert cloud.queue.messages == cloud.queue.dead == []


def test_passes_lie_five_seconds_apart_and_end_with_the_minute() -> None:
    cloud = a_cloud(a_world(a_town()))
    cloud.world.post(event("town_started"), at=T + timedelta(seconds=3))
    for second in range(0, 60, 5):
        cloud.world.objects.put(f"due/20260110T1200{second:02d}Z/nobody", b"")
    report = cloud.minute()

    assert report.passes <= 12
    assert cloud.world.clock.now() - T <= MINUTE


def test_a_minute_into_which_no_marker_falls_ends_after_one_look() -> None:
    cloud = a_cloud(a_world())
    began = cloud.world.clock.now()
    report = cloud.minute()

    assert report.passes == 1
    assert cloud.world.clock.now() == began


def test_a_call_that_comes_a_minute_late_does_nothing_that_the_next_one_would_do() -> None:
    cloud = a_fleet(1)
    report = cloud.minute(T - MINUTE)

    assert report.late
    assert cloud.world.journal("town-000") == []
    [line] = cloud.lines
    assert metrics_of(line)["scheduledRunsLate"] == 1
    assert metrics_of(line)["scheduledRuns"] == 0


def test_when_time_is_short_no_town_is_begun_and_the_rest_is_counted() -> None:
    cloud = a_fleet(3)
    report = cloud.minute(remaining=timedelta(seconds=9))

    assert report.left == 3
    assert report.outcomes == {}
    assert cloud.world.markers("town-000") == [T]


def test_no_commit_is_begun_in_the_last_seconds() -> None:
    cloud = a_fleet(1)
    runtime_takes = 50
    around = cloud.dispatcher.around
    original = around.store.read_inbox

    def slowly(*arguments: Any, **named: Any) -> Any:
        cloud.world.clock.move(seconds=runtime_takes)
        return original(*arguments, **named)

    around.store.read_inbox = slowly  # type: ignore[method-assign]
    report = cloud.minute(remaining=timedelta(seconds=52))

    assert report.failed == {"town-000": "OutOfTime"}
    assert cloud.world.journal("town-000") == []


def test_an_agent_that_may_take_a_minute_to_start_is_started_by_a_worker_and_not_by_a_dispatcher_of_58_s() -> None:
    """A start may take 60 s. Begun by the dispatcher, it could be cut off in the middle; claimed and not begun, it would be
    held for five minutes and then taken for lost, for a start has one attempt. So the dispatcher commits nothing.
    """
    cloud = a_cloud(a_world(a_town().bead("b1")))
    report = cloud.minute(remaining=timedelta(seconds=58))

    assert cloud.world.runtime.seen("start") == []
    assert cloud.world.journal() == []
    assert (report.handed_over, report.outcomes, report.failed) == (1, {}, {})
    assert [wake.town_id for wake in cloud.queue.sent] == ["t1"]  # once, however often the dispatcher looked
    assert cloud.world.markers() == [T]  # should the wake be lost, the next minute looks again

    cloud.queue.pump(cloud.work)
    assert len(cloud.world.runtime.running()) == 1
    assert cloud.world.town().status("b1") == "in_progress"
    assert cloud.queue.messages == []


def test_a_town_that_only_a_worker_can_run_is_looked_at_once_a_minute_however_long_it_has_been_due() -> None:
    """Due for longer than a worker should need it was run here too, in every pass, and each time counted as handed over."""
    cloud = a_cloud(a_world(a_town().bead("b1")))
    cloud.world.clock.move(minutes=3)
    looks = []
    original = cloud.dispatcher.around.store.read_inbox

    def seen(town_id: str, **named: Any) -> Any:
        looks.append(town_id)
        return original(town_id, **named)

    cloud.dispatcher.around.store.read_inbox = seen  # type: ignore[method-assign]
    report = cloud.minute()

    assert report.passes > 5
    assert (looks, report.due, report.handed_over) == (["t1"], 1, 1)


def test_a_town_that_is_too_large_for_the_dispatcher_is_run_by_a_worker_and_has_not_failed() -> None:
    """The dispatcher is asleep for most of a minute, so it has less memory than workers."""
    cloud = a_cloud(a_world(a_town().bead("b1")))
    cloud.dispatcher.around = replace(cloud.dispatcher.around, store=ObjectTownStore(cloud.world.objects, largest=4096))
    report = cloud.minute()

    assert (report.handed_over, report.failed, cloud.world.alerts.raised) == (1, {}, [])
    cloud.queue.pump(cloud.work)
    assert cloud.world.journal()


def test_a_worker_that_met_a_passing_fault_is_followed_by_another_one_within_seconds() -> None:
    """Its message was invisible for 18 minutes and held up every later wake of its town, and with it a start of an agent,
    which only workers make.
    """
    cloud = a_cloud(a_world(a_town().bead("b1")))
    cloud.minute(remaining=timedelta(seconds=58))
    original = cloud.worker.around.store.read_inbox

    def unavailable(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("no answer")

    cloud.worker.around.store.read_inbox = unavailable  # type: ignore[method-assign]
    cloud.queue.pump(cloud.work)
    cloud.worker.around.store.read_inbox = original  # type: ignore[method-assign]
    assert cloud.queue.pump(cloud.work) == 0

    cloud.world.clock.move(seconds=5)
    cloud.queue.pump(cloud.work)
    assert len(cloud.world.runtime.running()) == 1
    assert cloud.queue.messages == []


@pytest.mark.parametrize(("seconds", "here"), [(34, True), (33, False)])
def test_what_takes_half_a_minute_at_most_is_done_here_while_there_is_half_a_minute(seconds: int, here: bool) -> None:
    town = (
        a_town()
        .agent("p")
        .insert(
            "outbox",
            effect_id="e1",
            seq=1,
            kind="stop_agent",
            subject="p",
            generation=1,
            payload={"town_id": "t1", "agent_id": "p", "generation": 1},
            state="pending",
            attempts=0,
            deadline=T + 10 * MINUTE,
            created_at=T,
        )
    )
    cloud = a_cloud(a_world(town))
    report = cloud.minute(remaining=timedelta(seconds=seconds))

    assert len(cloud.world.runtime.seen("stop")) == here
    assert (report.outcomes["committed"] > 0, report.handed_over) == (here, not here)


def test_a_worker_whose_tick_took_too_long_for_its_effects_leaves_them_to_the_next_one() -> None:
    cloud = a_cloud(a_world(a_town().bead("b1")))
    cloud.minute(remaining=timedelta(seconds=58))
    original = cloud.worker.around.store.read_inbox

    def slowly(*arguments: Any, **named: Any) -> Any:
        cloud.world.clock.move(seconds=30)
        return original(*arguments, **named)

    cloud.worker.around.store.read_inbox = slowly  # type: ignore[method-assign]
    cloud.queue.pump(lambda event_: cloud.work(event_, remaining=timedelta(seconds=92)))
    assert cloud.world.journal() == []

    cloud.world.clock.at += cloud.queue.visibility
    cloud.queue.pump(cloud.work)
    assert len(cloud.world.runtime.running()) == 1
    assert len(cloud.world.runtime.seen("start")) == 1


def test_a_damaged_town_is_tried_once_a_minute_and_does_not_hold_up_the_others() -> None:
    cloud = a_fleet(2)
    cloud.world.objects.put("towns/town-000/head", b"no head at all")
    report = cloud.minute()

    assert report.failed == {"town-000": "DamagedImage"}
    assert cloud.world.journal("town-001")
    assert [line["town_id"] for line in cloud.lines if line["event"] == "town.failed"] == ["town-000"]
    assert cloud.world.alerts.kinds() == ["town_failed"]


def test_a_store_that_does_not_answer_is_an_error_of_the_minute_and_its_line_is_written_all_the_same() -> None:
    cloud = a_fleet(1)

    def unavailable(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("no answer")

    cloud.world.objects.list = unavailable  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        cloud.minute()
    assert len(cloud.summaries()) == 1


@pytest.mark.parametrize("minute", [60, 61, 75], ids=["on the hour", "its first call was lost", "many were lost"])
def test_lost_markers_are_found_at_the_beginning_of_an_hour_and_once_in_it(minute: int) -> None:
    cloud = a_fleet(2)
    for key in cloud.world.objects.list("due/").keys:
        cloud.world.objects.delete(key)
    cloud.world.clock.at = T + MINUTE
    assert cloud.minute().restored == 0  # somebody else was there when this hour began
    assert cloud.world.markers("town-000") == []

    cloud.world.clock.at = T + minute * MINUTE
    assert cloud.minute().restored == 2
    assert cloud.world.journal("town-000")
    assert cloud.world.journal("town-001")

    for key in cloud.world.objects.list("due/").keys:
        cloud.world.objects.delete(key)
    cloud.world.clock.at = T + (minute + 1) * MINUTE
    assert cloud.minute().restored == 0


def test_a_sweep_that_takes_more_than_an_hour_comes_to_its_end() -> None:
    """Every full hour began it anew, so that the last towns of a large fleet were never looked at."""
    cloud = a_fleet(4)
    for key in cloud.world.objects.list("due/").keys:
        cloud.world.objects.delete(key)
    cloud.dispatcher.sweep_page = 1
    original = cloud.dispatcher.around.store.manifests

    def slowly(*arguments: Any, **named: Any) -> Any:
        cloud.world.clock.move(seconds=30)
        return original(*arguments, **named)

    cloud.dispatcher.around.store.manifests = slowly  # type: ignore[method-assign]
    found = 0
    for hour in range(5):
        cloud.world.clock.at = T + hour * 60 * MINUTE
        found += cloud.minute().restored
    assert found == 4


def test_a_sweep_that_runs_out_of_time_goes_on_in_the_next_minute() -> None:
    cloud = a_fleet(4)
    for key in cloud.world.objects.list("due/").keys:
        cloud.world.objects.delete(key)
    cloud.dispatcher.sweep_page = 1
    original = cloud.dispatcher.around.store.manifests

    def slowly(*arguments: Any, **named: Any) -> Any:
        cloud.world.clock.move(seconds=15)
        return original(*arguments, **named)

    cloud.dispatcher.around.store.manifests = slowly  # type: ignore[method-assign]
    first = cloud.minute(T)
    assert 0 < first.restored < 4
    assert cloud.dispatcher.sweep_after is not None
    found = first.restored
    for _ in range(3):
        cloud.world.clock.at = cloud.world.clock.at.replace(second=0) + MINUTE
        found += cloud.minute().restored
    assert found == 4
    assert cloud.dispatcher.sweep_after is None


def test_no_tick_waits_for_the_sweep() -> None:
    """It came before the first pass: at 2,000 towns, the ticks of an hour's first minutes were 44, 24, 24 and 8 s late."""
    cloud = a_fleet(4)
    for key in cloud.world.objects.list("due/").keys:
        if not key.endswith("/town-003"):
            cloud.world.objects.delete(key)
    cloud.dispatcher.sweep_page = 1
    original = cloud.dispatcher.around.store.manifests

    def slowly(*arguments: Any, **named: Any) -> Any:
        cloud.world.clock.move(seconds=4)
        return original(*arguments, **named)

    cloud.dispatcher.around.store.manifests = slowly  # type: ignore[method-assign]
    report = cloud.minute(T)

    assert cloud.world.journal("town-003")[0]["now"] == "2026-01-10T12:00:00.000Z"
    assert report.restored == 3
    for town in ("town-000", "town-001", "town-002"):
        assert cloud.world.journal(town)


def test_an_idle_hour_has_sixty_lines_with_every_metric() -> None:
    cloud = a_cloud(a_world())
    for minute in range(60):
        cloud.world.clock.at = T + minute * MINUTE
        cloud.minute()

    assert len(cloud.lines) == 60
    for line in cloud.lines:
        figures = metrics_of(line)
        assert set(figures) == set(catalogue.BY_NAME)
        assert {name for name, value in figures.items() if value} == {"scheduledRuns", "dispatchPasses"}


def test_each_minute_of_a_busy_hour_has_one_summary_too() -> None:
    cloud = a_fleet(2)
    for minute in range(60):
        cloud.world.clock.at = max(cloud.world.clock.at, T + minute * MINUTE)
        cloud.minute(T + minute * MINUTE)

    assert len(cloud.summaries()) == 60
    for line in cloud.lines:
        metrics_of(line)
    seen = {name for line in cloud.lines for name in metrics_of(line)}
    assert seen >= set(catalogue.BY_NAME)


def test_an_open_breaker_sets_off_its_alarm_although_its_town_is_seldom_ticked() -> None:
    """The alarm wanted three of five minutes; a town that dispatches nothing is ticked once in half an hour."""
    [alarm] = catalogue.BY_NAME["circuitBreakerOpen"].alarms
    cloud = a_cloud(a_world(breaker_open(a_town("one").bead("b"))))
    cloud.world.post(event("town_started"), town_id="one")
    open_in: list[float] = []
    for minute in range(35):
        cloud.world.clock.at = max(cloud.world.clock.at, T + minute * MINUTE)
        begun = len(cloud.lines)
        cloud.minute()
        figures = [metrics_of(line) for line in cloud.lines[begun:]]
        open_in.append(max(each.get("circuitBreakerOpen", 0) for each in figures))

    assert open_in.count(1) < 3  # the case that it is about
    assert sum(value > alarm.threshold for value in open_in[: alarm.periods]) >= alarm.points


def test_of_a_town_that_failed_the_dispatcher_believes_nothing_any_more() -> None:
    cloud = a_fleet(1)
    cloud.minute()
    assert cloud.dispatcher.warm.get("town-000") is not None
    cloud.world.objects.put("towns/town-000/head", b"no head at all")
    cloud.world.clock.at = T + MINUTE
    cloud.world.objects.put("due/20260110T120100Z/town-000", b"")
    cloud.minute()

    assert cloud.dispatcher.warm.get("town-000") is None


def test_a_town_that_was_handed_over_is_run_here_exactly_when_it_counts_as_stuck() -> None:
    cloud = a_fleet(5)
    cloud.minute(remaining=timedelta(seconds=11))
    assert len(cloud.queue.receive()) == 5  # to a worker that dies
    cloud.world.clock.at = T + MINUTE
    cloud.minute()
    first = min(from_text(cloud.world.journal(f"town-{number:03d}")[0]["now"]) for number in range(5))
    assert first == T + STUCK_AFTER


@pytest.mark.parametrize(("more", "left"), [(0 * SECOND, 1), (MILLISECOND, 0)], ids=["at the limit", "a moment before"])
def test_no_town_is_begun_from_the_moment_on_in_which_it_could_not_end(more: timedelta, left: int) -> None:
    report = a_fleet(1).minute(remaining=DISPATCHER_TURN + more)
    assert (report.left, report.outcomes["committed"]) == (left, 1 - left)


def test_a_pass_that_would_begin_at_the_end_of_the_minute_is_left_to_the_next_one() -> None:
    cloud = a_cloud(a_world())
    for second in range(0, 60, 5):
        cloud.world.objects.put(f"due/20260110T1200{second:02d}Z/nobody", b"")
    report = cloud.minute(remaining=DISPATCHER_TURN + 10 * SECOND)
    assert report.passes == 2
    assert cloud.world.clock.now() == T + 5 * SECOND
