"""Evaluating only when due gives the same actions at the same time as evaluating every 5 seconds (spec/tick.md section 6).

Two copies of a town live through the same hours on the same grid of times. One ticks at every point of it, the other
only where its next due time has come or an event waits. What must be made equal, and why:

- Ids. New ids derive from the tick number, and the two towns have had different numbers of ticks. Here the number of a
  tick is its time in milliseconds, so that two ticks at the same time have the same number and need no translation.
- The outside. An observation of a process is taken when a tick runs, so an exit would be seen at different times: exits
  come as events here, and only the container is observed. Reports of agents and answers come at times of their own.
- Waking. A batch of only heartbeats wakes nobody by itself, it waits for the next tick that is due; here every event
  wakes, because the property is about what rules do with what a town knows.
- Retention. It never makes a town due, so old rows go at different times. One last tick at the same time, with an event
  of its own, makes both equal. Then nothing at all is left out of the comparison but the journal (table `ticks`).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.processes import ProcessStatus
from shared.domain.tick import TickInput
from shared.domain.times import to_text
from shared.images import dump
from shared.town.columns import TABLES
from tests.properties import outside, steps
from tests.properties.amount import examples
from tests.properties.checks import acts
from tests.properties.facts import Fact
from tests.properties.life import Life
from tests.properties.outside import Answers
from tests.properties.starts import NOTHING_LEGAL, STARTS, begin
from tests.properties.steps import Post
from tests.towns import MS, T

BEAT_EVERY = timedelta(seconds=30)


class _ByTheClock(Life):
    """A life whose ticks are numbered by their time."""

    def input(self, seen: dict[str, ProcessStatus] | None = None) -> TickInput:
        given = super().input(seen)
        number = 1_000 + (given.now - T) // MS
        return replace(given, tick_no=number, tick_id=f"{number}-clock")


@dataclass(frozen=True)
class Stretch:
    """Some time in which agents behave and effects are answered in one way, and what is posted at its start."""

    points: int
    agents: str
    answers: Answers
    posts: tuple[Post, ...]


def stretches(*, at_most: int) -> st.SearchStrategy[list[Stretch]]:
    """A few stretches of at most so many points of the grid each."""
    stretch = st.builds(
        Stretch,
        points=st.integers(1, at_most),
        agents=st.sampled_from(outside.BEHAVIOURS),
        answers=steps.answers(),
        posts=st.lists(steps.posts(), max_size=3).map(tuple),
    )
    return st.lists(stretch, min_size=1, max_size=4)


def _lived(
    start: str, plan: list[Stretch], *, every: timedelta, only_due: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was done at which time, and every row in the end."""
    life = begin(start)
    life.__class__ = _ByTheClock
    done: dict[str, Any] = {}
    for stretch in plan:
        life.play(*stretch.posts)
        for _ in range(stretch.points):
            _pass(life, life.now + every, stretch)
            if only_due and not _wanted(life):
                continue
            report = life.tick()
            if acts(report):
                done[to_text(life.now)] = acts(report)
            for effect in report.effects:
                life._perform(effect, stretch.answers)
    life.now += every
    life.post("nudge_timeout", Fact({}))
    report = life.tick()
    done[to_text(life.now)] = acts(report)
    rows = {f"{table} {row[0]} {row[1]}": row for table in TABLES for row in dump.rows(life.town.sql, table)}
    life.close()
    return done, rows


def _pass(life: Life, to: datetime, stretch: Stretch) -> None:
    """Time goes on; agents report when they always do, whether anybody ticks or not."""
    beats = (to - T) // BEAT_EVERY != (life.now - T) // BEAT_EVERY
    life.now = to
    if beats:
        life._report(stretch.agents)


def _wanted(life: Life) -> bool:
    arrived = bool(life.waiting) or any(at <= life.now for at, _ in life.coming)
    return arrived or (life.next_due is not None and life.next_due <= life.now)


def _same(start: str, plan: list[Stretch], every: timedelta) -> None:
    always, rows_of_always = _lived(start, plan, every=every, only_due=False)
    when_due, rows_when_due = _lived(start, plan, every=every, only_due=True)
    assert when_due == always
    assert rows_when_due == rows_of_always


STARTING = st.sampled_from((*STARTS, NOTHING_LEGAL))


@examples(18)
@given(start=STARTING, plan=stretches(at_most=60))
def test_only_when_due_is_as_good_as_every_five_seconds(start: str, plan: list[Stretch]) -> None:
    _same(start, plan, timedelta(seconds=5))


@examples(18)
@given(start=STARTING, plan=stretches(at_most=90))
def test_only_when_due_is_as_good_as_every_minute_and_a_half_for_many_hours(start: str, plan: list[Stretch]) -> None:
    _same(start, plan, timedelta(seconds=90))
