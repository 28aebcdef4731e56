"""What explain foresees is what the rules do: they are asked themselves, at the foreseen time and before it.

The town stands still meanwhile, as if every tick until then had found nothing to do.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.limits import MILLISECOND
from shared.domain.tick import TickInput
from shared.domain.times import to_text
from shared.engine import reconcile, tick
from shared.questions.effect_ends import effect_ends
from shared.questions.foresight import Outlook, mentions, outlook
from shared.rules import RULES
from shared.town.town_keys import TownKeys
from tests.properties import steps
from tests.properties.amount import examples
from tests.properties.life import Life
from tests.properties.starts import STARTS, begin
from tests.properties.steps import Step
from tests.towns import TOWN

SUBJECTS = 4
LATER = tuple(timedelta(seconds=span) for span in (31, 61, 91, 125, 301, 425, 601, 1_801, 3_605, 9_005, 90_000))
CODES = {rule.name: rule.code for rule in RULES}


def acting(life: Life, about: TickInput, at: datetime, rows: frozenset[str]) -> set[str]:
    """The rules that act on the rows in a town that stands as it is at a time; none acts in a paused one."""
    reader, moment = tick.current_state(life.town.sql, replace(about, now=at), town_id=TOWN)
    drain = TownKeys(life.town.sql).drain
    moment = replace(moment, draining=drain is not None and at < drain.ends_at)
    if moment.paused:
        return set()
    ended = {effect for effect, ends in effect_ends(life.town.sql, about.now) if ends <= at}
    reader.__dict__["unfinished_effects"] = reader.unfinished_effects - ended
    decided = reconcile.decide(reader, moment)
    return {CODES[name] for name, action in decided.intents if mentions(action.as_json(), rows)}


def asked(life: Life) -> list[frozenset[str]]:
    """Some beads, each with the agent that is hooked to it, and some agents."""
    beads = life.town.rows(
        "SELECT b.bead_id, a.bead_id FROM beads b LEFT JOIN agent_metadata a ON a.current_hook_bead_id = b.bead_id "
        "WHERE b.type <> 'agent' AND b.status NOT IN ('closed', 'failed') ORDER BY b.bead_id"
    )
    agents = life.town.rows("SELECT bead_id FROM agent_metadata ORDER BY bead_id")
    found = [frozenset(each for each in row if each) for row in beads[:SUBJECTS]]
    return found + [frozenset(row) for row in agents[:SUBJECTS]]


@examples(25)
@example(start="behind", history=[], part=0.0)
@given(start=st.sampled_from(tuple(STARTS)), history=st.lists(steps.steps(), max_size=8), part=st.floats(0, 1))
def test_the_rule_that_is_named_acts_when_it_is_due_and_not_before(
    start: str, history: list[Step], part: float
) -> None:
    """The example: R1u repeats an update whose answer was lost, and said nothing of it while no other branch waited."""
    life = begin(start)
    life.play(*history)
    about = life.input()
    for rows in asked(life):
        ahead = outlook(life.town.sql, about, town_id=TOWN, rows=rows)
        for act in ahead.acts:
            assert act.rule in acting(life, about, act.at, rows), f"{act.rule} on {sorted(rows)} at {act.at}"
            if act.at > about.now:
                assert act.rule not in acting(life, about, act.at - MILLISECOND, rows)
        _nothing_comes_earlier(life, about, rows, ahead, part)
        _nothing_is_left_out(life, about, rows, ahead)
    life.close()


def _nothing_comes_earlier(life: Life, about: TickInput, rows: frozenset[str], ahead: Outlook, part: float) -> None:
    """No rule at all acts before the first one that is foreseen; and none within a day, if none is."""
    first = ahead.acts[0].at if ahead.acts else about.now + LATER[-1]
    span = int((first - about.now) / MILLISECOND)
    if span > 0:
        for at in (about.now, about.now + int(part * (span - 1)) * MILLISECOND, first - MILLISECOND):
            assert acting(life, about, at, rows) == set(), f"on {sorted(rows)} at {at}, foreseen for {first}"


def _nothing_is_left_out(life: Life, about: TickInput, rows: frozenset[str], ahead: Outlook) -> None:
    """Whichever rule acts on the rows at any later time is foreseen for that time or an earlier one."""
    for later in LATER:
        at = about.now + later
        foreseen = {act.rule for act in ahead.acts if act.at <= at}
        assert acting(life, about, at, rows) <= foreseen, f"on {sorted(rows)} after {later}"


@examples(25)
@given(start=st.sampled_from(tuple(STARTS)), history=st.lists(steps.steps(), max_size=8))
def test_a_real_tick_at_the_foreseen_time_does_what_was_foreseen(start: str, history: list[Step]) -> None:
    life = begin(start)
    life.play(*history)
    about = life.input()
    quiet = not about.new_events and not life.town.rows(
        "SELECT 1 FROM outbox WHERE state IN ('pending', 'claimed') UNION SELECT 1 FROM town_events WHERE processed_at IS NULL"
    )
    for rows in asked(life) if quiet else ():
        ahead = outlook(life.town.sql, about, town_id=TOWN, rows=rows)
        for act in ahead.acts[:1]:
            with life.copied() as copy:
                copy.town.key("last_tick_at", to_text(act.at - MILLISECOND))
                report = copy.run(copy.town.sql, replace(about, now=act.at))
                judged = [each for each in report.actions if CODES.get(each.rule) == act.rule]
                assert any(mentions(each.action, rows) for each in judged), f"{act.rule} on {sorted(rows)} at {act.at}"
    life.close()
