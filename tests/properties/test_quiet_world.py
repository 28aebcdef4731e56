"""When the world goes quiet, every bead ends, or waits for a reason that the status names (spec/tick.md section 13)."""

from collections.abc import Mapping
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.domain import limits
from shared.domain.times import to_text
from shared.questions.waiting import Waiting
from shared.questions.waits import Waits
from tests.properties import steps
from tests.properties.amount import examples
from tests.properties.checks import acts
from tests.properties.facts import Fact
from tests.properties.life import Life
from tests.properties.outside import Answers
from tests.properties.starts import STARTS, begin
from tests.properties.steps import Live, Step
from tests.towns import TOWN

WAITS_FOR_SOMEBODY = {
    "held",
    "staged",
    "no_rig",
    "failed_dependency",
    "missing_blocker",
    "awaiting_approval",
    "budget_spent",
}
"""Reasons that end only by a decision of a person. `budget_spent` is one for the budget of a task or a convoy, which no start of a
history gives by the day.

`agent_working` is one too for a triage request, which nobody answers here, and for a convoy, whose tasks have reasons.
"""
OF_ANOTHER = {"blocked_by", "awaiting_review"}
"""Reasons that end when that of another bead does, which is the actor."""
FINAL = Answers(poll="merged")


def _calm_down(life: Life) -> None:
    """Everybody who works gets done, every answer is good, nothing new comes; until nothing is due for half an hour."""
    life.post("town_started", Fact({}))
    life.post("container_ready", Fact({"nonce": life.view().drain_nonce or "none"}))
    for turn in range(200):
        if any(agent.role == "mayor" and agent.status == "working" for agent in life.view().at_work()):
            life.post("mayor_waiting", Fact({"fired_at": to_text(life.now + timedelta(hours=1))}))
        life.play(Live(1, "due", "progress" if turn % 2 else "done", FINAL, container="stopped"))
        due = life.next_due
        rests = not acts(life.ticked[-1]) and not life.coming and not life.view().at_work()
        if rests and (due is None or due > life.now + limits.BREAKER_WINDOW):
            return
    raise AssertionError(f"no rest after 200 ticks: {acts(life.ticked[-1])}")


def _reasons(life: Life) -> Mapping[str, Waiting]:
    return Waits(life.town.sql, life.input(), town_id=TOWN).of_beads


@examples(20)
@given(start=st.sampled_from(tuple(STARTS)), history=st.lists(steps.steps(), max_size=10))
def test_every_bead_ends_or_waits_for_a_named_reason(start: str, history: list[Step]) -> None:
    life = begin(start)
    life.play(*history)
    _calm_down(life)
    reasons = _reasons(life)
    live = life.town.rows(
        "SELECT bead_id, type, status, labels FROM beads WHERE type IN ('issue', 'merge_request', 'convoy') "
        "AND status NOT IN ('closed', 'failed') ORDER BY bead_id"
    )
    for bead_id, bead_type, status, labels in live:
        why = reasons.get(bead_id)
        assert why is not None, f"{bead_type} {bead_id} is {status} and waits for nothing"
        seen = set()
        while why.reason in OF_ANOTHER and why.actor is not None and why.actor in reasons and why.bead_id not in seen:
            seen.add(why.bead_id)
            why = reasons[why.actor]
        asks = why.reason == "agent_working" and (bead_type == "convoy" or "gt:triage-request" in labels)
        assert asks or why.reason in WAITS_FOR_SOMEBODY, f"{bead_type} {bead_id} ({status}) waits: {why}"
        assert why.due_at is None or why.due_at >= life.now - timedelta(seconds=5)
    life.close()
