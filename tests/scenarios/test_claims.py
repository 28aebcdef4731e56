"""The branch of an order, reports that are held to it, and merges that are believed only when they are seen (T1, T2)."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.branches import is_branch_name
from shared.domain.report import TickReport
from shared.domain.times import to_text
from shared.town.rows import Row
from tests.scenarios.outside import PR, answer, outcomes_of
from tests.scenarios.stories import deeds, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, event

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
BRANCH = "gt/p/b"
NEGATIVE: dict[str, Any] = {"contained": False, "says": "main does not contain it"}


def at_work(**bead: Any) -> TownBuilder:
    """A polecat that works on a bead whose branch is stored."""
    metadata = {"branch": BRANCH}
    return a_town().bead("b", status="in_progress", metadata=metadata, **bead).agent("p", status="working", hook="b")


def in_review(pr: str | None = None, **review: Any) -> TownBuilder:
    """A refinery that reviews the only merge request."""
    town = a_town().bead("b", status="in_review").review("m", "in_progress", of="b", pr_url=pr, **review)
    return town.agent("f", "refinery", "working", hook="m", generation=2)


def claimed(**more: Any) -> TownBuilder:
    """A town whose refinery has reported a merge."""
    town = in_review().config(**more)
    town.tick(event("agent_done", {"branch": "gt/toast/1", "merge_commit": "c1", "head": "h1"}, agent="f"))
    return town


def nudges(town: TownBuilder) -> list[Row]:
    """Whom the town nudges, with what source."""
    return town.rows("SELECT agent_bead_id, source, message FROM agent_nudges ORDER BY nudge_id")


@scenario(300)
def test_every_bead_is_dispatched_on_a_branch_of_its_own() -> None:
    ids = [
        "0a1b2c3d-1",
        "0a1b2c3d-2",
        "Bead",
        "bead",
        "BEAD",
        "bead.lock",
        "-bead",
        "a b",
        "a/b",
        "a~b",
        "é",
        "a_b",
        "x" * 64,
    ]
    town = a_town()
    for bead_id in ids:
        town.bead(bead_id)
    town.tick()
    branches = [town.metadata(bead_id)["branch"] for bead_id in ids]
    assert len(set(branches)) == len(ids)
    assert len({branch.rpartition("/")[2].lower() for branch in branches}) == len(ids)
    assert [branch for branch in branches if not is_branch_name(branch)] == []


@scenario(300)
def test_a_branch_that_a_bead_has_stays_for_its_next_agent() -> None:
    town = at_work().update("agent_metadata", "p", status="idle", last_dispatch_outcome="rejected")
    town.agent("q")
    town.tick()
    assert town.metadata("b")["branch"] == BRANCH
    town = a_town().bead("b", metadata={"branch": "mine/x"}).bead("c", metadata={"branch": "mine/x"})
    town.tick()
    assert len({town.metadata(bead)["branch"] for bead in ("b", "c")}) == 2, "only one of them may have it"


@scenario(300)
@pytest.mark.parametrize("named", ["main", "-x", "a..b", "x.lock", "", "HEAD", "a b"])
def test_a_branch_that_cannot_be_a_beads_own_is_replaced(named: str) -> None:
    town = a_town().bead("b", metadata={"branch": named})
    town.tick()
    assert town.metadata("b")["branch"].startswith("gt/")


@scenario(301)
@pytest.mark.parametrize("other", ["gt/p/c", "gt/P/b", "GT/p/b", "gt/p/b ", "main", "refs/heads/main", "origin/main"])
def test_a_report_of_another_branch_is_rejected_and_its_agent_is_told(other: str) -> None:
    town = at_work()
    report = town.tick(event("agent_done", {"branch": other, "pr_url": PR}, agent="p"))
    assert outcomes_of(report, "agent_done") == ["rejected: other branch"]
    assert (town.status("b"), town.doing("p")) == ("in_progress", ("working", "b"))
    [(agent, source, message)] = nudges(town)
    assert (agent, source, BRANCH in message) == ("p", "rejected_report", True)
    assert len(outbox(town, "send_nudge")) == 1


@scenario(301)
@pytest.mark.parametrize("written", [BRANCH, f"refs/heads/{BRANCH}", f"origin/{BRANCH}"])
def test_a_report_of_the_ordered_branch_is_a_review_of_it_however_it_is_written(written: str) -> None:
    town = at_work()
    report = town.tick(event("agent_done", {"branch": written, "head": "h", "base": "o"}, agent="p"))
    assert outcomes_of(report, "agent_done") == ["applied"]
    [(review, branch)] = town.rows("SELECT bead_id, branch FROM review_metadata")
    assert (town.status("b"), branch) == ("in_review", BRANCH)
    noted = town.metadata(review)
    assert (noted["submitted_head"], noted["submitted_base"]) == ("h", "o")


@scenario(301)
def test_a_generation_whose_order_named_no_branch_is_not_held_to_one() -> None:
    town = a_town().bead("b", metadata={"branch": "x/y"})
    town.tick()
    [(_, polecat, generation, _)] = outbox(town, "dispatch_agent")
    order = town.rows("SELECT payload FROM outbox")[0][0].replace('"branch":"x/y",', "", 1)
    town.sql.execute("UPDATE outbox SET payload = ?", (order,))
    report = town.tick(event("agent_done", {"branch": "z", "generation": generation}, agent=polecat), at=T + 5 * SECOND)
    assert outcomes_of(report, "agent_done") == ["applied"]


@scenario(301)
def test_a_report_of_the_target_creates_no_review_even_if_no_branch_is_stored() -> None:
    town = a_town().bead("b", status="in_progress").agent("p", status="working", hook="b")
    report = town.tick(event("agent_done", {"branch": "main"}, agent="p"))
    assert outcomes_of(report, "agent_done") == ["rejected: other branch"]
    assert town.doing("p") == ("working", "b")


@scenario(302)
def test_what_became_of_earlier_attempts_is_told_until_the_bead_closes() -> None:
    note = {"text": "It was merged nowhere.", "at": "2026-01-01T00:00:00.000Z", "by": "system"}
    town = a_town().bead("b", metadata={"note_for_next": note})
    town.tick()
    [(payload,)] = town.rows("SELECT payload FROM outbox WHERE kind = 'dispatch_agent'")
    assert '"previous_attempt":"It was merged nowhere."' in payload
    town.tick(event("bead_cancelled", {"cancel_status": "closed"}, bead="b", at=T + 5 * SECOND), at=T + 5 * SECOND)
    assert "note_for_next" not in town.metadata("b")


@scenario(302)
def test_the_refinery_of_the_next_landing_is_told_why_the_last_one_failed() -> None:
    note = {"text": "It was another pull request.", "at": "2026-01-01T00:00:00.000Z", "by": "system"}
    town = a_town().bead("t", status="closed").convoy("c", tracked=["t"], closed=1, metadata={"note_for_next": note})
    town.review("m", of="c", created_by="system").agent("f", "refinery", "idle")
    town.tick()
    [(payload,)] = town.rows("SELECT payload FROM outbox WHERE kind = 'dispatch_agent'")
    assert '"previous_attempt":"It was another pull request."' in payload


@scenario(303)
@pytest.mark.parametrize(
    ("given", "outcome"), [("8", "rejected: other pull request"), ("7/files", "applied"), ("7", "applied")]
)
def test_a_second_pull_request_is_rejected_while_the_first_is_open(given: str, outcome: str) -> None:
    first = "https://github.com/acme/main-rig/pull/7"
    town = in_review(first)
    report = town.tick(
        event("agent_done", {"branch": "x", "pr_url": f"https://github.com/Acme/main-rig/pull/{given}"}, agent="f")
    )
    assert outcomes_of(report, "agent_done") == [outcome]
    assert town.one("review_metadata", "m", "pr_url") == first
    assert town.doing("f") == (("working", "m") if outcome.startswith("rejected") else ("idle", None))


@scenario(304)
def test_a_review_that_nobody_had_begun_is_in_progress_once_it_is_reported_as_merged() -> None:
    town = in_review().update("beads", "m", status="open")
    town.tick(event("agent_done", {"branch": "gt/toast/1", "merge_commit": "c1", "head": "h1"}, agent="f"))
    assert town.status("m") == "in_progress"
    assert outbox(town, "verify_merge")


@scenario(304)
def test_a_look_for_a_merge_is_not_ordered_again_while_one_is_under_way() -> None:
    town = claimed()
    for number in range(1, 4):
        report = town.tick(at=T + number * MINUTE)
        assert [line for line in deeds(report) if "verify_merge" in line] == []
    assert len(outbox(town, "verify_merge")) == 1


@scenario(303)
def test_a_pull_request_replaces_one_that_the_forge_has_closed() -> None:
    old = {"pr_closed": 1, "head_sha": "a", "review_passed_head": "a", "has_conflicts": 1}
    town = in_review(PR, metadata=old)
    other = PR.rpartition("/")[0] + "/1234"
    town.tick(event("agent_done", {"branch": "x", "pr_url": other}, agent="f"))
    assert town.one("review_metadata", "m", "pr_url") == other
    assert town.metadata("m").keys().isdisjoint({"pr_closed", "head_sha", "review_passed_head", "has_conflicts"})
    said = town.rows("SELECT metadata FROM bead_events WHERE bead_id = 'm' AND event_type = 'fields_updated'")
    assert said == [('{"change":"pr_replaced"}',)]


@scenario(304)
@pytest.mark.parametrize(("head", "passed"), [({}, "seen"), ({"head": "reviewed"}, "reviewed")])
def test_a_refinery_passes_a_head_and_the_forge_says_when_it_is_merged(head: dict[str, str], passed: str) -> None:
    town = in_review(PR, metadata={"head_sha": "seen"})
    report = town.tick(event("agent_done", {"branch": "x", **head}, agent="f"))
    assert outcomes_of(report, "agent_done") == ["applied"]
    assert (town.status("m"), town.status("b"), town.doing("f")) == ("in_progress", "in_review", ("idle", None))
    assert town.metadata("m")["review_passed_head"] == passed
    assert deeds(report, of="reviews") == ["reviews.poll_pull_request: poll_pr m"]


@scenario(303)
def test_a_refinery_that_opens_a_pull_request_without_naming_its_head_passes_the_first_one_that_is_seen() -> None:
    town = in_review()
    town.tick(event("agent_done", {"branch": "x", "pr_url": PR}, agent="f"))
    seen: dict[str, Any] = {"ok": True, "state": "open", "mergeable_state": "clean"}
    town.tick(answer(town, "poll_pr", **seen, head_sha="sha-1"), at=T + MINUTE)
    assert town.metadata("m")["review_passed_head"] == "sha-1"

    town.tick(at=T + 3 * MINUTE)
    town.tick(answer(town, "poll_pr", at=T + 3 * MINUTE, **seen, head_sha="sha-2"), at=T + 4 * MINUTE)
    assert town.metadata("m")["review_passed_head"] == "sha-1"


@scenario(303)
@pytest.mark.parametrize(("head", "attempts"), [({}, 0), ({"head": "seen"}, 0), ({"head": "another"}, 3)])
def test_a_review_that_passes_what_the_forge_shows_has_used_up_no_attempt(head: dict[str, str], attempts: int) -> None:
    town = in_review(PR, metadata={"head_sha": "seen"}).update("beads", "m", dispatch_attempts=3)
    town.tick(event("agent_done", {"branch": "x", **head}, agent="f"))
    assert town.one("beads", "m", "dispatch_attempts") == attempts


@scenario(304)
def test_a_refinery_that_asked_for_changes_passes_nothing() -> None:
    town = in_review(PR, metadata={"head_sha": "seen"}).bead("r", labels=["gt:rework"]).edge("m", "r")
    town.tick(event("agent_done", {"branch": "x", "head": "h"}, agent="f"))
    assert (town.status("m"), "review_passed_head" in town.metadata("m")) == ("in_progress", False)


@scenario(304)
def test_only_a_refinery_that_worked_on_the_review_passes_its_head() -> None:
    town = in_review(PR, metadata={"head_sha": "seen"}).update("agent_metadata", "f", current_hook_bead_id=None)
    report = town.tick(event("agent_done", {"branch": "x", "head": "h"}, agent="f", bead="m"))
    assert [outcome.startswith("skipped") for outcome in outcomes_of(report, "agent_done")] == [True]
    assert "review_passed_head" not in town.metadata("m")


@scenario(305)
def test_a_reported_merge_is_looked_for_and_then_closes_everything() -> None:
    town = in_review()
    said = {"branch": "gt/toast/1", "merge_commit": "c1", "head": "h1"}
    report = town.tick(event("agent_done", said, agent="f"))
    assert deeds(report) == ["proofs.verify_merge: verify_merge m"]
    [(payload,)] = town.rows("SELECT payload FROM outbox WHERE kind = 'verify_merge'")
    assert '"head":"h1"' in payload
    assert '"merge_commit":"c1"' in payload
    assert town.waiting()["merge_unproven"] == 1
    assert [need.event_type for need in town.waits()["m"].needs] == ["merge_verified"]
    closed = town.tick(answer(town, "verify_merge", contained=True, sha="c2", at=T + 5 * SECOND), at=T + 5 * SECOND)
    assert outcomes(closed) == [("merge_verified", "applied")]
    assert (town.status("m"), town.status("b")) == ("closed", "closed")
    assert town.one("review_metadata", "m", "merge_commit") == "c2"
    assert "unproven" not in town.metadata("m")


@scenario(305)
def test_a_claim_holds_up_neither_the_rig_nor_itself() -> None:
    town = claimed()
    town.bead("b2", status="in_review").review("m2", "open", of="b2")
    report = town.tick(at=T + 5 * SECOND)
    assert "reviews.dispatch_refinery: dispatch_agent f m2" in deeds(report)
    later = town.tick(at=T + 3 * MINUTE)
    assert [deed for deed in deeds(later) if "abandoned" in deed or "stuck" in deed] == []
    assert (town.status("m"), town.status("m2")) == ("in_progress", "in_progress")
    assert town.reports[-1].violations == ()


@scenario(305)
def test_a_claim_is_looked_for_only_while_its_review_is_in_progress() -> None:
    """Whoever opens a review again takes the claim back: it is about work that will be reviewed once more."""
    town = claimed()
    town.tick(answer(town, "verify_merge", **NEGATIVE, at=T + 5 * SECOND), at=T + 5 * SECOND)
    town.update("beads", "m", status="open")
    assert deeds(town.tick(at=T + 3 * MINUTE), of="proofs") == []


@scenario(306)
def test_three_looks_that_find_nothing_send_the_review_to_a_refinery_that_is_told_why() -> None:
    town = claimed()
    report = town.reports[-1]
    for number in range(limits.MERGE_LOOKS):
        at = T + number * limits.MERGE_LOOK_INTERVAL
        if number:
            assert deeds(town.tick(at=at), of="proofs") == ["proofs.verify_merge: verify_merge m"]
        assert town.status("m") == "in_progress"
        report = town.tick(answer(town, "verify_merge", **NEGATIVE, at=at + 5 * SECOND), at=at + 5 * SECOND)
    assert deeds(report) == [
        "reviews.dispatch_refinery: transition_bead m in_progress",
        "reviews.dispatch_refinery: hook_agent f m",
        "reviews.dispatch_refinery: dispatch_agent f m",
    ]
    [(payload,)] = town.rows("SELECT payload FROM outbox WHERE kind = 'dispatch_agent'")
    assert "Your predecessor reported that gt/toast/1 was merged into main as commit c1" in payload
    assert town.metadata("m").keys().isdisjoint({"merge_claim", "merge_looks", "obstacle"})
    assert (town.one("beads", "m", "dispatch_attempts"), town.status("b")) == (1, "in_review")


@scenario(306)
def test_a_look_that_finds_it_after_two_that_did_not_closes_the_review() -> None:
    town = claimed()
    for number, found in enumerate((False, False, True)):
        at = T + number * limits.MERGE_LOOK_INTERVAL
        if number:
            town.tick(at=at)
        town.tick(answer(town, "verify_merge", contained=found, at=at + 5 * SECOND), at=at + 5 * SECOND)
    assert (town.status("m"), town.one("review_metadata", "m", "merge_commit")) == ("closed", "c1")


@scenario(307)
def test_where_nobody_can_tell_the_report_is_accepted_and_counted() -> None:
    town = claimed()
    town.tick(answer(town, "verify_merge", says="no git", at=T + 5 * SECOND), at=T + 5 * SECOND)
    assert (town.status("m"), town.status("b"), town.metadata("m")["unproven"]) == ("closed", "closed", 1)
    assert (town.reports[-1].metrics.merges_unproven, town.value("merges_unproven")) == (1, 1)


@scenario(307)
def test_a_rig_without_an_address_has_nothing_to_look_at() -> None:
    town = in_review().update("rigs", "rig-1", git_url="")
    town.tick(event("agent_done", {"branch": "x"}, agent="f"))
    assert (town.status("m"), town.metadata("m")["unproven"], outbox(town, "verify_merge")) == ("closed", 1, [])


@scenario(307)
def test_a_town_that_requires_a_proof_looks_again_and_less_and_less_often() -> None:
    town = claimed(refinery={"merge_proof": "required"})
    now, waits = T + 5 * SECOND, []
    for _ in range(7):
        report = town.tick(answer(town, "verify_merge", says="no git", at=now), at=now)
        due = report.next_due
        while due is not None and not outbox_pending(town):
            now, report = due, town.tick(at=due)
            due = report.next_due
        waits.append(now)
        now += 5 * SECOND
    assert town.status("m") == "in_progress"
    gaps = [(later - earlier - 5 * SECOND) // MINUTE for earlier, later in pairwise(waits)]
    assert gaps == [2, 4, 8, 16, 30, 30]


def outbox_pending(town: TownBuilder) -> bool:
    """Whether a look is under way."""
    return bool(town.rows("SELECT 1 FROM outbox WHERE kind = 'verify_merge' AND state IN ('pending', 'claimed')"))


@scenario(308)
@pytest.mark.parametrize(
    ("error", "obstacle"),
    [
        ({"kind": "http", "http_status": 401}, "forge_denied"),
        ({"kind": "http", "http_status": 404}, "forge_denied"),
        ({"kind": "http", "http_status": 503}, "forge_down"),
        ({"kind": "transient"}, "forge_down"),
        ({"kind": "invalid_response"}, "forge_unreadable"),
    ],
)
def test_not_being_able_to_look_is_no_verdict_on_the_merge(error: dict[str, Any], obstacle: str) -> None:
    town = claimed()
    town.tick(answer(town, "verify_merge", error={"message": "", **error}, at=T + 5 * SECOND), at=T + 5 * SECOND)
    assert (town.status("m"), town.status("b")) == ("in_progress", "in_review")
    assert town.metadata("m")["obstacle"] == obstacle
    late = T + 31 * MINUTE
    assert "proofs.verify_merge: verify_merge m" in deeds(town.tick(at=late))
    assert outbox(town, "dispatch_agent") == []
    town.tick(answer(town, "verify_merge", contained=True, at=late + 5 * SECOND), at=late + 5 * SECOND)
    assert (town.status("m"), town.status("b")) == ("closed", "closed")


@scenario(308)
def test_a_look_at_an_older_claim_says_nothing_about_the_present_one() -> None:
    town = claimed()
    late = answer(town, "verify_merge", contained=True, at=T + 5 * SECOND)
    claim = {**town.metadata("m"), "merge_claim": {"commit": "c9", "head": None, "at": "2026-01-10T12:00:00.000Z"}}
    town.update("beads", "m", metadata=claim)
    report = town.tick(late, at=T + 5 * SECOND)
    assert outcomes_of(report, "merge_verified") == ["skipped: moved_on"]
    assert town.status("m") == "in_progress"


GREEN = {
    "has_unresolved_comments": False,
    "has_failing_checks": False,
    "has_unchecked_runs": False,
    "all_checks_pass": True,
    "awaiting_approval": False,
    "changes_requested": False,
}
CLEAN: dict[str, Any] = {"ok": True, "state": "open", "head_sha": "B", "mergeable_state": "clean", "feedback": GREEN}


def green_at_b(*, rig: dict[str, Any] | None = None, attempts: int = 1, **notes: Any) -> TownBuilder:
    """A pull request that lacks nothing but a review of its head B; A was passed."""
    known = {"head_sha": "B", "head_seen_at": to_text(T - 10 * MINUTE), "review_passed_head": "A"}
    town = (
        a_town().config(refinery={"auto_merge_delay_minutes": 0}).bead("b", status="in_review").agent("f", "refinery")
    )
    if rig is not None:
        town.update("rigs", "rig-1", config=rig)
    return town.review("m", "in_progress", of="b", pr_url=PR, metadata={**known, **notes}, dispatch_attempts=attempts)


def polled(town: TownBuilder, at: datetime = T) -> TickReport:
    """One poll that finds everything in order."""
    town.tick(at=at)
    return town.tick(answer(town, "poll_pr", **CLEAN, at=at + 5 * SECOND), at=at + 5 * SECOND)


@scenario(309)
def test_a_head_that_nobody_reviewed_is_reviewed_before_it_is_merged() -> None:
    town = green_at_b()
    report = polled(town)
    assert outcomes_of(report, "pr_auto_merge") == []
    assert [deed for deed in deeds(report, of="reviews") if "dispatch" in deed] == [
        "reviews.dispatch_refinery: transition_bead m in_progress",
        "reviews.dispatch_refinery: hook_agent f m",
        "reviews.dispatch_refinery: dispatch_agent f m",
    ]
    [(_, _, generation, _)] = outbox(town, "dispatch_agent")
    done = event("agent_done", {"branch": "x", "head": "B", "generation": generation}, agent="f", at=T + MINUTE)
    town.tick(done, at=T + MINUTE)
    merges = polled(town, T + 2 * MINUTE)
    assert outcomes_of(merges, "pr_auto_merge") == ["applied"]
    assert "reviews.merge_pull_request: merge_pr m" in deeds(merges)


@scenario(309)
def test_a_blocked_pull_request_is_not_sent_back() -> None:
    town = green_at_b().bead("r", status="in_progress", labels=["gt:rework"]).edge("m", "r")
    report = polled(town)
    assert (town.status("m"), outcomes_of(report, "pr_auto_merge")) == ("in_progress", [])


@scenario(309)
def test_at_its_cap_people_are_asked_once_to_review_it() -> None:
    town = green_at_b(attempts=5)
    for number in range(3):
        polled(town, T + number * 2 * MINUTE)
    assert (town.status("m"), town.metadata("m")["obstacle"]) == ("in_progress", "awaiting_merge")
    assert town.rows("SELECT count(*) FROM escalation_metadata") == [(1,)]
    assert outbox(town, "merge_pr") == []


@scenario(309)
def test_a_rig_without_reviews_merges_without_a_pass() -> None:
    town = green_at_b(rig={"code_review": False, "merge_strategy": "pr"})
    assert outcomes_of(polled(town), "pr_auto_merge") == ["applied"]


@scenario(301)
def test_an_agent_without_a_token_creates_no_merge_request_either() -> None:
    bead = {"bead_id": "mine", "type": "merge_request", "title": "x", "rig_id": "rig-1", "branch": "x", "pr_url": PR}
    town = at_work()
    report = town.tick(event("bead_created", {"bead": bead}, agent="p"))
    assert outcomes_of(report, "bead_created") == ["rejected: only operators create merge requests"]
    report = town.tick(event("bead_created", {"bead": bead}, event_id="by-ann-1", at=T + 5 * SECOND), at=T + 5 * SECOND)
    assert outcomes_of(report, "bead_created") == ["applied"]


@pytest.mark.parametrize(("minutes", "late"), [(1, True), (9, True), (11, False)])
def test_a_poll_that_shows_the_head_before_the_town_s_own_update_has_read_an_old_state(
    minutes: int, late: bool
) -> None:
    """Forges show old heads for a while; such a poll once ended the turn of its branch, and the next branch was updated, too."""
    known = {
        "head_sha": "B",
        "review_passed_head": "B",
        "own_updated_from": "A",
        "own_updates": 1,
        "own_updated_at": to_text(T - minutes * MINUTE),
    }
    town = a_town().bead("b", status="in_review").review("m", "in_progress", of="b", pr_url=PR, metadata=known)
    town.tick()
    before = town.metadata("m")
    seen: dict[str, Any] = {"ok": True, "state": "open", "mergeable_state": "behind", "is_behind": True}
    town.tick(answer(town, "poll_pr", **seen, head_sha="A"), at=T + timedelta(milliseconds=1))
    changed = {
        name for name in ("head_sha", "own_updates", "obstacle") if town.metadata("m").get(name) != before.get(name)
    }
    assert changed == (set() if late else {"head_sha", "own_updates"})
