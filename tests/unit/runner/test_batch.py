"""The worker over batches of an honest FIFO queue."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from shared.adapters.sqs_queue import MOST_MARKERS, body_of, deduplication_id, wake_of
from shared.domain import limits
from shared.domain.errors import QueueUnavailable, Refused
from shared.domain.limits import ACTIVE_INTERVAL, TICKS_AT_ONCE
from shared.domain.times import from_text, to_text
from shared.ports.queue import Wake
from shared.ports.steps import drive
from tests.cloud import Cloud, a_cloud, a_fleet
from tests.towns import MS, T, a_town, event
from tests.worlds import a_world


def wake(town_id: str, reason: str = "r1") -> Wake:
    return Wake(town_id, (T,), f"{town_id}:{reason}")


def test_a_wake_ticks_its_town_and_takes_its_marker_away() -> None:
    cloud = a_fleet("one")
    cloud.queue.send([wake("one")])
    assert cloud.queue.pump(cloud.work) == 1

    assert len(cloud.world.journal("one")) == 1
    assert T not in cloud.world.markers("one")
    assert cloud.queue.messages == []


def test_several_wakes_of_one_town_are_one_tick() -> None:
    cloud = a_fleet("one", "two")
    cloud.queue.send([wake("one", "a"), wake("two", "b"), wake("one", "c")])
    assert cloud.queue.pump(cloud.work) == 3

    assert len(cloud.world.journal("one")) == len(cloud.world.journal("two")) == 1
    assert cloud.queue.messages == []


def test_the_tick_of_several_wakes_takes_the_markers_of_all_of_them_away() -> None:
    """One that is left would lead the dispatcher to the town again and again, without anything to do."""
    cloud = a_fleet("one")
    earlier = T - timedelta(seconds=10)
    drive(cloud.world.store.mark_due("one", earlier))
    cloud.queue.send([Wake("one", (earlier,), "one:a"), Wake("one", (T,), "one:b")])
    cloud.queue.pump(cloud.work)

    assert {earlier, T}.isdisjoint(cloud.world.markers("one"))


def test_one_damaged_town_comes_again_and_dies_alone() -> None:
    cloud = a_fleet("good", "bad")
    cloud.world.objects.put("towns/bad/head", b"no head at all")
    cloud.queue.send([wake("bad"), wake("good")])
    for _ in range(6):
        cloud.queue.pump(cloud.work)
        cloud.world.clock.move(seconds=60)

    assert [message.group for message in cloud.queue.dead] == ["bad"]
    assert cloud.world.journal("good")
    assert {line["town_id"] for line in cloud.lines if line["event"] == "town.failed"} == {"bad"}


def test_messages_behind_a_failed_one_of_the_same_town_stay_in_order() -> None:
    cloud = a_fleet("bad")
    cloud.world.objects.put("towns/bad/head", b"no head at all")
    cloud.queue.send([wake("bad", "a"), wake("bad", "b")])
    cloud.queue.pump(cloud.work, limit=1)

    assert [message.message_id for message in cloud.queue.messages] == ["m1", "m2"]
    assert cloud.queue.receive() == []  # its group waits
    cloud.world.clock.move(seconds=5)
    assert [message.message_id for message in cloud.queue.receive()] == ["m1", "m2"]


def test_a_failed_town_is_tried_again_within_seconds_and_ever_more_seldom() -> None:
    cloud = a_fleet("bad")
    cloud.world.objects.put("towns/bad/head", b"no head at all")
    cloud.queue.send([wake("bad")])
    tried = []
    for second in range(200):
        if cloud.queue.pump(cloud.work):
            tried.append(second)
        cloud.world.clock.move(seconds=1)

    assert tried == [0, 5, 20, 65, 125]
    assert [message.group for message in cloud.queue.dead] == ["bad"]


def test_towns_for_which_no_time_was_left_are_done_by_the_next_worker_and_not_a_quarter_of_an_hour_later() -> None:
    """A town whose effects are slow took a worker's life, and the nine others of its batch were unseen for 18 minutes."""
    towns = [f"town-{number}" for number in range(10)]
    cloud = a_fleet(*towns)
    cloud.queue.send([wake(town) for town in towns])
    cloud.queue.pump(lambda event_: cloud.work(event_, remaining=timedelta(seconds=85)))
    assert cloud.world.journal("town-0") == []

    cloud.queue.pump(cloud.work)

    assert cloud.world.clock.now() - T < timedelta(seconds=10)
    assert all(cloud.world.journal(town) for town in towns)
    assert cloud.queue.messages == []


