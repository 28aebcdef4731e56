"""Effects that the first release requested, and their results, arrive in a town that this code has migrated.

Nothing fails because it lacks a new field: an old answer judges nothing, and what cannot be compared is not merged.
"""

import json
from datetime import timedelta
from typing import Any

import pytest

from shared.town import database
from tests.scenarios.outside import GREEN, PR, answer, effects, outcomes_of
from tests.towns import T, TownBuilder, a_town, event
from tests.upgrades.older import as_of_the_first_release

SECOND = timedelta(seconds=1)
NEW_FIELDS = (
    "branch",
    "previous_attempt",
    "expected",
    "required_checks_only",
    "require_checks",
    "rig_repository",
    "upstream",
)
OLD_ANSWER: dict[str, Any] = {"ok": True, "state": "open", "mergeable_state": "clean", "feedback": GREEN}


def old_town() -> TownBuilder:
    """A town of the first release: M is polled and merged, a refinery reviews M2, P works, a convoy lands by M3."""
    town = a_town().config(merge_strategy="pr", refinery={"auto_merge_delay_minutes": 0})
    town.bead("b", status="in_review").bead("b2", status="in_review").bead("new").bead("done", status="closed")
    counted = {"head_sha": "h", "poll_non_transient_count": 2, "poll_transient_count": 9}
    town.review("m", "in_progress", of="b", pr_url=PR, metadata={**counted, "auto_merge_pending": 1}, branch="x/1")
    town.review("m2", of="b2", branch="x/2").convoy("c", tracked=["done"], closed=1, metadata={"ready_to_land": 1})
    town.review("m3", "in_progress", of="c", pr_url=PR + "3", branch="convoy/x/head", created_by="system")
    town.bead("m4", "merge_request", "failed", metadata={"failureReason": "pr_poll_failed"})
    town.update("beads", "m", metadata={**town.metadata("m"), "review_passed_head": "h"})
    town.update("rigs", "rig-1", forge_repository_id="1")
    town.tick()
    return in_the_first_form(town)


def in_the_first_form(town: TownBuilder) -> TownBuilder:
    """The same town as the first release would have left it: its orders, notes and tables lack what is new."""
    for effect_id, kind, payload in town.rows("SELECT effect_id, kind, payload FROM outbox"):
        order = {key: value for key, value in json.loads(payload).items() if key not in NEW_FIELDS}
        if kind == "dispatch_agent":
            order["branch"] = None
        town.sql.execute("UPDATE outbox SET payload = ? WHERE effect_id = ?", (json.dumps(order), effect_id))
    for bead in ("m", "m2", "m3", "new"):
        kept = {
            "head_sha",
            "auto_merge_pending",
            "poll_non_transient_count",
            "ready_to_land",
            "source_bead_id",
            "pr_url",
        }
        town.update("beads", bead, metadata={key: value for key, value in town.metadata(bead).items() if key in kept})
    return TownBuilder(sql=database.open_image(as_of_the_first_release(town.image())), tick_no=town.tick_no)


def test_old_answers_to_old_orders_fail_nothing_and_merge_nothing() -> None:
    town = old_town()
    at = T + 5 * SECOND
    polls = [answer(town, "poll_pr", each, **OLD_ANSWER, head_sha="h", at=at) for each in ("m", "m3")]
    report = town.tick(*polls, answer(town, "merge_pr", "m", merged=False, reason="405 no", at=at), at=at)
    assert outcomes_of(report, "pr_polled") + outcomes_of(report, "pr_merge_result") == ["applied"] * 3
    later = town.ticks(40, start=at + 30 * SECOND, every=30 * SECOND)
    assert [seen for each in later for seen in each.events if seen.outcome.startswith(("failed", "poisoned"))] == []
    assert (town.status("m"), town.status("m3"), town.status("c"), town.status("m4")) == (
        "in_progress",
        "in_progress",
        "open",
        "failed",
    )
    assert len(effects(town, "merge_pr")) == 1


def test_a_merge_that_the_old_worker_has_made_counts() -> None:
    town = old_town()
    at = T + 5 * SECOND
    town.tick(answer(town, "merge_pr", "m", merged=True, sha="abc", at=at), at=at)
    assert (town.status("m"), town.status("b")) == ("closed", "closed")


@pytest.mark.parametrize("branch", ["gt/toast/new", "anything"])
def test_the_report_of_an_agent_whose_order_named_no_branch_is_taken(branch: str) -> None:
    town = old_town()
    [(polecat,)] = town.rows(
        "SELECT subject FROM outbox WHERE kind = 'dispatch_agent' AND json_extract(payload, '$.bead.id') = 'new'"
    )
    at = T + 5 * SECOND
    report = town.tick(event("agent_done", {"branch": branch, "generation": 1}, agent=polecat, at=at), at=at)
    assert outcomes_of(report, "agent_done") == ["applied"]
    assert town.rows("SELECT branch FROM review_metadata WHERE branch = ?", branch) == [(branch,)]


def test_a_review_without_a_pull_request_ends_as_a_claim_without_commits() -> None:
    town = old_town()
    [(refinery,)] = town.rows(
        "SELECT subject FROM outbox WHERE kind = 'dispatch_agent' AND json_extract(payload, '$.bead.id') = 'm2'"
    )
    at = T + 5 * SECOND
    town.tick(event("agent_done", {"branch": "x/2", "generation": 1}, agent=refinery, at=at), at=at)
    assert town.status("m2") == "in_progress"
    at += 5 * SECOND
    town.tick(answer(town, "verify_merge", "m2", says="there is nothing to look with", at=at), at=at)
    assert (town.status("m2"), town.status("b2"), town.metadata("m2")["unproven"]) == ("closed", "closed", 1)
