"""What agents use: counted once, whatever becomes of their reports (spec/data-model.md 3.18)."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.senders import Sender
from shared.domain.tick import Envelope
from shared.domain.usage import MOST
from tests.scenarios.table import scenario
from tests.security.tokens import outcome, outcomes, said, status_of
from tests.towns import MS, T, TownBuilder, a_town, ago

P = Sender("agent", "p", 1)


def at_work() -> TownBuilder:
    """P works on b, which is in the convoy c."""
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p").agent("p", status="working", hook="b")
    return town.convoy("c", tracked=["b"])


def used(
    sender: Sender = P, event_id: str = "usage-001", *, model: str = "opus", tokens: int = 100, **given: Any
) -> Envelope:
    """Totals: so many input tokens, and what else is given."""
    numbers = {"input_tokens": tokens, "output_tokens": 0, "cached_tokens": 0, "cost_micros": None, **given}
    return said(sender, "agent_usage", event_id=event_id, model=model, **numbers)


def sums(town: TownBuilder, kind: str, subject: str) -> tuple[int, ...]:
    """Input, output, cached and priced tokens, and millionths of a dollar."""
    found = town.rows(
        "SELECT input_tokens, output_tokens, cached_tokens, priced_tokens, cost_micros FROM usage_sums "
        "WHERE kind = ? AND subject = ?",
        kind,
        subject,
    )
    return tuple(found[0]) if found else (0, 0, 0, 0, 0)


REPORT = st.tuples(st.sampled_from(["opus", "haiku"]), st.integers(0, 5), st.none() | st.integers(0, 5))


@scenario(500)
@given(told=st.lists(REPORT, min_size=1, max_size=12), data=st.data())
@settings(max_examples=40)
def test_sums_are_the_sums_of_the_largest_totals_whatever_the_order(
    told: list[tuple[str, int, int | None]], data: st.DataObject
) -> None:
    repeated = [*told, *data.draw(st.lists(st.sampled_from(told), max_size=6))]
    arrived = data.draw(st.permutations(repeated))
    town = at_work()
    events = [
        used(P, f"usage-{number:03}", model=model, tokens=tokens, output_tokens=2 * tokens, cost_micros=cost)
        for number, (model, tokens, cost) in enumerate(arrived)
    ]
    cut = data.draw(st.integers(0, len(events)))
    reports = [town.tick(*events[:cut]), town.tick(*events[cut:], at=T + timedelta(seconds=30))]
    largest = {
        model: (
            max(tokens for name, tokens, _ in told if name == model),
            max((3 * tokens for name, tokens, cost in told if name == model and cost is not None), default=0),
            max((cost for name, _, cost in told if name == model and cost is not None), default=0),
        )
        for model in {name for name, _, _ in told}
    }
    tokens, priced, cost = (sum(each[at] for each in largest.values()) for at in range(3))
    for kind, subject in (("bead", "b"), ("convoy", "c"), ("day", "2026-01-10")):
        assert sums(town, kind, subject) == (tokens, 2 * tokens, 0, priced, cost)
    counted = [(report.metrics.agent_tokens, report.metrics.agent_cost_micros) for report in reports]
    assert (sum(each[0] for each in counted), sum(each[1] for each in counted)) == (3 * tokens, cost)
    assert town.rows("SELECT 1 FROM town_events WHERE event_type = 'agent_usage'") == []
    assert [action for report in reports for action in report.actions] == []


@scenario(501)
def test_review_and_rework_count_for_the_task_and_the_landing_for_its_convoy() -> None:
    town = at_work()
    town.update("beads", "b", status="in_review").update("agent_metadata", "p", current_hook_bead_id=None)
    town.review("m", "in_progress", of="b").bead(
        "rework", status="in_progress", labels=["gt:rework"], parent_bead_id="m", assignee_agent_bead_id="q"
    )
    town.review("landing", "in_progress", of="c")
    for agent, role, bead in (("f", "refinery", "m"), ("q", "polecat", "rework"), ("g", "refinery", "landing")):
        town.agent(agent, role, "working", hook=bead)
    holders = [Sender("agent", name, 1) for name in ("f", "q", "g")] + [Sender("coordinator", "mayor", 7)]
    town.tick(*(used(each, f"usage-of-{each.agent}", tokens=10**at) for at, each in enumerate(holders)))
    counted = {
        (kind, subject): sums(town, kind, subject)[0]
        for kind, subject in town.rows("SELECT kind, subject FROM usage_sums")
    }
    assert counted == {
        ("bead", "m"): 1,
        ("bead", "rework"): 10,
        ("bead", "b"): 11,
        ("bead", "landing"): 100,
        ("convoy", "c"): 111,
        ("day", "2026-01-10"): 1111,
    }


@scenario(502)
def test_tokens_count_where_the_price_is_unknown_and_the_cost_is_a_lower_bound_until_it_is_told() -> None:
    town = at_work()
    town.tick(used(tokens=100))
    assert sums(town, "bead", "b") == (100, 0, 0, 0, 0)
    town.tick(used(P, "usage-002", tokens=100, cost_micros=2_500_000), at=T + timedelta(seconds=30))
    assert sums(town, "bead", "b") == (100, 0, 0, 100, 2_500_000)


@scenario(503)
def test_what_a_superseded_generation_spends_counts_on_its_own_bead() -> None:
    town = at_work().bead("other", status="in_progress", assignee_agent_bead_id="p")
    assert outcome(town, used(tokens=1)) == "applied"
    town.update("beads", "b", status="open", assignee_agent_bead_id=None)
    town.update("agent_metadata", "p", generation=2, current_hook_bead_id="other", last_dispatch_bead_id="other")
    later = T + timedelta(seconds=30)
    report = town.tick(used(P, "usage-002", tokens=4), at=later)
    assert outcomes(report) == {"usage-002@p": "applied"}
    assert (sums(town, "bead", "b")[0], sums(town, "bead", "other")[0]) == (4, 0)
    assert town.rows("SELECT generation FROM outbox WHERE kind = 'stop_agent'") == [(1,)]
    assert outcome(at_work(), used(Sender("agent", "p", 7))) == "skipped: stale generation"


@scenario(503)
def test_a_deleted_agents_totals_are_kept_for_a_day() -> None:
    def gone(silent: timedelta) -> TownBuilder:
        town = at_work()
        return town.insert(
            "agent_usage",
            agent_id="gone",
            generation=1,
            bead_id="b",
            models=[
                {
                    "cached_tokens": 0,
                    "cost_micros": 0,
                    "input_tokens": 5,
                    "model": "opus",
                    "output_tokens": 0,
                    "priced_tokens": 0,
                }
            ],
            reported_at=T - silent,
        )

    former = Sender("agent", "gone", 1)
    kept, forgotten = gone(timedelta(hours=24)), gone(timedelta(hours=24) + MS)
    for town in (kept, forgotten):
        town.tick()
    soon = T + timedelta(seconds=30)
    assert outcome(kept, used(former, tokens=7), at=soon) == "applied"
    assert sums(kept, "bead", "b")[0] == 2
    assert outcome(forgotten, used(former, tokens=7), at=soon) == "skipped: missing"


@scenario(504)
def test_no_agent_fills_the_image_or_breaks_a_sum() -> None:
    town = at_work()
    flood = [
        used(P, f"usage-{number:04}", model=f"model {number}" + "x" * 100, tokens=number + 1) for number in range(500)
    ]
    found = outcomes(town.tick(*flood, at=T + timedelta(seconds=30)))
    assert sorted(found.values()).count("skipped: too many models") == 500 - 16
    assert town.rows("SELECT SUM(LENGTH(models)) < 8 * 1024 FROM agent_usage") == [(1,)]
    assert town.rows("SELECT 1 FROM town_events WHERE event_type = 'agent_usage'") == []
    for number in range(1, 4):
        town.tick(used(P, f"most-{number:04}", model=f"model {number}" + "x" * 100, tokens=MOST, cost_micros=MOST))
    assert sums(town, "day", "2026-01-10")[0] == MOST
    assert sums(town, "bead", "b")[4] == MOST


@scenario(504)
@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "x" * 129},
        {"model": ""},
        {"model": "a\nb"},
        {"input_tokens": -1},
        {"input_tokens": MOST + 1},
        {"cost_micros": 0.5},
    ],
)
def test_a_report_that_cannot_be_true_is_refused(wrong: dict[str, Any]) -> None:
    payload = {"model": "opus", "input_tokens": 1, "output_tokens": 0, "cached_tokens": 0, **wrong}
    event = {"event_id": "usage-001", "event_type": "agent_usage", "agent_id": "p", "payload": payload}
    assert status_of(P, event) == 400
    assert status_of(P, {**event, "payload": {**payload, **dict.fromkeys(wrong, 1), "model": "opus"}}) == 202


@scenario(505)
def test_old_days_are_forgotten() -> None:
    town = at_work()
    for day in ("2025-12-09", "2025-12-10", "2025-12-11", "2026-01-10"):
        town.insert("usage_sums", kind="day", subject=day)
    town.tick(used())
    assert town.rows("SELECT subject FROM usage_sums WHERE kind = 'day' ORDER BY subject") == [
        ("2025-12-10",),
        ("2025-12-11",),
        ("2026-01-10",),
    ]


@scenario(505)
def test_the_sum_of_a_deleted_bead_goes_with_it() -> None:
    town = a_town().bead("a1", "agent", rig_id="rig-1")
    town.update("beads", "a1", type="issue", status="closed").agent(
        "idle", status="idle", created_at=ago(days=3), last_activity_at=ago(hours=25)
    )
    town.insert("usage_sums", kind="bead", subject="idle", input_tokens=5)
    town.tick()
    assert town.rows("SELECT 1 FROM agent_metadata WHERE bead_id = 'idle'") == []
    assert town.rows("SELECT 1 FROM usage_sums") == []


def test_totals_are_stored_by_model() -> None:
    town = at_work()
    town.tick(used(model="zeta"), used(P, "usage-002", model="alpha"))
    ((models,),) = town.rows("SELECT models FROM agent_usage")
    assert [each["model"] for each in json.loads(models)] == ["alpha", "zeta"]


@scenario(500)
def test_totals_that_are_told_again_are_no_news() -> None:
    town = at_work()
    town.tick(used(P, "usage-001"))
    [outcome_again] = outcomes(town.tick(used(P, "usage-002"), at=T + timedelta(seconds=5))).values()
    assert outcome_again == "skipped: already"
