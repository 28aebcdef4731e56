"""Random histories of whole towns: facts, time, runtime and forge drawn step by step; everything judged after every tick.

The last test looks at what the examples of the others reached: a rule that never acted and an event that never came
would make all of this an empty promise.
"""

from datetime import timedelta
from functools import cache
from typing import ClassVar, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from shared.events import EVENTS
from shared.rules import RULES
from tests.properties import steps
from tests.properties.amount import examples
from tests.properties.checks import ACTED, CAME, Checks, acts, in_progress, remember
from tests.properties.life import Life
from tests.properties.starts import NOTHING_LEGAL, STARTS, begin
from tests.properties.steps import Step
from tests.towns import MS

SILENT_RULES: Final = {"A9", "C2", "C6", "C6h", "C9", "CB"}
"""Rules that only wait: they leave a row to somebody else, or say when to look again."""


class Histories(RuleBasedStateMachine):
    """A town from one of the starts, and anything that may happen to it."""

    starts: ClassVar[tuple[str, ...]] = tuple(STARTS)
    life: Life

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.starts), label="start")
        self.life = begin(name)
        Checks(self.life, legal=name != NOTHING_LEGAL)
        self.life.checks = (*self.life.checks, remember)

    @rule(step=steps.lives())
    def live(self, step: Step) -> None:
        self.life.play(step)

    @rule(step=steps.posts())
    def post(self, step: Step) -> None:
        self.life.play(step)

    @rule(posts=st.lists(steps.posts(), min_size=2, max_size=5))
    def post_many(self, posts: list[Step]) -> None:
        self.life.play(*posts)

    @rule(step=steps.strays())
    def stray(self, step: Step) -> None:
        self.life.play(step)

    @rule(step=steps.gaps())
    def gap(self, step: Step) -> None:
        self.life.play(step)

    @rule()
    def nothing_acts_before_it_is_due(self) -> None:
        nothing_acts_before_it_is_due(self.life)

    @rule()
    def a_town_that_is_left_alone_comes_to_rest(self) -> None:
        a_town_that_is_left_alone_comes_to_rest(self.life)

    def teardown(self) -> None:
        if hasattr(self, "life"):
            nothing_acts_before_it_is_due(self.life)
            a_town_that_is_left_alone_comes_to_rest(self.life)
            self.life.close()


class Imports(Histories):
    """The same with a town that no events lead to; its broken invariants are for the rules to repair."""

    starts = (NOTHING_LEGAL,)


def nothing_acts_before_it_is_due(life: Life) -> None:
    """The boundary of "only when due" to the millisecond: a tick right before next_due_at does nothing and calls nobody.

    A town that is never due does nothing for as long as one cares to wait.
    """
    early = life.now + timedelta(days=30) if life.next_due is None else life.next_due - MS
    if life.waiting or early <= life.now or any(at <= early for at, _ in life.coming):
        return
    with life.copied() as copy:
        copy.now = early
        report = copy.tick()
        assert acts(report) == [], f"at {early}, before it was due"
        assert report.effects == (), f"at {early}, before it was due"
        assert [violation for violation in report.violations if violation.captured] == []
        if life.next_due is not None:
            assert report.next_due is not None
            assert report.next_due <= life.next_due or in_progress(copy)


def a_town_that_is_left_alone_comes_to_rest(life: Life) -> None:
    """No facts, no answers, hardly any time: after at most 8 ticks nothing is left to do, and the next one is quiet.

    Where one of these milliseconds is itself a time at which something becomes due, counting starts again.
    """
    with life.copied() as copy:
        copy.coming = []
        busy, rested = 0, False
        while not rested:
            was_due = copy.next_due is not None and copy.next_due == copy.now + MS and copy.ticked
            copy.now += MS
            report = copy.tick()
            busy = 1 if was_due else busy + 1
            assert busy <= 8, f"still busy: {acts(report)}"
            looks_again = report.next_due is not None and report.next_due <= copy.now + MS
            rested = not acts(report) and not report.pending_after and not looks_again
        copy.now += MS
        report = copy.tick()
        assert acts(report) == []
        assert report.quiet or in_progress(copy)


@cache
def _explore(machine: type[RuleBasedStateMachine], usual: int) -> None:
    run_state_machine_as_test(machine, settings=settings(examples(usual), stateful_step_count=25))


def test_every_history_of_a_town_keeps_its_promises() -> None:
    _explore(Histories, 150)


def test_an_imported_town_keeps_its_promises() -> None:
    _explore(Imports, 15)


def test_the_histories_reach_every_rule_and_every_event() -> None:
    for name in STARTS:
        begin(name).close()
    imported = begin(NOTHING_LEGAL)
    imported.checks = (remember,)
    imported.play(steps.Live(2, agents="silent"))
    imported.close()
    names = {each.name: each.code for each in RULES if each.code not in SILENT_RULES}
    assert sorted(code for name, code in names.items() if not ACTED[name]) == []
    assert sorted(each.event_type for each in EVENTS if not CAME[each.event_type]) == []
