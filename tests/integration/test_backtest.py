"""Recorded windows run with other code: what it would have done otherwise is found, and where it would do the same nothing is."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Never

import pytest

from shared.domain.report import AppliedEvent, JudgedAction
from shared.engine import reconcile
from shared.ports.steps import drive
from shared.replay.backtest.changes import Change, changes_of
from shared.replay.backtest.summary import Unread, summary_of
from shared.replay.backtest.window import WindowBacktest, backtest, beside, joined
from shared.replay.time_window import Window
from shared.replay.what_if.comparison import Outputs, Parting
from shared.rules import RULES
from shared.rules.base import Rule
from shared.storage import in_place
from shared.storage.restore import KeptPast
from tests.replayed import a_busy_world, a_world_with_a_past, past_of
from tests.towns import T, a_town, event
from tests.worlds import World

pytestmark = pytest.mark.slow

LONG_AGO = T - timedelta(days=3)


@pytest.fixture(scope="module")
def busy() -> World:
    return a_busy_world()


@pytest.fixture
def without_dispatch(busy: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """From now on the code has no rule B1: no bead gets an agent."""
    rules = tuple(rule for rule in RULES if rule.code != "B1")
    defaults = reconcile.decide.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "rules", rules)
    return busy


def run(world: World, start: datetime = T, end: datetime | None = None) -> WindowBacktest:
    return drive(backtest("t1", past_of(world), Window(start, end or world.clock.now())))


def dispatches(found: WindowBacktest) -> list[Change]:
    return [change for change in found.changes if change.name == "dispatch_agent"]


def test_the_code_that_made_the_past_does_the_same_again(busy: World) -> None:
    found = run(busy)
    assert (found.ticks, found.ticks_that_differ, found.changes, found.failed) == (120, 0, (), None)
    assert summary_of([found], accepted=False).is_the_same


def test_what_a_missing_rule_no_longer_does_is_lost(without_dispatch: World) -> None:
    found = run(without_dispatch)
    lost = [change for change in dispatches(found) if "dispatch_ready" in change.rule]
    assert lost
    assert {change.kind for change in lost} == {"lost"}
    assert found.ticks_that_differ > len({change.tick for change in lost}), "what follows differs too"


def test_beside_the_live_code_each_tick_starts_from_history(without_dispatch: World) -> None:
    """So only the ticks in which the rule acted differ, and not what followed from them."""
    found = drive(beside("t1", past_of(without_dispatch), 0))
    assert found is not None
    assert (found.ticks, found.last_tick, found.notes) == (120, 120, ())
    acted = {change.tick for change in run(without_dispatch).changes if "dispatch_ready" in change.rule}
    assert acted <= {change.tick for change in found.changes}
    assert found.ticks_that_differ < run(without_dispatch).ticks_that_differ
    assert drive(beside("t1", past_of(without_dispatch), 120)) is None


def test_ticks_that_are_run_one_by_one_are_together_what_they_are_at_once(without_dispatch: World) -> None:
    whole = drive(beside("t1", past_of(without_dispatch), 100))
    parts = [drive(beside("t1", past_of(without_dispatch), tick, most=1)) for tick in range(100, 120)]
    assert [part.last_tick for part in parts if part is not None] == list(range(101, 121))
    assert reduce(joined, (part for part in parts if part is not None)) == whole


def test_code_that_cannot_run_a_tick_is_an_answer_and_no_crash(busy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(reconcile, "decide", broken)
    found = run(busy)
    assert found.failed is not None
    assert found.failed.startswith("tick 1: ")
    assert not summary_of([found], accepted=True).is_the_same


def test_a_rule_that_raises_is_named_even_where_it_had_nothing_to_do(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Never:
        raise ZeroDivisionError

    rules = tuple(Rule("B1", broken) if rule.code == "B1" else rule for rule in RULES)
    defaults = reconcile.decide.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "rules", rules)
    found = run(busy)
    assert found.ticks == 120, "each tick goes on without the rule"
    assert found.failed is not None
    assert found.failed.startswith("tick 1: rule ")
    assert "ZeroDivisionError" in found.failed


def test_a_window_goes_on_after_a_restore_in_place() -> None:
    world = a_world_with_a_past(a_town().bead("b1"))
    for number in range(3):
        world.clock.move(seconds=30)
        world.post(
            event("bead_updated", {"priority": ("high", "low")[number % 2]}, bead="b1", event_id=f"change-{number}")
        )
        world.run()
    world.clock.move(seconds=30)
    restored(world, to_txid=2)
    world.clock.move(seconds=30)
    world.post(event("bead_updated", {"priority": "critical"}, bead="b1", event_id="change-after"))
    world.run()
    found = run(world)
    assert (found.changes, found.notes, found.ticks) == ((), (), 4)


def test_of_a_window_that_begins_before_the_town_the_rest_is_run(busy: World) -> None:
    found = run(busy, LONG_AGO)
    assert (found.ticks, found.ticks_that_differ) == (120, 0)
    assert [note for note in found.notes if "is kept from" in note]
    before = run(busy, LONG_AGO, LONG_AGO + timedelta(hours=1))
    assert (before.ticks, before.failed) == (0, None)


def test_a_window_in_which_the_town_had_no_tick_is_run_and_differs_in_nothing(busy: World) -> None:
    """Seen: the last piece of a long window had no tick, and the run of that town ended with an error of Python."""
    later = busy.clock.now() + timedelta(minutes=1)
    found = run(busy, later, later + timedelta(hours=1))
    assert (found.ticks, found.ticks_that_differ, found.failed) == (0, 0, None)


def parting(tick: int, *, then: Outputs = Outputs(), now: Outputs = Outputs()) -> Parting:  # noqa: B008 - a frozen value
    return Parting(tick, T + timedelta(seconds=tick), then, now, ())


def action(bead: str, *, outcome: str = "applied") -> Outputs:
    judged = JudgedAction(
        "beads.dispatch_ready", {"type": "dispatch_agent", "bead_id": bead, "agent_id": "x"}, "applied"
    )
    return Outputs(actions=(replace(judged, outcome=outcome),))  # type: ignore[arg-type] # a word of the journal


def kinds(*partings: Parting) -> list[tuple[str, str, int, int]]:
    return [(each.kind, each.subject, each.tick, each.moved_ms) for each in changes_of(partings)]


def test_an_action_that_happens_in_another_tick_has_moved() -> None:
    assert kinds(parting(5, then=action("b1")), parting(9, now=action("b1"))) == [("moved", "b1", 5, 4000)]
    assert kinds(parting(5, now=action("b1")), parting(9, then=action("b1"))) == [("moved", "b1", 9, -4000)]


def test_an_action_of_another_bead_is_not_the_same_action() -> None:
    assert kinds(parting(5, then=action("b1"), now=action("b2"))) == [("lost", "b1", 5, 0), ("gained", "b2", 5, 0)]


def test_an_action_with_another_outcome_in_the_same_tick_has_not_moved() -> None:
    both = parting(5, then=action("b1"), now=action("b1", outcome="skipped"))
    assert kinds(both, parting(7, now=action("b1"))) == [("other", "b1", 5, 0), ("gained", "b1", 7, 0)]


def test_events_are_compared_by_their_ids() -> None:
    then = Outputs(events=(AppliedEvent("e1", "agent_done", "applied"),))
    now = Outputs(events=(AppliedEvent("e1", "agent_done", "skipped"),))
    (change,) = changes_of([parting(3, then=then, now=now)])
    assert (change.kind, change.what, change.name, change.subject) == ("other", "event", "agent_done", "e1")


def test_the_summary_counts_by_rule_and_names_the_first_of_each_kind(without_dispatch: World) -> None:
    one = run(without_dispatch)
    made = summary_of([one, replace(one, town_id="t2"), Unread("t3", "its head is damaged")], accepted=True)
    line = next(each for each in made.changes if each.name == "dispatch_agent" and "dispatch_ready" in each.rule)
    alone = [change for change in one.changes if change.rule == line.rule and change.name == line.name]
    assert (line.lost, line.towns) == (2 * len(alone), ("t1", "t2"))
    assert [(first.kind, first.town_id, first.tick) for first in line.first] == [("lost", "t1", alone[0].tick)]
    assert line.first[0].link == f"/t/t1/timeline?span=all&tick={alone[0].tick}"
    assert [(town.town_id, town.problems) for town in made.towns][2] == ("t3", ("its head is damaged",))


def restored(world: World, *, to_txid: int) -> None:
    """The town as it was after a commit, as its newest commit."""
    kept = KeptPast(world.objects, past_of(world).versions, "t1")
    old = drive(kept.at_txid(to_txid))
    drive(in_place.restore_in_place(world.store, kept, old, now=world.clock.now(), worker_id=world.worker_id()))
