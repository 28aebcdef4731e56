from typing import Any

import pytest

from shared.actions import StopAgent
from shared.domain.notes import RESERVED
from shared.events.base import UnreadableEvent
from tests.unit.events.builders import ATown, a_town, ago

PR = "https://github.com/acme/app/pull/7"


def created(town: ATown, agent_id: str | None = None, **bead: Any) -> str:
    """The outcome of bead_created for an issue `new`, apart from the given fields."""
    given = {"bead_id": "new", "type": "issue", "title": "New", **bead}
    return town.outcome("bead_created", {"bead": given}, agent_id=agent_id)


# bead_created


def test_a_bead_is_created_as_it_was_given() -> None:
    town = a_town().with_rig().with_bead("parent").with_agent("m", role="mayor")

    outcome = created(
        town,
        body="Do it",
        rig_id="rig-1",
        priority="high",
        labels=["gt:held", "gt:pr-fixup"],
        metadata={"colour": "red"},
        parent_bead_id="parent",
        agent_id="m",
    )

    assert outcome == "applied"
    bead = town.bead("new")
    names = (
        "type",
        "status",
        "title",
        "body",
        "rig_id",
        "priority",
        "labels",
        "metadata",
        "parent_bead_id",
        "created_by",
    )
    assert [bead[name] for name in names] == [
        "issue",
        "open",
        "New",
        "Do it",
        "rig-1",
        "high",
        ["gt:held", "gt:pr-fixup"],
        {"colour": "red"},
        "parent",
        "m",
    ]
    assert town.audit("new") == ["created"]


def test_a_bead_is_created_once_and_then_never_compared() -> None:
    town = a_town()
    created(town)
    before = town.everything()

    assert created(town, title="Another", rig_id="unknown", type="castle") == "skipped: exists"

    assert town.everything() == before


@pytest.mark.parametrize(
    ("bead", "outcome"),
    [
        ({"type": "convoy"}, "rejected: a bead of this type is not created by an event"),
        ({"type": "agent"}, "rejected: a bead of this type is not created by an event"),
        ({"type": "castle"}, "rejected: a bead of this type is not created by an event"),
        ({"rig_id": "unknown"}, "rejected: unknown rig"),
        ({"parent_bead_id": "unknown"}, "rejected: unknown parent"),
        ({"parent_bead_id": "new"}, "rejected: unknown parent"),
        ({"type": "merge_request"}, "rejected: a merge request needs a branch"),
        ({"assignee_agent_id": "p1"}, "rejected: only a message is created with an assignee"),
        ({"type": "message", "assignee_agent_id": "unknown"}, "skipped: missing"),
        ({"convoy_id": "unknown"}, "skipped: missing"),
        ({"convoy_id": "old"}, "skipped: missing"),
    ],
)
def test_a_bead_that_breaks_a_rule_stores_nothing(bead: dict[str, Any], outcome: str) -> None:
    town = a_town().with_bead("old").with_agent("p1")
    before = town.everything()

    assert created(town, **bead) == outcome

    assert town.everything() == before


def test_a_message_reaches_the_agent_it_is_for() -> None:
    town = a_town().with_agent("p1")

    assert created(town, type="message", assignee_agent_id="p1") == "applied"

    assert town.bead("new")["assignee_agent_bead_id"] == "p1"


def test_a_bead_waits_for_the_beads_that_it_depends_on_and_keeps_the_names_of_those_that_do_not_exist() -> None:
    town = a_town().with_bead("a").with_bead("b")

    assert created(town, depends_on=["b", "gone", "a", "b", "gone", "lost"], metadata={"awaits": ["x"]}) == "applied"

    assert town.edges() == {("new", "a", "blocks"), ("new", "b", "blocks")}
    assert town.bead("new")["metadata"] == {"awaits": ["gone", "lost"]}


def test_a_bead_that_depends_on_itself_is_refused() -> None:
    town = a_town().with_bead("a")
    before = town.everything()

    assert created(town, depends_on=["a", "new"]) == "rejected: it depends on itself"

    assert town.everything() == before


def test_what_a_bead_awaits_is_never_given_as_metadata() -> None:
    town = a_town()

    assert created(town, metadata={"awaits": ["x"], "mine": 1}) == "applied"

    assert town.bead("new")["metadata"] == {"mine": 1}


