"""Budgets: people are told at 80 %, and at 100 % nothing more is started (spec/rules.md section 12)."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.townctl.explain import view
from shared.domain.report import TickReport
from shared.domain.times import from_text
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.questions import bead_list, spend
from shared.questions.explain import explain_bead
from shared.questions.filters import BeadFilter
from shared.questions.spend import DaySpend, Spend
from shared.rules import voices
from tests.scenarios.table import scenario
from tests.scenarios.test_usage import sums
from tests.towns import TOWN, T, TownBuilder, a_town, ago, event
from tests.unit.rules.test_dues import all_dues
from tests.worlds import a_world

USD = 1_000_000
TODAY = "2026-01-10"
TOMORROW = from_text("2026-01-11T00:00:00.000Z")
SECOND = timedelta(seconds=1)


def a_task(**budget: Any) -> TownBuilder:
    """B is open and ready, in a town with this budget."""
    return a_town().config(budget=budget).bead("b")


def spent(town: TownBuilder, kind: str, subject: str, usd: float = 0, tokens: int = 0) -> TownBuilder:
    town.sql.execute("DELETE FROM usage_sums WHERE kind = ? AND subject = ?", (kind, subject))
    return town.insert(
        "usage_sums",
        kind=kind,
        subject=subject,
        input_tokens=tokens,
        priced_tokens=tokens,
        cost_micros=round(usd * USD),
    )


def dispatched(report: TickReport) -> list[str]:
    return [each.action["bead_id"] for each in report.actions if each.action["type"] == "dispatch_agent"]


def escalations(town: TownBuilder) -> list[tuple[str, str]]:
    """Title and status of those about budgets."""
    return town.rows(
        "SELECT b.title, b.status FROM beads b JOIN escalation_metadata e ON e.bead_id = b.bead_id "
        "WHERE e.category = 'budget_spent' ORDER BY b.created_at, b.bead_id"
    )


@scenario(510)
@pytest.mark.parametrize(("limit", "unit"), [({"usd": 10}, "usd"), ({"tokens": 10_000_000}, "tokens")])
def test_a_person_is_told_once_at_eighty_percent_of_each_limit(limit: dict[str, Any], unit: str) -> None:
    def use(millionths: int) -> None:
        kept = town.rows("SELECT told, spent_since FROM usage_sums")
        spent(town, "bead", "b", **({"usd": millionths / USD} if unit == "usd" else {"tokens": millionths}))
        if kept:
            town.sql.execute("UPDATE usage_sums SET told = ?, spent_since = ?", kept[0])

    town = a_task(per_bead=limit).agent("p", status="working", hook="b")
    town.update("beads", "b", status="in_progress", assignee_agent_bead_id="p")
    use(7_999_999)
    town.tick()
    assert escalations(town) == []
    use(8_000_000)
    town.tick(at=T + SECOND)
    [(title, status)] = escalations(town)
    assert (title.startswith("Budget of the bead b: 8"), status) == (True, "open")
    ((told,),) = town.rows("SELECT bead_id FROM beads WHERE type = 'escalation'")
    town.tick(event("bead_cancelled", {"cancel_status": "closed"}, bead=told), at=T + 2 * SECOND)
    for at in range(3, 30):
        town.tick(at=T + at * SECOND)
    assert len(escalations(town)) == 1
    town.config(budget={"per_bead": {name: 2 * much for name, much in limit.items()}})
    use(15_999_999)
    town.tick(at=T + timedelta(minutes=1))
    assert len(escalations(town)) == 1
    use(16_000_000)
    town.tick(at=T + timedelta(minutes=1, seconds=1))
    assert [status for _, status in escalations(town)] == ["closed", "open"]


@scenario(510)
@pytest.mark.parametrize("ends", ["raised", "removed", "closed"])
def test_the_escalation_ends_with_its_cause(ends: str) -> None:
    town = spent(a_task(per_bead={"usd": 10}), "bead", "b", usd=9)
    town.tick()
    assert [status for _, status in escalations(town)] == ["open"]
    if ends == "closed":
        town.tick(event("bead_cancelled", {"cancel_status": "closed"}, bead="b"), at=T + SECOND)
    else:
        config = {"budget": {"per_bead": {"usd": 100} if ends == "raised" else None}}
        town.tick(event("town_configured", {"config": config}), at=T + SECOND)
    town.tick(at=T + 5 * SECOND)
    assert [status for _, status in escalations(town)] == ["closed"]


@scenario(510)
def test_the_work_that_follows_up_a_task_has_no_budget_of_its_own() -> None:
    """What a review and the rework of a task use counts to the task. Else a person would hear of one cause three times."""
    town = a_task(per_bead={"usd": 10}).review("m", of="b")
    town.update("beads", "b", status="in_review")
    town.bead("rework", labels=["gt:rework"], parent_bead_id="m", metadata={"mr_bead_id": "m"})
    for bead in ("m", "rework"):
        spent(town, "bead", bead, usd=10)
    town.tick()
    assert escalations(town) == []
    spent(town, "bead", "b", usd=20)
    town.tick(at=T + SECOND)
    [(title, _)] = escalations(town)
    assert title.startswith("Budget of the bead b: 20")


@scenario(511)
def test_a_bead_whose_budget_is_spent_waits_for_a_person_and_costs_no_tick() -> None:
    town = spent(a_task(per_bead={"usd": 10}), "bead", "b", usd=10)
    report = town.tick()
    assert dispatched(report) == []
    town.tick(at=T + 5 * SECOND)
    town.tick(at=T + timedelta(hours=2))
    quiet = town.tick(at=T + timedelta(hours=2) + SECOND)
    waiting = town.waits(T + timedelta(hours=3))["b"]
    assert (waiting.reason, waiting.due_at, waiting.actor, waiting.since) == ("budget_spent", None, "operator", T)
    assert "10.00 USD of 10.00 USD" in waiting.guards[0].says
    assert {need.event_type for need in waiting.needs} >= {"town_configured", "rig_registered"}
    assert quiet.next_due is None or quiet.next_due > T + timedelta(hours=3)
    assert dispatched(spent(a_task(per_bead={"usd": 10}), "bead", "b", usd=9.999999).tick()) == ["b"]


@scenario(511)
@pytest.mark.parametrize("by", ["town", "rig"])
def test_raising_the_setting_lets_it_go_on(by: str) -> None:
    town = spent(a_task(per_bead={"usd": 10}), "bead", "b", usd=10)
    town.tick()
    budget = {"budget": {"per_bead": {"usd": 11}}}
    raised = {
        "town": event("town_configured", {"config": budget}),
        "rig": event(
            "rig_registered",
            {
                "rig_id": "rig-1",
                "name": "main-rig",
                "git_url": "https://github.com/acme/main-rig.git",
                "config": budget,
            },
        ),
    }[by]
    reports = [town.tick(raised, at=T + 5 * SECOND), town.tick(at=T + 10 * SECOND)]
    assert [bead for report in reports for bead in dispatched(report)] == ["b"]
    assert town.rows("SELECT spent_since FROM usage_sums") == [(None,)]


@scenario(511)
def test_what_runs_goes_on_and_a_bead_at_its_cap_fails() -> None:
    town = spent(a_town().config(budget={"per_bead": {"tokens": 5}}), "bead", "b", tokens=9)
    town.bead("b", status="in_progress", assignee_agent_bead_id="p").agent("p", status="working", hook="b")
    spent(town.bead("capped", dispatch_attempts=5), "bead", "capped", tokens=9)
    report = town.tick()
    assert not any(each.action["type"] == "stop_agent" for each in report.actions)
    assert (town.doing("p"), town.status("capped")) == (("working", "b"), "failed")


@scenario(512)
def test_a_convoys_budget_holds_its_tasks_their_reviews_and_its_landing_and_nothing_else() -> None:
    town = a_town().config(budget={"per_convoy": {"usd": 1}}).rig("rig-2", name="other")
    town.bead("task").bead("reviewed", status="in_review").review("m", of="reviewed")
    town.bead("rework", labels=["gt:rework"], parent_bead_id="m", metadata={"mr_bead_id": "m"})
    town.convoy("c", tracked=["task", "reviewed"]).bead("outside")
    town.bead("last", status="closed", rig_id="rig-2").convoy("done", tracked=["last"], closed=1, branch="convoy/y")
    town.update("beads", "done", metadata={"ready_to_land": 1})
    for convoy in ("c", "done"):
        spent(town, "convoy", convoy, usd=1)
    found = [bead for at in range(4) for bead in dispatched(town.tick(at=T + timedelta(minutes=at)))]
    assert found == ["outside"]
    [(landing,)] = town.rows(
        "SELECT d.bead_id FROM bead_dependencies d JOIN beads m ON m.bead_id = d.bead_id AND m.type = 'merge_request' "
        "WHERE d.depends_on_bead_id = 'done'"
    )
    waits = town.waits(T + timedelta(minutes=5))
    assert {waits[each].reason for each in ("task", "m", "rework", landing)} == {"budget_spent"}


@scenario(513)
def test_a_spent_day_ends_at_midnight_and_not_before() -> None:
    town = spent(a_task(per_day={"usd": 20}), "day", TODAY, usd=20)
    town.bead("reviewed", status="in_review").review("m", of="reviewed")
    town.bead("question", labels=["gt:triage-request"], assignee_agent_bead_id="system", rig_id=None)
    found = [bead for at in range(3) for bead in dispatched(town.tick(at=T + at * SECOND))]
    assert found == []
    waits = town.waits(T + 5 * SECOND)
    assert {each: waits[each].reason for each in ("b", "m", "question")} == dict.fromkeys(
        ("b", "m", "question"), "budget_spent"
    )
    assert {(waits[each].since, waits[each].due_at) for each in ("b", "m")} == {(T, TOMORROW)}
    assert [status for _, status in escalations(town)] == ["open"]
    late = [town.tick(at=TOMORROW - timedelta(milliseconds=left)) for left in (9, 7, 5, 3, 1)]
    assert [bead for each in late for bead in dispatched(each)] == []
    assert late[-1].next_due == TOMORROW
    report = town.tick(at=TOMORROW)
    assert {"b", "m"} <= set(dispatched(report))
    assert any(each.action["type"] == "start_triage_batch" for each in report.actions)
    assert [status for _, status in escalations(town)] == ["closed"]


@scenario(513)
def test_stops_polls_and_mail_wait_for_no_budget() -> None:
    town = spent(a_task(per_day={"tokens": 1}), "day", TODAY, tokens=2)
    town.bead("over", status="closed").agent("p", status="working", hook="over")
    town.bead("reviewed", status="in_review").review(
        "m", "in_progress", of="reviewed", pr_url="https://github.com/acme/main-rig/pull/1"
    )
    town.bead("mail", "message", assignee_agent_bead_id="mayor")
    kinds = {each.action["type"] for each in town.tick().actions}
    assert {"stop_agent", "poll_pr", "notify_mayor"} <= kinds


@scenario(514)
def test_a_refinery_leaves_a_review_whose_budget_is_spent_to_others() -> None:
    town = a_town().config(budget={"per_bead": {"usd": 1}})
    for bead, review, status in (("b", "m", "in_progress"), ("c", "n", "open")):
        town.bead(bead, status="in_review").review(review, status, of=bead)
    town.agent("f", "refinery", hook="m", last_dispatch_outcome="rejected")
    spent(town, "bead", "b", usd=2)
    reports = [town.tick(at=T + at * SECOND) for at in range(2)]
    assert [bead for report in reports for bead in dispatched(report)] == ["n"]
    assert (town.doing("f"), town.status("m")) == (("working", "n"), "open")


@scenario(514)
def test_a_hooked_polecat_keeps_its_bead_and_waits() -> None:
    town = spent(a_task(per_bead={"usd": 1}).agent("p", hook="b"), "bead", "b", usd=1)
    assert dispatched(town.tick()) == []
    assert town.doing("p") == ("idle", "b")
    town.config(budget={})
    assert dispatched(town.tick(at=T + SECOND)) == ["b"]


@scenario(515)
@pytest.mark.parametrize(("limit", "rests"), [(5, True), (50, False)])
def test_a_town_that_waits_for_budgets_lets_its_container_rest(limit: int, rests: bool) -> None:
    town = spent(a_task(per_day={"usd": limit}, per_bead={"usd": 1}), "day", TODAY, usd=5)
    spent(town.bead("c").agent("p", hook="c"), "bead", "c", usd=1)
    town.bead("reviewed", status="in_review").review("m", of="reviewed")
    town.update("agent_metadata", "mayor", last_activity_at=ago(minutes=6))
    report = town.tick(container="running")
    assert any(each.action["type"] == "stop_container" for each in report.actions) is rests


@scenario(516)
@pytest.mark.parametrize(
    ("budget", "path"),
    [
        ({"per_bead": {"usd": 0}}, "budget.per_bead.usd"),
        ({"per_bead": {"usd": -1}}, "budget.per_bead.usd"),
        ({"per_bead": {"usd": True}}, "budget.per_bead.usd"),
        ({"per_bead": {"usd": "5"}}, "budget.per_bead.usd"),
        ({"per_day": {"tokens": 0}}, "budget.per_day.tokens"),
        ({"per_day": {"tokens": 1.5}}, "budget.per_day.tokens"),
        ({"per_day": {}}, "budget.per_day"),
        ({"per_week": {"usd": 1}}, "budget.per_week"),
        ({"per_day": {"eur": 1}}, "budget.per_day.eur"),
    ],
)
def test_a_budget_that_cannot_be_is_rejected(budget: dict[str, Any], path: str) -> None:
    report = a_town().tick(event("town_configured", {"config": {"budget": budget}}))
    assert [each.outcome for each in report.events] == [f"rejected: invalid config {path}"]


@scenario(516)
def test_the_day_belongs_to_the_town_and_null_removes_a_limit() -> None:
    rig = {"rig_id": "rig-1", "name": "main-rig", "git_url": "https://github.com/acme/main-rig.git"}
    report = a_town().tick(event("rig_registered", {**rig, "config": {"budget": {"per_day": {"usd": 1}}}}))
    assert [each.outcome for each in report.events] == ["rejected: invalid config budget.per_day"]
    town = spent(a_task(per_day={"usd": 1}, per_bead={"usd": 1}), "day", TODAY, usd=2)
    town.tick(event("town_configured", {"config": {"budget": {"per_day": None}}}))
    assert town.value("config")["budget"] == {"per_day": None, "per_bead": {"usd": 1}}
    assert dispatched(town.tick(at=T + 5 * SECOND)) == ["b"]


LIMITS = st.fixed_dictionaries(
    {}, optional={"per_day": st.integers(1, 40), "per_convoy": st.integers(1, 20), "per_bead": st.integers(1, 10)}
)
STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 12), LIMITS | st.none(), st.integers(1, 400)), min_size=1, max_size=8
)


@scenario(517)
@given(steps=STEPS)
@settings(max_examples=30, deadline=None)
def test_nothing_is_dispatched_beyond_a_budget(steps: list[tuple[int, int, dict[str, int] | None, int]]) -> None:
    town = a_town()
    for number in range(3):
        town.bead(f"b{number}", created_at=ago(hours=1))
    town.convoy("c", tracked=["b0", "b1"])
    now, limits, totals = T, {}, dict.fromkeys(("b0", "b1", "b2"), 0)
    for number, (pick, tokens, changed, minutes) in enumerate(steps):
        now += timedelta(minutes=minutes)
        events = []
        bead = f"b{pick}"
        hooked = town.rows("SELECT bead_id, generation FROM agent_metadata WHERE last_dispatch_bead_id = ?", bead)
        if hooked:
            totals[bead] += tokens
            usage = {"model": "m", "input_tokens": totals[bead], "output_tokens": 0, "cached_tokens": 0}
            events.append(event("agent_usage", usage, agent=hooked[0][0], event_id=f"usage-{number:04}", at=now))
            gone = {"status": "exited", "generation": hooked[0][1]}
            events.append(event("container_status", gone, agent=hooked[0][0], event_id=f"ended-{number:04}", at=now))
        if changed is not None:
            limits = changed
            town.config(budget={name: {"tokens": much} for name, much in limits.items()})
        report = town.tick(*events, at=now)
        for started in dispatched(report):
            subjects = [("bead", started, "per_bead"), ("day", now.date().isoformat(), "per_day")]
            subjects += [("convoy", "c", "per_convoy")] if started in ("b0", "b1") else []
            for kind, subject, name in subjects:
                assert name not in limits or sums(town, kind, subject)[0] < limits[name]


@scenario(518)
def test_status_shows_what_was_used_and_that_the_cost_is_a_lower_bound() -> None:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p").agent("p", status="working", hook="b")
    town.convoy("c", tracked=["b"])
    numbers = {"input_tokens": 10, "output_tokens": 2, "cached_tokens": 30, "generation": 1}
    town.tick(
        event("agent_usage", {"model": "known", **numbers, "cost_micros": 420_000}, agent="p"),
        event("agent_usage", {"model": "unknown", **numbers}, agent="p", event_id="usage-0002"),
    )
    used = Spend(20, 4, 60, 420_000, cost_is_lower_bound=True)
    assert spend.days(town.sql, T) == (DaySpend(TODAY, used),)
    assert spend.of(town.sql, "bead", "b") == spend.of(town.sql, "convoy", "c") == used
    assert spend.of_agents(town.sql) == {"p": used}
    assert spend.spend_words(used) == "at least 0.42 USD, 84 tokens"
    assert spend.of(town.sql, "bead", "other") is None


@scenario(519)
def test_lists_and_explain_say_what_was_used() -> None:
    town = a_town().bead("b", status="in_progress").bead("unused").convoy("c", tracked=["b"])
    spent(spent(town, "bead", "b", usd=0.42, tokens=84), "convoy", "c", usd=1, tokens=200)
    world = a_world(town)
    world.run()
    of_bead, of_convoy = Spend(84, 0, 0, 420_000, cost_is_lower_bound=False), Spend(200, 0, 0, USD, False)
    listed = drive(bead_list.beads(TOWN, world.store, BeadFilter(), now=T)).beads
    assert {each.bead_id: each.used for each in listed if each.type != "agent"} == {
        "b": of_bead,
        "unused": None,
        "c": of_convoy,
    }
    past = StoredPast(world.objects, world.objects)  # type: ignore[arg-type] # a fake of both ports
    explained = {bead: drive(explain_bead(TOWN, bead, past, now=T)) for bead in ("b", "unused")}
    said = {bead: [str(each) for each in view(explanation, {})] for bead, explanation in explained.items()}
    assert "work on it used 0.42 USD, 84 tokens" in said["b"]
    assert [each for each in said["unused"] if "used 0" in each or "USD" in each] == []


@scenario(513)
def test_the_escalation_of_a_day_is_looked_at_again_when_the_day_ends() -> None:
    town = spent(a_town().config(budget={"per_day": {"usd": 10}}), "day", TODAY, usd=9)
    town.tick()
    assert [status for _, status in escalations(town)] == ["open"]
    assert [(due.at, due.wait) for due in all_dues(town, voices.close_ended)] == [(TOMORROW, "budget_spent")]


@scenario(510)
def test_the_escalation_of_one_budget_ends_while_that_of_another_stays() -> None:
    town = spent(spent(a_task(per_bead={"usd": 10}).bead("c"), "bead", "b", usd=9), "bead", "c", usd=9)
    town.tick()
    spent(town, "bead", "b", usd=1)
    town.tick(at=T + SECOND)
    assert sorted(status for _, status in escalations(town)) == ["closed", "open"]


@scenario(511)
def test_a_bead_that_only_names_a_review_has_a_budget_of_its_own() -> None:
    """Only beads that the town has made to follow up a review work for the sake of its task."""
    town = a_task(per_bead={"usd": 10}).review("m", of="b")
    town.update("beads", "b", status="in_review")
    town.bead("own", parent_bead_id="m", metadata={"mr_bead_id": "m"})
    spent(town, "bead", "b", usd=10)
    assert "own" in dispatched(town.tick())
