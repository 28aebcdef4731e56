"""A pass over due towns: the boundary of an error is the town."""

from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import StoreUnavailable
from shared.domain.limits import MILLISECOND
from shared.engine import tick
from shared.ports.steps import Call, drive
from shared.ports.town_store import CommitFacts, TownImage
from shared.runner.passes import Passes
from shared.runner.run_report import FailedRun, PassReport
from shared.runner.sweep import sweep
from shared.runner.warm_images import WarmImages
from shared.runner.worker import run_town
from shared.storage.restore import KeptPast
from tests.fault_injection import each_call
from tests.towns import T, a_town, event
from tests.worlds import World, a_world

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def an_image(town_id: str, content: bytes = b"") -> TownImage:
    facts = CommitFacts(tick_no=1, time=T, commit_id="1-x", next_due=None, schema_version=1)
    return TownImage(town_id, content, etag="e", txid=1, image_digest="d", facts=facts)


def without_deletions(call: Call) -> Call:
    """The same call, but nothing can be deleted."""

    def unavailable() -> None:
        raise StoreUnavailable(f"{call.name}: no answer")

    return Call(call.name, unavailable) if call.name.startswith("delete ") else call


def test_a_town_that_meets_a_bug_does_not_hold_up_those_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World().put_in(a_town("a-broken")).put_in(a_town("b-healthy"))
    for town_id in ("a-broken", "b-healthy"):
        world.post(event("town_started"), town_id=town_id)
    real = tick.run

    def tick_with_a_bug(sql: Any, given: Any, *, town_id: str) -> Any:
        if town_id == "a-broken":
            raise KeyError("a bug that only this town meets")
        return real(sql, given, town_id=town_id)

    monkeypatch.setattr(tick, "run", tick_with_a_bug)
    report = world.look()

    assert [failed.town_id for failed in report.failed] == ["a-broken"]
    assert isinstance(report.failed[0].error, KeyError)
    assert [run.town_id for run in report.runs] == ["b-healthy"]
    assert world.warm.get("a-broken") is None
    assert world.warm.get("b-healthy") is not None


def test_as_many_images_are_kept_warm_as_are_allowed_and_the_longest_unused_goes() -> None:
    warm = WarmImages(limit=2)
    for town_id in ("a", "b", "a", "c"):
        warm.keep(an_image(town_id))
    assert [warm.get(town_id) is not None for town_id in ("a", "b", "c")] == [True, False, True]


def test_warm_images_hold_no_more_bytes_than_are_allowed_or_one_image() -> None:
    warm = WarmImages(limit_bytes=100)
    for town_id, size in (("a", 40), ("b", 50), ("c", 20), ("huge", 500)):
        warm.keep(an_image(town_id, bytes(size)))
        assert sum(image.size for image in warm.images.values()) <= 100 or list(warm.images) == ["huge"]
    assert list(warm.images) == ["huge"]
    warm.keep(an_image("d", bytes(10)))
    assert list(warm.images) == ["d"]
    warm.keep(an_image("e", bytes(90)))
    assert list(warm.images) == ["d", "e"]


def test_a_sweep_whose_time_is_over_looks_at_no_town_and_says_where_to_go_on() -> None:
    world = World().put_in(a_town("a")).put_in(a_town("b"))
    now = world.clock.now()

    over = drive(sweep(world.around, until=now))
    assert (over.towns, over.resume_after) == (0, "")

    in_time = drive(sweep(world.around, until=now + MILLISECOND))
    assert (in_time.towns, in_time.resume_after) == (2, None)


def test_what_went_wrong_after_a_commit_is_raised_when_its_effects_are_performed() -> None:
    """Nothing of it is lost: the effects are claimed and cannot wait, and a batch that lies there still is not taken twice."""
    world = World().put_in(a_town("a").bead("b"))
    world.post(event("town_started"), town_id="a")

    with pytest.raises(StoreUnavailable):
        drive(each_call(run_town("a", world.around, worker_id="w1"), without_deletions))
    assert len(world.journal("a")) == 1
    assert len(world.runtime.seen("start")) == 1


class Quiet:
    """A watcher that lets no retention fail."""

    def passed(self, report: PassReport) -> None:
        """The caller has the report."""

    def not_tidied(self, failed: FailedRun) -> None:
        raise failed.error


@pytest.mark.parametrize(
    ("later", "failed"),
    [(timedelta(0), []), (4.5 * SECOND - MILLISECOND, []), (4.5 * SECOND, ["t1"])],
    ids=["at once", "a moment too early", "after its rest"],
)
def test_a_town_whose_run_failed_rests_for_four_and_a_half_seconds(later: timedelta, failed: list[str]) -> None:
    """Loops that look without a pause would otherwise do nothing but fail."""
    world = a_world(a_town())
    world.objects.put("towns/t1/head", b"damaged")
    loop = Passes(world.around, Quiet(), worker_id=world.worker_id)
    assert "t1" in [each.town_id for each in drive(loop.once()).failed]
    world.clock.at += later
    assert [each.town_id for each in drive(loop.once()).failed] == failed


@pytest.mark.parametrize(("later", "again"), [(DAY - MILLISECOND, False), (DAY, True)], ids=["a moment less", "a day"])
def test_what_is_no_longer_needed_is_deleted_once_a_day(later: timedelta, again: bool) -> None:
    world, tidied = a_world(a_town().bead("b", labels=["gt:held"])), []

    def past(town_id: str) -> KeptPast:
        tidied.append(town_id)
        objects: MemoryObjects = world.objects  # type: ignore[assignment]
        return KeptPast(objects, objects, town_id)

    loop = Passes(world.around, Quiet(), worker_id=world.worker_id, pasts=past)
    drive(loop.once())
    assert tidied == ["t1"]
    world.clock.at += later
    drive(loop.once())
    assert tidied == ["t1"] * (2 if again else 1)