@pytest.mark.parametrize("bead_type", ["issue", "message", "merge_request", "molecule"])
def test_the_bead_that_others_await_becomes_their_blocker_whatever_its_type(bead_type: str) -> None:
    waiting = {"d1": {"awaits": ["new"]}, "d2": {"awaits": ["new", "other"]}, "d3": {"awaits": ["other"], "x": "new"}}
    town = a_town().with_rig()
    for bead_id, metadata in waiting.items():
        town.with_bead(bead_id, metadata=metadata)

    assert created(town, type=bead_type, branch="b") == "applied"

    assert town.edges() == {("d1", "new", "blocks"), ("d2", "new", "blocks")}
    left = [town.bead(bead_id)["metadata"].get("awaits") for bead_id in waiting]
    assert left == [None, ["other"], ["other"]]


def test_a_bead_that_waits_for_one_of_those_that_await_it_is_refused() -> None:
    town = a_town().with_bead("a", metadata={"awaits": ["new"]}).with_bead("b").with_edge("b", "a")
    before = town.everything()

    assert created(town, depends_on=["b"]) == "rejected: cycle"

    assert town.everything() == before


def test_an_edge_that_would_close_a_cycle_is_refused_with_the_bead() -> None:
    town = a_town().with_bead("a").with_bead("ghost").with_edge("a", "ghost")
    town.sql.execute("PRAGMA foreign_keys = OFF")
    town.sql.execute("UPDATE bead_dependencies SET depends_on_bead_id = 'new'")  # a damaged image
    before = town.everything()

    assert created(town, depends_on=["a"]) == "rejected: cycle"

    assert town.everything() == before


def test_a_bead_of_a_convoy_counts_in_its_progress() -> None:
    town = a_town().with_convoy("c1")

    assert created(town, convoy_id="c1", depends_on=["c1"]) == "applied"

    assert town.edges() == {("new", "c1", "tracks")}
    assert town.rows("convoy_metadata")[0]["total_beads"] == 1


def test_a_merge_request_gets_its_branches_and_its_address_in_both_places() -> None:
    town = a_town().with_rig(default_branch="trunk")

    assert created(town, type="merge_request", rig_id="rig-1", branch="gt/b", pr_url=PR) == "applied"

    review = town.rows("review_metadata")[0]
    assert (review["branch"], review["target_branch"], review["pr_url"]) == ("gt/b", "trunk", PR)
    assert town.bead("new")["metadata"] == {"pr_url": PR}
    assert town.bead("new")["labels"] == []


def test_the_given_target_branch_wins_over_the_rigs() -> None:
    town = a_town().with_rig(default_branch="trunk")

    created(town, type="merge_request", rig_id="rig-1", branch="gt/b", target_branch="next")

    assert town.rows("review_metadata")[0]["target_branch"] == "next"


@pytest.mark.parametrize(("babysit", "labels"), [(True, ["gt:babysit"]), (1, ["gt:babysit"]), ("true", []), (0, [])])
def test_an_adopted_pull_request_is_labelled_and_audited(babysit: object, labels: list[str]) -> None:
    town = a_town()

    created(town, type="merge_request", branch="b", pr_url=PR, metadata={"babysit": babysit})

    assert town.bead("new")["labels"] == labels
    assert ("babysit_started" in town.audit("new")) is bool(labels)


def test_the_babysit_label_is_not_given_twice() -> None:
    town = a_town()

    created(town, type="merge_request", branch="b", labels=["gt:babysit"], metadata={"babysit": True})

    assert town.bead("new")["labels"] == ["gt:babysit"]


def test_a_fix_up_carries_pull_request_and_branches_in_its_metadata() -> None:
    town = a_town()

    created(town, labels=["gt:pr-fixup"], branch="gt/b", target_branch="main", pr_url=PR)

    assert town.bead("new")["metadata"] == {"branch": "gt/b", "target_branch": "main", "pr_url": PR}
    assert town.rows("review_metadata") == []


