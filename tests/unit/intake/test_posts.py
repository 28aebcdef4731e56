"""Batches that are posted at the same time share objects, and everything about each of them stays as it was."""

from datetime import timedelta

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.senders import Sender
from shared.intake import ingest
from shared.intake.crowding import beside
from shared.intake.ingest import AcceptedBatch
from shared.intake.posts import Post, post_all
from shared.ports.steps import drive
from tests.towns import T, a_town
from tests.worlds import World, a_world

TOAST = Sender("agent", "toast", 1, request="request-1")
SECOND = timedelta(seconds=1)


def a_batch(name: str, *, sender: Sender = TOAST, reason: str = "stuck", events: int = 1) -> AcceptedBatch:
    raised = [
        {
            "event_id": f"{name}-{number:04}",
            "event_type": "escalation_raised",
            "agent_id": sender.agent,
            "payload": {"title": reason, "severity": "low"},
        }
        for number in range(events)
    ]
    return ingest.batch_of(raised, received_at=T, sent_by=sender)


def posted(world: World, *batches: AcceptedBatch, town: str = "t1") -> list[str | Exception]:
    return drive(post_all(world.store, [Post(town, batch, T) for batch in batches]))


def waiting(world: World, town: str = "t1") -> list[tuple[object, ...]]:
    batches = drive(world.store.read_inbox(town, limit=100)).objects
    return [ingest.read_object(batch.key, batch.body) for batch in batches]


def test_batches_of_one_account_wait_in_one_object_each_event_with_its_own_sender() -> None:
    world = a_world(a_town("t1"))
    later = ingest.batch_of(
        [{"event_id": "later-0001", "event_type": "agent_done", "agent_id": "toast", "payload": {"branch": "b"}}],
        received_at=T + SECOND,
        sent_by=Sender("agent", "toast", 1, request="request-2"),
    )
    first = a_batch("first", events=2)
    [key, same] = posted(world, first, later)
    assert key == same
    assert waiting(world) == [(*first.envelopes, *later.envelopes)]
    assert beside(first.share, [str(key)]) == {key: 3}, "the key says how much of whose waits"
    assert world.markers("t1") != []


def test_one_batch_alone_is_stored_as_ever() -> None:
    world, batch = a_world(a_town("t1")), a_batch("first")
    [key] = posted(world, batch)
    assert str(key).endswith(f"-{batch.id}.json")
    assert waiting(world) == [batch.envelopes]


def test_accounts_signs_of_life_and_towns_do_not_share_objects() -> None:
    world = a_world(a_town("t1"), a_town("t2"))
    nux, beat = a_batch("other", sender=Sender("agent", "nux", 1)), _beat("beat-0001")
    keys = posted(world, a_batch("first"), nux, beat, a_batch("second"))
    [there] = posted(world, a_batch("first"), town="t2")
    assert keys[0] == keys[3]
    assert len({*map(str, keys), str(there)}) == 4


def test_a_hundred_events_share_an_object() -> None:
    world = a_world(a_town("t1"))
    posted(world, a_batch("first", events=50), a_batch("second", events=50))
    assert [len(events) for events in waiting(world)] == [limits.EVENTS_PER_BATCH]


def test_an_object_has_at_most_as_many_events_as_a_batch() -> None:
    world = a_world(a_town("t1"))
    keys = posted(world, *(a_batch(f"batch-{number}", events=40) for number in range(5)))
    assert [len(events) for events in waiting(world)] in ([80, 80, 40], [80, 40, 80], [40, 80, 80])
    assert len(set(map(str, keys))) == 3
    assert all(len(events) <= limits.EVENTS_PER_BATCH for events in waiting(world))


def test_a_batch_that_contradicts_one_before_it_is_refused_alone() -> None:
    world = a_world(a_town("t1"))
    first, other = a_batch("same"), a_batch("same", reason="another")
    [key, refused, again] = posted(world, first, other, a_batch("more"))
    assert isinstance(refused, Refused)
    assert refused.status == 409
    assert key == again
    assert waiting(world) == [(*first.envelopes, *a_batch("more").envelopes)]


def test_the_tick_takes_what_waits_in_one_object() -> None:
    world = a_world(a_town("t1").agent("toast", generation=1))
    posted(world, a_batch("first"), a_batch("second"))
    world.run(town_id="t1")
    taken = [event["event_id"] for record in world.journal("t1") for event in record["outputs"]["events"]]
    assert taken == ["first-0000@toast", "second-0000@toast"]


def _beat(name: str) -> AcceptedBatch:
    beat = {"event_id": name, "event_type": "agent_heartbeat", "agent_id": "toast", "payload": {}}
    return ingest.batch_of([beat], received_at=T, sent_by=TOAST)
