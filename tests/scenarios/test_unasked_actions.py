"""Scenario 202: actions that no rule asks for, applied all the same as the tick would."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from shared.actions import Action, CloseSiblingMrs, CreateMrBead, SetReviewPrUrl
from shared.domain.report import JudgedAction
from shared.domain.tick import Tick
from shared.engine import reconcile
from shared.rules import RULES
from shared.rules.base import Decision, Rule
from shared.town.reading import TownReader
from tests.scenarios.outside import PR, audits, review_column
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, event


def wish(town: TownBuilder, action: Action, monkeypatch: pytest.MonkeyPatch) -> JudgedAction:
    """What becomes of an action that one rule, and no other, asks for."""

    def wishes(_: TownReader, __: Tick) -> Iterator[Decision]:
        yield action

    monkeypatch.setattr(reconcile, "decide", partial(reconcile.decide, rules=(Rule("X", wishes),)))
    (judged,) = town.tick().actions
    assert judged.rule == "test_unasked_actions.wishes"
    return judged


def a_town_at_work() -> TownBuilder:
    """P works on B, a task of a convoy."""
    town = a_town().bead("b", "issue", "in_progress", assignee_agent_bead_id="p").convoy("c", tracked=["b"])
    return town.agent("p", status="working", hook="b")


def the_review(town: TownBuilder) -> list[tuple[Any, ...]]:
    """Everything that is stored of the one MR but its id and times."""
    return town.rows(
        "SELECT b.status, b.title, b.body, b.rig_id, b.parent_bead_id, b.priority, b.labels, b.metadata, b.created_by, "
        "r.branch, r.target_branch, r.pr_url, d.depends_on_bead_id, d.dependency_type "
        "FROM beads b JOIN review_metadata r USING (bead_id) JOIN bead_dependencies d USING (bead_id) "
        "WHERE b.type = 'merge_request'"
    )


@scenario(202)
@pytest.mark.parametrize("url", ["http://github.com/acme/main-rig/pull/7", "ftp://x", "", "HTTP://github.com/acme/x"])
def test_a_pull_request_at_an_insecure_address_is_not_stored(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    town = a_town_at_work().review("m", "in_progress", of="b", pr_url=PR, metadata={"pr_url": PR})
    before = town.one("beads", "m", "metadata", "updated_at")
    judged = wish(town, SetReviewPrUrl(bead_id="m", pr_url=url), monkeypatch)
    assert (judged.outcome, judged.reason) == ("failed", "the pull request address is not https")
    assert (town.one("beads", "m", "metadata", "updated_at"), review_column(town, "pr_url")) == (before, PR)


@scenario(202)
def test_the_address_of_a_pull_request_is_stored_in_both_of_its_places(monkeypatch: pytest.MonkeyPatch) -> None:
    town = a_town_at_work().review("m", "in_progress", of="b")
    assert wish(town, SetReviewPrUrl(bead_id="m", pr_url=PR), monkeypatch).outcome == "applied"
    assert (town.metadata("m"), review_column(town, "pr_url")) == ({"pr_url": PR}, PR)


@scenario(202)
def test_a_review_that_is_asked_for_is_the_same_as_one_that_an_agent_submits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, submitted = a_town_at_work(), a_town_at_work()
    said: dict[str, Any] = {"branch": "gt/toast/1", "pr_url": PR, "summary": "What was done"}
    action = CreateMrBead(source_bead_id="b", agent_id="p", rig_id="rig-1", target_branch="convoy/x/head", **said)
    assert wish(asked, action, monkeypatch).outcome == "applied"
    # No rule acts, so that the review stays as it was submitted.
    monkeypatch.setattr(reconcile, "decide", partial(reconcile.decide, rules=RULES[:0]))
    submitted.tick(event("agent_done", said, agent="p"))
    assert the_review(asked) == the_review(submitted) != []
    assert [len(audits(town, "b", "review_submitted")) for town in (asked, submitted)] == [1, 1]


@scenario(202)
def test_siblings_are_closed_as_a_merge_closes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def a_town_with_siblings() -> TownBuilder:
        town = a_town_at_work()
        for name, status in (("m", "in_progress"), ("m2", "open"), ("m3", "in_progress"), ("m4", "failed")):
            town.review(name, status, of="b", pr_url=PR)
        return town.review("stranger", "open", pr_url=PR)

    asked, merged = a_town_with_siblings(), a_town_with_siblings()
    judged = wish(asked, CloseSiblingMrs(source_bead_id="b", exclude_mr_id="m"), monkeypatch)
    assert judged.outcome == "applied"
    monkeypatch.setattr(reconcile, "decide", partial(reconcile.decide, rules=RULES[:0]))
    merged.tick(event("pr_status_changed", {"pr_url": PR, "pr_state": "merged"}, bead="m"))
    names = ("m2", "m3", "m4", "stranger")
    assert [asked.status(name) for name in names] == ["closed", "closed", "failed", "open"]
    assert [asked.status(name) for name in names] == [merged.status(name) for name in names]
    assert (asked.status("m"), asked.status("b")) == ("in_progress", "in_progress")
    again = wish(asked, CloseSiblingMrs(source_bead_id="b", exclude_mr_id="m"), monkeypatch)
    assert (again.outcome, again.reason) == ("skipped", "already")


@scenario(202)
def test_no_rule_of_a_town_asks_for_them() -> None:
    town = a_town_at_work().review("m", "open", of="b").review("m2", "in_progress", of="b", pr_url=PR)
    reports = town.ticks(20, start=T, every=timedelta(minutes=2))
    asked = {judged.action["type"] for report in reports for judged in report.actions}
    assert asked & {"set_review_pr_url", "create_mr_bead", "close_sibling_mrs"} == set()