@pytest.mark.parametrize(
    ("bead", "problem"),
    [
        ({"pr_url": "http://github.com/acme/app/pull/7"}, "payload.bead.pr_url: https_url"),
        ({"title": 7}, "payload.bead.title: string_type"),
        ({"labels": [True]}, "payload.bead.labels.0: string_type"),
        ({"priority": "urgent"}, "payload.bead.priority: literal_error"),
        ({"colour": "red"}, "payload.bead.colour: extra_forbidden"),
        ({"body": "ä" * 16_385}, "payload.bead.body: too_large"),
        ({"title": "x" * 4_097}, "payload.bead.title: too_large"),
        ({"metadata": {"a": ["\0"]}}, "payload.bead.metadata: nul_in_text"),
    ],
)
def test_a_bead_of_the_wrong_shape_cannot_be_read(bead: dict[str, Any], problem: str) -> None:
    with pytest.raises(UnreadableEvent) as refused:
        created(a_town(), **bead)

    assert refused.value.message == problem


def test_texts_of_exactly_the_limit_are_accepted() -> None:
    assert created(a_town(), body="ä" * 16_384, title="x" * 4_096) == "applied"


# bead_updated


def test_the_given_fields_of_a_live_bead_are_replaced() -> None:
    town = a_town().with_rig().with_bead("b1", labels=["a"], metadata={"kept": 1, "gone": 2, "deep": {"x": 1}})

    payload = {
        "title": "Better",
        "body": "More",
        "priority": "critical",
        "labels": ["gt:held"],
        "metadata": {"gone": None, "deep": {"y": 2}, "new": [1]},
        "rig_id": "rig-1",
    }
    assert town.outcome("bead_updated", payload, bead_id="b1") == "applied"

    bead = town.bead("b1")
    assert (bead["title"], bead["body"], bead["priority"], bead["labels"]) == (
        "Better",
        "More",
        "critical",
        ["gt:held"],
    )
    assert bead["metadata"] == {"kept": 1, "deep": {"y": 2}, "new": [1]}
    assert (bead["rig_id"], bead["updated_at"]) == ("rig-1", ago(hours=1))
    assert town.audit("b1") == ["fields_updated"]


def test_what_is_not_given_stays() -> None:
    town = a_town().with_bead("b1", body="as it was", labels=["a"], priority="high")

    town.hears("bead_updated", {"title": "Better"}, bead_id="b1")

    bead = town.bead("b1")
    assert (bead["body"], bead["labels"], bead["priority"]) == ("as it was", ["a"], "high")


def test_labels_can_be_taken_away() -> None:
    town = a_town().with_bead("b1", labels=["gt:held"])

    town.hears("bead_updated", {"labels": []}, bead_id="b1")

    assert town.bead("b1")["labels"] == []


def test_the_towns_own_metadata_cannot_be_written() -> None:
    town = a_town().with_bead("b1", metadata={"last_poll_at": "then"})
    before = town.everything()

    payload = {"metadata": dict.fromkeys(sorted(RESERVED)) | {"failureReason": "mine"}}
    assert town.outcome("bead_updated", payload, bead_id="b1") == "applied"

    assert town.everything() == before


def test_a_rig_is_given_once_and_only_if_it_is_registered() -> None:
    town = a_town().with_rig("rig-1").with_rig("rig-2").with_bead("b1", rig_id="rig-1").with_bead("b2").with_agent("m")
    town.with_convoy("c1")

    assert town.outcome("bead_updated", {"rig_id": "rig-2"}, bead_id="b1") == "applied"
    assert town.outcome("bead_updated", {"rig_id": "rig-3", "title": "x"}, bead_id="b2") == "rejected: unknown rig"
    assert town.outcome("bead_updated", {"rig_id": "rig-2"}, bead_id="m") == "applied"
    assert town.outcome("bead_updated", {"rig_id": "rig-2"}, bead_id="c1") == "applied"

    assert [town.bead(bead_id)["rig_id"] for bead_id in ("b1", "b2", "m", "c1")] == ["rig-1", None, None, None]
    assert town.bead("b2")["title"] == "b2"


@pytest.mark.parametrize("status", ["closed", "failed"])
def test_a_finished_bead_is_not_edited(status: str) -> None:
    town = a_town().with_bead("b1", status=status)

    assert town.outcome("bead_updated", {"title": "x"}, bead_id="b1") == "skipped: terminal"