def test_messages_that_cannot_be_put_back_all_come_again_when_the_worker_is_given_up() -> None:
    cloud = a_fleet("good", "bad")
    cloud.world.objects.put("towns/bad/head", b"no head at all")
    cloud.queue.send([wake("bad"), wake("good")])
    cloud.queue.unavailable = True
    with pytest.raises(QueueUnavailable):
        cloud.queue.pump(cloud.work)
    cloud.queue.unavailable = False
    cloud.world.clock.at += cloud.queue.visibility

    assert [message.group for message in cloud.queue.receive()] == ["bad", "good"]
    assert len(cloud.world.journal("good")) == 1


def test_the_results_of_effects_are_taken_within_seconds_though_nobody_else_looks() -> None:
    """Each step of a chain took up to a minute: the results wrote a marker, and the dispatcher looked again a minute later."""
    cloud = a_cloud(a_world(a_town("one").bead("b")))
    cloud.queue.send([wake("one")])
    cloud.queue.pump(cloud.work)

    events = [each["event_type"] for row in cloud.world.journal("one") for each in row["outputs"]["events"]]
    assert "dispatch_result" in events
    assert cloud.world.inbox("one") == ()
    assert cloud.world.clock.now() - T <= 2 * ACTIVE_INTERVAL
    assert all(at > cloud.world.clock.now() for at in cloud.world.markers("one"))


def test_a_worker_that_dies_in_the_middle_of_a_batch_has_lost_nothing() -> None:
    cloud = a_fleet("one", "two", "three")
    cloud.queue.send([wake("one"), wake("two"), wake("three")])

    def dies(event_: dict[str, list[dict[str, str]]]) -> dict[str, list[dict[str, str]]]:
        cloud.work({"Records": event_["Records"][:1]})
        raise KeyboardInterrupt  # the environment is gone

    with pytest.raises(KeyboardInterrupt):
        cloud.queue.pump(dies)
    cloud.world.clock.at += cloud.queue.visibility
    cloud.queue.pump(cloud.work)

    assert all(cloud.world.journal(town) for town in ("one", "two", "three"))
    assert cloud.queue.messages == []


def test_a_redelivered_wake_brings_no_tick_before_its_time() -> None:
    cloud = a_fleet("one")
    for reason in ("a", "b", "c"):
        cloud.queue.send([wake("one", reason)])
        cloud.queue.pump(cloud.work)

    at = [from_text(record["now"]) for record in cloud.world.journal("one")]
    assert all(later - earlier >= ACTIVE_INTERVAL for earlier, later in pairwise(at))
    assert cloud.queue.messages == []


def test_an_event_that_comes_a_moment_after_a_tick_waits_for_its_distance_and_not_for_the_next_minute() -> None:
    cloud = a_fleet("one")
    cloud.queue.send([wake("one", "a")])
    cloud.queue.pump(cloud.work)
    cloud.world.clock.move(seconds=1)
    cloud.world.post(event("town_started", event_id="a-moment-later"), town_id="one")
    cloud.queue.send([Wake("one", (cloud.world.clock.now(),), "one:b")])
    cloud.queue.pump(cloud.work)

    newest = cloud.world.journal("one")[-1]
    assert [each["event_id"] for each in newest["outputs"]["events"]][-1] == "a-moment-later"
    assert from_text(newest["now"]) <= T + 2 * ACTIVE_INTERVAL
    assert cloud.world.inbox("one") == ()


def test_a_worker_without_the_time_to_wait_leaves_the_marker() -> None:
    cloud = a_fleet("one")
    for number in range(limits.TICKS_AT_ONCE):
        has_event(cloud, f"early-event-{number}")
        cloud.queue.pump(cloud.work)
    has_event(cloud, "one-too-many")
    cloud.queue.pump(lambda event_: cloud.work(event_, remaining=timedelta(seconds=91)))

    now = cloud.world.clock.now()
    assert cloud.world.inbox("one")
    assert now < min(cloud.world.markers("one")) <= now + ACTIVE_INTERVAL


