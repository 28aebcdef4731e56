"""What each line of the protocol is for: without it, an event waits unheard, a town is forgotten, a result vanishes."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import Refused, StoreUnavailable
from shared.domain.report import ClaimedEffect
from shared.domain.states import EffectKind
from shared.ports.steps import Call, Steps, drive
from shared.runner.dispatch import due_towns, run_due_town
from shared.runner.perform import perform
from shared.runner.run_report import FailedRun
from shared.runner.sweep import sweep
from shared.storage import keys
from tests.fault_injection import meanwhile
from tests.orders import a_payload
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, event
from tests.worlds import World, a_world, in_order


def unavailable() -> None:
    raise StoreUnavailable("the store did not answer")


def a_stop_that_is_due() -> TownBuilder:
    """A town whose next tick stops an agent: an effect that may be tried again."""
    town = a_town().bead("b1", status="in_progress", assignee_agent_bead_id="p")
    return town.agent("p", status="working", hook="b1", last_dispatch_outcome="started")


@scenario(600)
def test_a_result_that_cannot_be_posted_is_reported_and_its_effect_stays_claimable() -> None:
    world = a_world(a_stop_that_is_due())
    world.post(event("bead_cancelled", bead="b1"))
    world.clock.move(seconds=1)
    [(town_id, markers)] = in_order(due_towns(world.around)).items()
    run = run_due_town(world.around, town_id, markers, warm=world.warm, worker_id="w")
    failed = in_order(meanwhile(run, before="create towns/t1/inbox/", by=unavailable))

    assert isinstance(failed, FailedRun), "it is reported"
    assert isinstance(failed.error, StoreUnavailable)
    assert "1 result" in failed.error.message
    assert "stays claimed" in failed.error.hint
    assert world.outbox()["stop_agent p 1"] == ("claimed", 1)
    world.live_through(timedelta(minutes=6))
    assert world.outbox()["stop_agent p 1"] == ("done", 2), "a later tick claimed it again and heard the answer"


def test_a_run_says_when_its_results_have_woken_the_town() -> None:
    """Whoever has run the town runs it again for them; else they would wait for the next minute."""
    world = a_world(a_stop_that_is_due())
    world.post(event("bead_cancelled", bead="b1"))
    run = world.run()
    assert world.inbox() != ()
    assert run.woken_at == (world.clock.now(),)


@scenario(600)
def test_no_effect_is_begun_after_a_result_that_could_not_be_posted() -> None:
    """Its result would not be heard either. It stays claimed, and a later tick begins it."""
    world = a_world(a_stop_that_is_due())
    agent: dict[str, Any] = {"generation": 1, "attempt": 1, "deadline": T + timedelta(minutes=10)}
    stop, nudge = (
        ClaimedEffect(
            effect_id=f"e{seq}",
            seq=seq,
            kind=kind,
            subject=subject,
            payload=a_payload(kind, subject, agent_id="p"),
            **agent,
        )
        for seq, kind, subject in ((1, EffectKind.STOP_AGENT, "p"), (2, EffectKind.SEND_NUDGE, "n"))
    )

    def post(_: object) -> Steps[None]:
        yield Call("post", unavailable)

    with pytest.raises(StoreUnavailable):
        drive(perform((stop, nudge), world.around.outside, time=world.around.time, claimed_at=T, post=post))
    assert [call.verb for call in world.runtime.calls] == ["stop"]


@pytest.mark.parametrize("before", ["create towns/t1/inbox/", "put due/"])
def test_an_event_is_heard_whose_marker_was_deleted_while_it_was_posted(before: str) -> None:
    """A worker that saw an empty inbox deletes the marker between the poster's two writes."""
    world = a_world(a_town().key("next_due_at", "2026-01-11T12:00:00.000Z").bead("b1"))
    posted = world.store.post("t1", b"{}", received_at=T, batch_id="b", wake=True)

    def worker() -> None:
        for key in world.objects.list("due/").keys:
            world.objects.delete(key)

    in_order(meanwhile(posted, before=before, by=worker))
    assert T in world.markers()


def test_a_town_is_due_whose_marker_was_deleted_while_it_was_created() -> None:
    world = a_world()

    def sweeper() -> None:
        for key in world.objects.list("due/").keys:
            world.objects.delete(key)

    town = a_town("new")
    image = town.image()
    facts = a_world(a_town()).image().facts
    in_order(meanwhile(world.store.create("new", image, facts), before="create towns/new/head", by=sweeper))
    assert world.markers("new")


@scenario(601)
def test_the_sweep_sees_every_town_however_many_there_are() -> None:
    objects = MemoryObjects()
    towns = [f"t{number:04}" for number in range(1_201)]
    for town_id in towns:
        objects.put(keys.head(town_id), b"")
    world = World(objects=objects)
    report = in_order(sweep(world.around))
    assert (report.towns, report.resume_after) == (1_201, None)
    assert [failed.town_id for failed in report.failed] == towns


@scenario(601)
@pytest.mark.parametrize("page", [1, 2, 3, 4])
def test_the_sweep_restores_markers_on_every_page(page: int) -> None:
    names = ("a", "b", "c", "d")
    world = a_world(*(a_town(name).bead("b1") for name in names))
    for key in world.objects.list("due/").keys:
        world.objects.delete(key)
    restored = in_order(sweep(world.around, page=page)).restored
    assert [marker.town_id for marker in restored] == list(names)


def test_a_replacement_is_younger_than_what_it_replaces_whatever_the_clock_says(tmp_path: Path) -> None:
    """Otherwise the order of versions, by which a town is restored, is not the order of its commits."""
    objects = DirectoryObjects(tmp_path)
    etags = [objects.create("towns/t1/head", b"0")]
    an_hour_ahead = (tmp_path / "towns" / "t1" / "head").stat().st_mtime_ns + 3_600 * 10**9
    os.utime(tmp_path / "towns" / "t1" / "head", ns=(an_hour_ahead, an_hour_ahead))
    for number in range(1, 5):
        etags.append(objects.replace("towns/t1/head", str(number).encode(), etags[-1]))
    versions = objects.versions("towns/t1/head")
    assert [version.etag for version in versions] == etags[::-1]
    assert [version.current for version in versions] == [True, False, False, False, False]
    written = [version.at for version in versions]
    assert written == sorted(set(written), reverse=True), "at least a millisecond apart"


@scenario(602)
def test_the_input_of_a_dry_run_is_refused_by_another_image_of_the_same_tick() -> None:
    """A town that was restored and went on otherwise comes by the same tick number again."""

    def a_ticked_world(attempts: int) -> World:
        world = a_world(a_town().bead("b1", labels=["gt:held"]))
        world.post(event("town_configured", {"config": {"max_dispatch_attempts": attempts}}))
        world.run()
        world.clock.move(seconds=5)
        return world

    one, same, another = a_ticked_world(3), a_ticked_world(3), a_ticked_world(4)
    shown = one.dry_run().report.input
    assert another.image().facts.tick_no == one.image().facts.tick_no == shown.tick_no - 1

    with pytest.raises(Refused, match="moved on"):
        another.run(exactly=shown)
    assert another.image().facts.tick_no == shown.tick_no - 1
    assert same.run(exactly=shown).tick is not None
