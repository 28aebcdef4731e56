"""The self-check of production: a tick that comes to something else when it runs again is told, and the town goes on."""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from shared.actions import TransitionBead
from shared.domain import limits
from shared.domain.states import BeadStatus
from shared.domain.tick import Tick
from shared.engine import reconcile
from shared.history import self_check
from shared.ports.steps import drive
from shared.rules import RULES
from shared.rules.base import Decision, Rule
from shared.runner.run_report import RunReport
from shared.runner.worker import run_town
from shared.town.reading import TownReader
from tests.histories import told
from tests.towns import a_town
from tests.worlds import World, a_world


def run(world: World, *, share: float) -> RunReport:
    """One run of the worker, with so many of its ticks checked."""
    around = replace(world.around, self_check_share=share)
    return drive(run_town("t1", around, worker_id=world.worker_id(), force=True))


def reads_the_clock(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """What no rule may do."""
    for issue in town.issues:
        if issue.status is BeadStatus.OPEN:
            reason = f"at {time.perf_counter_ns()}"
            yield TransitionBead(bead_id=issue.id, from_=BeadStatus.OPEN, to=BeadStatus.FAILED, reason=reason)


@pytest.fixture
def with_a_rule_that_reads_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Rule("X1", reads_the_clock)
    monkeypatch.setattr(reconcile, "decide", partial(reconcile.decide, rules=(rule, *RULES)))


@pytest.mark.usefixtures("with_a_rule_that_reads_the_clock")
def test_a_rule_that_reads_the_clock_is_caught_named_and_is_no_violation() -> None:
    world = a_world(a_town().bead("ready"))
    done = run(world, share=1)
    assert done.outcome == "committed"
    assert done.diverged
    alert = next(alert for alert in world.alerts.raised if alert.kind == "replay_diverged")
    assert "tick 2 of town t1 diverges when it is run again" in alert.message
    assert [place.split()[0] for place in alert.extra["places"]] == ["bead_events", "ticks"]
    assert world.town().rows("SELECT COUNT(*) FROM open_violations") == [(0,)]
    assert world.town().status("ready") == "failed"


@pytest.mark.usefixtures("with_a_rule_that_reads_the_clock")
def test_nothing_is_checked_where_the_share_is_nothing() -> None:
    world = a_world(a_town().bead("ready"))
    done = run(world, share=0)
    assert (done.outcome, done.diverged) == ("committed", None)
    assert "replay_diverged" not in world.alerts.kinds()


def test_a_tick_that_only_fails_when_it_runs_again_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world(a_town().bead("ready"))
    monkeypatch.setattr(self_check, "_again", lambda *_: 1 / 0)
    done = run(world, share=1)
    assert done.diverged is not None
    assert (done.diverged[0].column, done.diverged[0].got) == ("exception", "ZeroDivisionError: division by zero")


def test_no_tick_of_a_long_and_busy_history_comes_to_something_else() -> None:
    world = World(self_check_share=1)
    for _ in told(world, dry_runs=False):
        pass
    checked = [done for done in world.metrics.runs if done.diverged is not None]
    assert len(checked) == 120
    assert [done.diverged for done in checked if done.diverged] == []


def test_one_tick_in_a_hundred_is_chosen_and_always_the_same_ones() -> None:
    ticks = [f"{number}-worker" for number in range(20_000)]
    chosen = [tick for tick in ticks if self_check.chosen(tick, limits.SELF_CHECK_SHARE)]
    assert 140 <= len(chosen) <= 260
    assert chosen == [tick for tick in ticks if self_check.chosen(tick, limits.SELF_CHECK_SHARE)]
    assert all(self_check.chosen(tick, 1) and not self_check.chosen(tick, 0) for tick in ticks)