@pytest.mark.parametrize("event_type", ["bead_updated", "bead_cancelled", "bead_reopened"])
def test_a_bead_that_never_was_is_missing(event_type: str) -> None:
    assert a_town().outcome(event_type, bead_id="ghost") == "skipped: missing"


# bead_cancelled


@pytest.mark.parametrize("status", ["working", "stalled"])
def test_a_cancelled_bead_fails_and_its_agent_is_stopped_and_freed(status: str) -> None:
    town = a_town().with_bead("b1", status="in_progress").with_agent("p1", hook="b1", status=status)

    result = town.hears("bead_cancelled", {"by": "ann"}, bead_id="b1")

    assert result.outcome.text == "applied"
    assert result.returns == (StopAgent(agent_id="p1", reason="bead cancelled"),)
    assert town.bead("b1")["status"] == "failed"
    assert (town.agent("p1")["status"], town.agent("p1")["current_hook_bead_id"]) == ("idle", None)
    change = town.rows("bead_events")[0]["metadata"] + town.rows("bead_events")[1]["metadata"]
    assert '"code":"cancelled"' in change
    assert '"actor":"ann"' in change


@pytest.mark.parametrize(("status", "stays"), [("idle", "idle"), ("dead", "dead")])
def test_an_agent_that_does_not_work_is_freed_without_a_stop(status: str, stays: str) -> None:
    town = a_town().with_bead("b1").with_agent("p1", hook="b1", status=status)

    assert town.hears("bead_cancelled", bead_id="b1").returns == ()
    assert (town.agent("p1")["status"], town.agent("p1")["current_hook_bead_id"]) == (stays, None)


def test_a_cancelled_bead_can_be_closed_instead() -> None:
    town = a_town().with_bead("b1").with_review("m1", of="b1")

    town.hears("bead_cancelled", {"cancel_status": "closed"}, bead_id="b1")

    assert (town.bead("b1")["status"], town.bead("b1")["closed_at"]) == ("closed", "2026-01-10T12:00:00.000Z")
    assert (town.bead("m1")["status"], town.bead("m1")["metadata"]["failureReason"]) == ("failed", "cancelled")


@pytest.mark.parametrize("status", ["closed", "failed"])
def test_a_finished_bead_stays_as_it_is_but_frees_its_agent(status: str) -> None:
    town = a_town().with_bead("b1", status=status).with_agent("p1", hook="b1", status="working")

    result = town.hears("bead_cancelled", bead_id="b1")

    assert result.outcome.text == "skipped: terminal"
    assert result.returns == (StopAgent(agent_id="p1", reason="bead cancelled"),)
    assert (town.bead("b1")["status"], town.agent("p1")["current_hook_bead_id"]) == (status, None)


def test_a_cancelled_task_counts_in_its_convoy() -> None:
    town = a_town().with_bead("b1").with_convoy("c1", tasks=("b1",))

    town.hears("bead_cancelled", bead_id="b1")

    assert town.rows("convoy_metadata")[0]["closed_beads"] == 1


# bead_reopened


def test_a_reopened_bead_begins_as_if_nothing_had_been_tried() -> None:
    town = a_town().with_bead(
        "b1",
        status="failed",
        assignee_agent_bead_id="p1",
        dispatch_attempts=5,
        last_dispatch_attempt_at=ago(minutes=1),
        last_dispatch_failed_at=ago(minutes=1),
        metadata={
            "failureReason": "x",
            "failureKind": "y",
            "failureMessage": "z",
            "failed_blocker_notified": 1,
            "own": 1,
        },
    )

    assert town.outcome("bead_reopened", {"by": "ann", "reason": "again"}, bead_id="b1") == "applied"

    bead = town.bead("b1")
    assert (bead["status"], bead["assignee_agent_bead_id"], bead["dispatch_attempts"]) == ("open", None, 0)
    assert (bead["last_dispatch_attempt_at"], bead["last_dispatch_failed_at"]) == (None, None)
    assert bead["metadata"] == {"own": 1}
    audit = town.rows("bead_events")[0]
    assert (audit["event_type"], audit["metadata"]) == ("reopened", '{"by":"ann","reason":"again"}')