def has_event(cloud: Cloud, name: str) -> None:
    """A hundred milliseconds later an event arrives, and its sender wakes the town."""
    cloud.world.clock.move(ms=100)
    cloud.world.post(event("town_started", event_id=name), town_id="one")
    cloud.queue.send([Wake("one", (cloud.world.clock.now().replace(microsecond=0),), f"one:{name}")])


def test_events_act_at_once_until_they_are_a_stream_which_costs_a_tick_in_five_seconds() -> None:
    cloud = a_fleet("one")
    cloud.queue.send([wake("one")])
    cloud.queue.pump(cloud.work)
    for number in range(40):
        has_event(cloud, f"event-{number:03}")
        cloud.queue.pump(cloud.work)

    at = [from_text(record["now"]) for record in cloud.world.journal("one")]
    assert at[limits.TICKS_AT_ONCE - 1] - at[0] <= timedelta(seconds=1)
    window = limits.TICKS_AT_ONCE * ACTIVE_INTERVAL
    assert all(
        later - earlier >= ACTIVE_INTERVAL for earlier, later in zip(at, at[limits.TICKS_AT_ONCE :], strict=False)
    )
    assert max(sum(start <= each < start + window for each in at) for start in at) <= 2 * limits.TICKS_AT_ONCE
    assert cloud.world.inbox("one") == ()


def test_events_that_a_long_interval_holds_wait_for_one_marker_and_not_for_a_new_one_in_each_pass() -> None:
    cloud = a_cloud(a_world(a_town("one").config(alarm_interval_active=60)))
    for number in range(limits.TICKS_AT_ONCE + 1):
        has_event(cloud, f"event-{number:03}")
        cloud.world.look()
    assert min(cloud.world.markers("one")) > cloud.world.clock.now() + timedelta(seconds=20)
    assert cloud.world.inbox("one")


@pytest.mark.parametrize("due", [T, T + timedelta(hours=1)], ids=["due at once", "due much later"])
def test_signs_of_life_bring_no_tick_before_its_time(due: datetime) -> None:
    town = a_town("one").key("last_tick_at", to_text(T - ACTIVE_INTERVAL + MS)).key("next_due_at", to_text(due))
    world = a_world(town)
    beat = event("agent_heartbeat", {"generation": 1, "last_event_at": None, "active_tools": []}, agent="a")
    world.post(beat, town_id="one")

    report = world.run(force=False, town_id="one")

    assert (report.outcome, report.next_due) == ("not_due", T + (MS if due == T else limits.WATCH_INTERVAL))


def test_a_wake_of_a_town_that_does_not_exist_is_done_with_and_leaves_no_marker() -> None:
    cloud = a_fleet()
    cloud.world.objects.put("due/20260110T120000Z/nobody", b"")
    cloud.queue.send([wake("nobody")])
    cloud.queue.pump(cloud.work)

    assert cloud.queue.messages == []
    assert cloud.world.objects.list("due/").keys == ()


def test_what_is_no_wake_goes_back_and_the_others_are_run() -> None:
    cloud = a_fleet("one")
    for body in ("", "{}", "[]", '{"town_id": "../one", "due": [], "repeat_key": "x"}', '{"town_id": 1}'):
        cloud.queue.put(body)
    cloud.queue.send([wake("one")])
    cloud.queue.pump(cloud.work)

    assert [message.group for message in cloud.queue.messages] == ["anybody"] * 5
    assert cloud.world.journal("one")


def test_no_commit_is_begun_in_the_last_seconds_of_a_worker() -> None:
    cloud = a_fleet("one")
    store = cloud.worker.around.store
    original = store.read_inbox

    def slowly(*arguments: Any, **named: Any) -> Any:
        cloud.world.clock.move(seconds=97)
        return original(*arguments, **named)

    store.read_inbox = slowly  # type: ignore[method-assign]
    cloud.queue.send([wake("one")])
    cloud.queue.pump(lambda event_: cloud.work(event_, remaining=timedelta(seconds=100)))

    assert [line["error"] for line in cloud.lines if line["event"] == "town.failed"] == ["OutOfTime"]
    assert cloud.world.journal("one") == []
    assert len(cloud.queue.messages) == 1


