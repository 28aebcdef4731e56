"""Why a row waits: one answer for all who ask, kept when its time comes, and unchanged by time where no time is named.

After each random history the town stands still. Rows are asked about, the clock moves to the time that an answer names, and a
real tick runs there on a copy. It does not find that the town had an outage, as if ticks in between had found nothing to do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.limits import MILLISECOND, just_after
from shared.domain.times import to_text
from shared.questions.foresight import mentions
from shared.questions.reasons import ENDED_BY
from shared.questions.relaxed import HOLDS
from shared.questions.rows import Row
from shared.questions.waiting import REASONS, Waiting
from shared.questions.waits import Waits
from shared.rules import RULES
from tests.properties import steps
from tests.properties.amount import examples
from tests.properties.life import Life
from tests.properties.starts import STARTS, begin
from tests.properties.steps import Step
from tests.towns import TOWN

CODES = {rule.name: rule.code for rule in RULES}
LATER = tuple(timedelta(seconds=span) for span in (7, 61, 425, 1_801, 9_005, 86_400))
CONTRADICTIONS = (
    {"review_live", "review_recovery"},
    {"next_tick", "only_an_event"},
    {"heartbeat", "process_ended"},
    {"bead_lost", "owner_beats"},
)


def asked(life: Life, at: datetime | None = None) -> Waits:
    """The town as it stands, seen at a time."""
    about = replace(life.input(), new_events=())
    return Waits(life.town.sql, about if at is None else replace(about, now=at), town_id=TOWN)


def lived(start: str, history: list[Step]) -> Life:
    """A life after a history, in which no event waits and no effect is on its way: nothing but time goes on."""
    life = begin(start)
    life.play(*history)
    life.town.sql.execute("DELETE FROM town_events WHERE processed_at IS NULL")
    life.town.sql.execute("UPDATE outbox SET state = 'failed' WHERE state IN ('pending', 'claimed')")
    return life


def acted(life: Life, row: Row, at: datetime) -> tuple[set[str], Waiting | None]:
    """The codes of the rules whose actions name a row in a real tick at a time, and why the row waits after it."""
    with life.copied() as copy:
        copy.town.key("last_tick_at", to_text(at - MILLISECOND))
        report = copy.run(copy.town.sql, replace(life.input(), now=at, new_events=()))
        judged = {
            CODES[each.rule] for each in report.actions if each.rule in CODES and mentions(each.action, row.subjects)
        }
        after = Waits(copy.town.sql, replace(life.input(), now=just_after(at), new_events=()), town_id=TOWN)
        return judged, after.of_beads.get(row.id)


@examples(40)
@given(start=st.sampled_from(tuple(STARTS)), history=st.lists(steps.steps(), max_size=8))
def test_every_live_bead_that_no_agent_works_on_has_one_complete_answer(start: str, history: list[Step]) -> None:
    life = begin(start)
    life.play(*history)
    waits = asked(life)
    now = life.input().now
    for row in waits.rows.values():
        assert (row.id in waits.of_beads) is not row.worked_on
        assert asked(life).of(row.id) == waits.of(row.id)
    for waiting in waits.of_beads.values():
        assert list(_flaws(waiting, now)) == [], waiting
    assert sum(waits.counts().values()) == len(waits.of_beads)
    life.close()


def _flaws(waiting: Waiting, now: datetime) -> Iterator[str]:
    names = {guard.guard for guard in waiting.guards}
    if waiting.reason not in REASONS:
        yield "its reason is not in the closed list"
    if waiting.since > now:
        yield "it waits since a later time"
    if waiting.due_at is not None and waiting.due_at <= now:
        yield "it is due in the past"
    if waiting.due_at is None and not ((waiting.actor and waiting.needs) or names & {"unreadable"}):
        yield "nobody is named who could end it"
    if any(pair <= names for pair in CONTRADICTIONS):
        yield "its guards contradict each other"
    if waiting.reason == "blocked_by" and waiting.root is None:
        yield "the end of its chain is not named"
    if waiting.root is not None and (waiting.root.since > now or waiting.root.steps < 1):
        yield "the end of its chain is not told well"
    if waiting.queue is not None and not 1 <= waiting.queue.position <= waiting.queue.length:
        yield "its place is not in the queue"


@examples(40)
@given(start=st.sampled_from(tuple(STARTS)), history=st.lists(steps.steps(), max_size=8))
def test_when_the_due_time_comes_the_rule_acts_or_the_reason_changes(start: str, history: list[Step]) -> None:
    life = lived(start, history)
    waits = asked(life)
    for waiting in _some(waits.of_beads):
        if waiting.due_at is not None:
            rules, after = acted(life, waits.rows[waiting.bead_id], waiting.due_at)
            kept = waiting.rule in rules or after is None or after.reason != waiting.reason
            assert kept, f"{waiting} was not kept by {rules}"
    life.close()


@examples(40)
@given(start=st.sampled_from(tuple(STARTS)), history=st.lists(steps.steps(), max_size=8))
def test_what_has_no_due_time_is_not_changed_by_time(start: str, history: list[Step]) -> None:
    life = lived(start, history)
    waits = asked(life)
    timeless = [each for each in _some(waits.of_beads) if each.due_at is None]
    for span in LATER if timeless else ():
        at = life.input().now + span
        later = asked(life, at).of_beads
        for waiting in timeless:
            assert (later[waiting.bead_id].reason, later[waiting.bead_id].due_at) == (waiting.reason, None)
            rules, _ = acted(life, waits.rows[waiting.bead_id], at)
            assert rules == set(), f"{rules} after {span} on {waiting}"
    life.close()


@examples(40)
@given(start=st.sampled_from(tuple(STARTS)), history=st.lists(steps.steps(), max_size=8), part=st.floats(0.0, 1.0))
def test_until_the_due_time_the_answer_stays(start: str, history: list[Step], part: float) -> None:
    life = lived(start, history)
    now, waits = life.input().now, asked(life)
    dues = [each.due_at for each in waits.of_beads.values() if each.due_at is not None]
    first = min(dues, default=now + LATER[-1])
    at = now + part * (first - now - 6 * LATER[0])
    if at > now:
        later = asked(life, at).of_beads
        for bead_id, waiting in waits.of_beads.items():
            assert (later[bead_id].reason, later[bead_id].due_at) == (waiting.reason, waiting.due_at)
    life.close()


def test_every_hold_has_events_that_end_it_or_ends_by_time() -> None:
    assert {hold for hold in HOLDS if not ENDED_BY[hold]} == {"settling", "breaker_open"}


def _some(waits: Mapping[str, Waiting], most: int = 6) -> list[Waiting]:
    """One of each reason and rule, then others, up to a number: a real tick for each takes its time."""
    kinds = {(each.reason, each.rule, each.guards[0].guard): each for each in waits.values()}
    return list(kinds.values())[:most]