def test_a_reopened_review_is_polled_and_escalated_anew() -> None:
    town = a_town().with_review(
        "m1",
        status="failed",
        metadata={
            "poll_transient_count": 10,
            "poll_non_transient_count": 3,
            "feedback_cap_escalated": 1,
            "conflict_cap_escalated": 1,
            "failureReason": "pr_poll_failed",
        },
    )

    town.hears("bead_reopened", bead_id="m1")

    assert town.bead("m1")["metadata"] == {"poll_transient_count": 0, "poll_non_transient_count": 0}


def test_work_whose_review_is_reopened_leaves_a_convoy_that_has_closed_meanwhile() -> None:
    """Otherwise it would be merged into a feature branch that nothing lands any more."""
    town = a_town().with_rig().with_bead("b1", status="in_review", rig_id="rig-1")
    town.with_convoy("c1", tasks=("b1",), status="closed")
    town.with_review("m1", of="b1", rig_id="rig-1", status="failed", metadata={"failureReason": "cancelled"})

    assert town.outcome("bead_reopened", bead_id="m1") == "applied"

    edges = [(edge["bead_id"], edge["depends_on_bead_id"]) for edge in town.rows("bead_dependencies")]
    assert edges == [("m1", "b1")]


@pytest.mark.parametrize(
    ("why", "outcome"),
    [
        ("review_failed", "applied"),
        ("cancelled", "rejected: its source b1 is closed: reopen that first"),
    ],
)
def test_only_a_review_that_goes_on_where_it_was_needs_a_live_source(why: str, outcome: str) -> None:
    town = a_town().with_rig().with_bead("b1", status="closed", rig_id="rig-1")
    town.with_review("m1", of="b1", rig_id="rig-1", status="failed", metadata={"failureReason": why})

    assert town.outcome("bead_reopened", bead_id="m1") == outcome


def test_a_reopened_convoy_may_land_again() -> None:
    town = a_town().with_convoy(
        "c1",
        status="failed",
        metadata={
            "feature_branch": "convoy/x/1/head",
            "landing_mr_attempts": 5,
            "last_landing_mr_attempt_at": ago(hours=1),
            "respawn_suppressed_attempt": 2,
            "ready_to_land": 1,
            "failureReason": "landing_mr_exhausted",
        },
    )
    town.with_review("m1", of="c1", status="failed", metadata={"awaiting_approval": 1, "head_sha": "a"})
    town.with_review("m2", of="c1", status="closed", metadata={"awaiting_approval": 1})

    town.hears("bead_reopened", bead_id="c1")

    assert (town.bead("c1")["status"], town.bead("c1")["metadata"]) == ("open", {"feature_branch": "convoy/x/1/head"})
    assert [town.bead(review)["metadata"] for review in ("m1", "m2")] == [{"head_sha": "a"}, {"awaiting_approval": 1}]


def test_a_reopened_task_no_longer_counts_as_done() -> None:
    town = a_town().with_bead("b1", status="failed").with_convoy("c1", tasks=("b1",))

    town.hears("bead_reopened", bead_id="b1")

    assert (town.rows("convoy_metadata")[0]["total_beads"], town.rows("convoy_metadata")[0]["closed_beads"]) == (1, 0)


@pytest.mark.parametrize("status", ["open", "in_progress", "in_review", "closed"])
def test_only_failed_beads_are_reopened(status: str) -> None:
    town = a_town().with_bead("b1", status=status)

    assert town.outcome("bead_reopened", bead_id="b1") == "skipped: not failed"


@pytest.mark.parametrize("bead_type", ["message", "molecule", "escalation"])
def test_only_work_is_reopened(bead_type: str) -> None:
    town = a_town().with_bead("b1", type=bead_type, status="failed")

    assert town.outcome("bead_reopened", bead_id="b1") == "skipped: not reopenable"


def test_a_bead_that_nobody_in_particular_reopened_is_audited_without_a_name() -> None:
    town = a_town().with_bead("b1", status="failed")

    assert town.outcome("bead_reopened", {}, bead_id="b1") == "applied"

    [reopened] = [row for row in town.rows("bead_events") if row["event_type"] == "reopened"]
    assert reopened["metadata"] in ("{}", {})