def test_when_time_is_short_wakes_go_back_untouched() -> None:
    cloud = a_fleet("one")
    cloud.queue.send([wake("one")])
    cloud.queue.pump(lambda event_: cloud.work(event_, remaining=timedelta(seconds=89)))

    assert len(cloud.queue.messages) == 1
    assert cloud.world.journal("one") == []


def test_the_second_tick_of_a_warm_worker_downloads_no_image_that_did_not_change() -> None:
    cloud = a_fleet("one")
    cloud.queue.send([wake("one", "a")])
    cloud.queue.pump(cloud.work)
    known = cloud.worker.warm.get("one")
    assert known is not None
    seen: list[str] = []
    original = cloud.world.objects.get

    def get(key: str) -> object:
        seen.append(key)
        return original(key)

    cloud.world.clock.move(seconds=30)
    cloud.world.post(event("town_started", event_id="second-event"), town_id="one")
    cloud.world.objects.get = get  # type: ignore[method-assign, assignment]
    cloud.queue.send([Wake("one", (cloud.world.clock.now(),), "one:b")])
    cloud.queue.pump(cloud.work)

    assert "towns/one/head" not in seen
    assert len(cloud.world.journal("one")) == 2


def test_another_workers_commit_is_noticed_by_a_warm_one() -> None:
    cloud = a_fleet("one")
    cloud.queue.send([wake("one", "a")])
    cloud.queue.pump(cloud.work)
    cloud.world.clock.move(seconds=30)
    cloud.world.run(town_id="one")
    cloud.world.clock.move(seconds=30)
    cloud.world.post(event("town_started", event_id="second-event"), town_id="one")
    cloud.queue.send([Wake("one", (cloud.world.clock.now(),), "one:b")])
    cloud.queue.pump(cloud.work)

    assert [record["tick_no"] for record in cloud.world.journal("one")] == list(
        range(2, 2 + len(cloud.world.journal("one")))
    )
    assert cloud.queue.messages == []


def test_two_events_of_one_town_ten_seconds_apart_are_two_wakes_and_repeats_of_one_are_one() -> None:
    cloud = a_fleet("one")
    cloud.queue.send([Wake("one", (T,), "one:batch-1")])
    cloud.queue.send([Wake("one", (T,), "one:batch-1")])
    cloud.queue.pump(cloud.work)
    cloud.world.clock.move(seconds=10)
    cloud.queue.send([Wake("one", (cloud.world.clock.now(),), "one:batch-2")])

    assert len(cloud.queue.messages) == 1


def test_a_wake_survives_its_way_through_the_queue() -> None:
    given = Wake("one", (T, T + timedelta(seconds=7)), "one:batch")
    assert wake_of(body_of(given)) == given


def test_a_message_carries_a_bounded_number_of_markers() -> None:
    many = Wake("one", tuple(T + timedelta(seconds=second) for second in range(500)), "one:x")
    assert len(wake_of(body_of(many)).due) == MOST_MARKERS


@pytest.mark.parametrize("key", ["x" * 129, "with space", "ümlaut", ""])
def test_a_repeat_key_that_sqs_would_not_take_becomes_its_digest(key: str) -> None:
    assert len(deduplication_id(Wake("one", (), key))) == 64


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[1]",
        '{"town_id": "a", "due": "x", "repeat_key": "k"}',
        '{"town_id": "a", "due": ["x"], "repeat_key": "k"}',
    ],
)
def test_a_body_that_is_no_wake_is_refused(body: str) -> None:
    with pytest.raises(Refused):
        wake_of(body)


def test_of_a_town_that_failed_nothing_is_believed_any_more() -> None:
    """A large image lies in a file, in which a run that failed may have left half a tick."""
    cloud = a_fleet("one")
    cloud.queue.send([wake("one", "a")])
    cloud.queue.pump(cloud.work)
    assert cloud.worker.warm.get("one") is not None
    cloud.world.clock.move(seconds=30)
    cloud.world.objects.put("towns/one/head", b"no head at all")
    cloud.queue.send([Wake("one", (cloud.world.clock.now(),), "one:b")])
    cloud.queue.pump(cloud.work)

    assert cloud.worker.warm.get("one") is None


def an_agent_that_starts_within(seconds: float, *, due: datetime = T - timedelta(seconds=3)) -> Cloud:
    """A town with work, to which the dispatcher has sent a worker."""
    cloud = a_cloud(a_world(a_town("one").bead("b")))
    start = cloud.world.runtime.start

    def slowly(*arguments: Any, **named: Any) -> Any:
        cloud.world.clock.move(seconds=seconds)
        return start(*arguments, **named)

    cloud.world.runtime.start = slowly  # type: ignore[method-assign]
    cloud.queue.send([Wake("one", (due,), "one:due", watched=True)])
    cloud.queue.pump(cloud.work)
    return cloud


def test_the_results_of_effects_are_taken_at_once_and_what_follows_later_is_left_to_the_dispatcher() -> None:
    """It looks again within seconds; a worker that waited too would do nothing else meanwhile."""
    cloud = an_agent_that_starts_within(seconds=2)

    assert len(cloud.world.journal("one")) == 2
    assert cloud.world.inbox("one") == ()
    assert cloud.world.clock.now() - T < ACTIVE_INTERVAL


def test_what_follows_a_wake_of_an_event_is_not_left_to_the_dispatcher_although_a_wake_of_its_own_came_with_it() -> (
    None
):
    """Who posted the event does not look again, and the dispatcher knows nothing of that wake."""
    cloud = a_fleet("one")
    for number in range(TICKS_AT_ONCE + 1):
        cloud.world.clock.move(ms=100)
        cloud.world.post(event("nudge_timeout", event_id=f"of-a-burst-{number}"), town_id="one")
        cloud.world.run(force=False, town_id="one")
    assert len(cloud.world.inbox("one")) == 1, "the burst is over, and its last event waits for its turn"

    of_the_event = Wake("one", (cloud.world.clock.now(),), "one:event")
    cloud.queue.send([Wake("one", (T - timedelta(seconds=3),), "one:due", watched=True), of_the_event])
    cloud.queue.pump(cloud.work)

    assert cloud.world.inbox("one") == ()


def test_results_that_come_late_are_taken_at_once_for_the_dispatcher_may_have_gone() -> None:
    """It leaves its minute when no marker falls into what is left of it, and a start of an agent writes none before its end."""
    cloud = an_agent_that_starts_within(seconds=12)

    assert cloud.world.inbox("one") == ()
    assert cloud.world.clock.now() - T == timedelta(seconds=12)


def test_results_of_the_second_of_the_wake_are_taken_by_the_worker_for_the_dispatcher_takes_their_marker_for_the_old_one() -> (
    None
):
    """A town and a second that it has handed over it does not look at for 90 seconds, and nor does the queue take a wake."""
    cloud = an_agent_that_starts_within(seconds=0.5, due=T)

    assert cloud.world.inbox("one") == ()
    assert all(at > cloud.world.clock.now() for at in cloud.world.markers("one"))


def test_a_worker_that_comes_too_early_comes_again_itself_if_the_marker_that_it_leaves_is_of_the_second_of_its_wake() -> (
    None
):
    """That marker, which it wrote anew, the dispatcher took for handed over, and so the town was not looked at for 90 s."""
    cloud = a_fleet("one")
    cloud.world.run(town_id="one")
    cloud.world.clock.move(seconds=2)
    cloud.world.post(event("nudge_timeout", event_id="a-moment-later"), town_id="one")
    cloud.queue.send([Wake("one", (T, T + timedelta(seconds=2)), "one:due", watched=True)])
    cloud.queue.pump(cloud.work)

    assert cloud.world.inbox("one") == ()
    assert min(cloud.world.markers("one")) > cloud.world.clock.now()


def test_a_worker_goes_on_while_all_that_follows_falls_into_the_second_of_its_wake() -> None:
    cloud = a_fleet("one")
    cloud.world.clock.move(ms=500)
    cloud.world.run(town_id="one")
    cloud.world.clock.move(ms=4600)
    work = {"bead": {"bead_id": "b1", "type": "issue", "title": "t", "rig_id": "rig-1"}}
    cloud.world.post(event("bead_created", work, event_id="create-b1"), town_id="one")
    cloud.queue.send([Wake("one", (T, T + ACTIVE_INTERVAL), "one:due", watched=True)])
    cloud.queue.pump(cloud.work)

    assert cloud.world.runtime.seen("start")
    assert cloud.world.inbox("one") == ()
    assert all(at > cloud.world.clock.now() for at in cloud.world.markers("one"))
