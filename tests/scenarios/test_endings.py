"""Scenarios 320 to 331: the end of a bead ends what belongs to it, and work that joins a convoy late lands (T3, T7)."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from shared.actions import CloseSiblingMrs, TransitionBead
from shared.actions.base import Action
from shared.domain.states import BeadStatus
from shared.domain.tick import Tick
from shared.domain.times import to_text
from shared.engine import reconcile
from shared.questions import overview
from shared.rules.base import Decision, Rule
from shared.town.reading import TownReader
from tests.scenarios.outside import answer
from tests.scenarios.stories import deeds, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, event

SECOND = timedelta(seconds=1)
PR = "https://github.com/acme/main-rig/pull/1"
FOLLOW_UPS = {"w": "gt:rework", "f": "gt:pr-feedback", "c": "gt:pr-conflict", "x": "gt:pr-fixup"}


def stops(town: TownBuilder) -> list[tuple[str, int]]:
    """(agent, generation) of every stop that was requested."""
    return [(subject, generation) for _, subject, generation, _ in outbox(town, "stop_agent")]


def hooked(town: TownBuilder) -> list[str]:
    return [row[0] for row in town.rows("SELECT bead_id FROM agent_metadata WHERE current_hook_bead_id IS NOT NULL")]


def labels(town: TownBuilder, bead: str) -> str:
    found: str = town.one("beads", bead, "labels")
    return found


def abandoned(town: TownBuilder) -> list[tuple[str, str, str | None]]:
    """What the status lists: bead, pull request and reason."""
    listed = overview.abandoned_pull_requests(town.sql, limit=50)
    return [(line.bead_id, line.pr_url, line.reason) for line in listed]


# --- an MR ends in whatever way: its follow-ups end with it -----------------------------------------


def reviewed(status: str = "in_progress", *, pr_url: str | None = PR, of: str = "b", **review: Any) -> TownBuilder:
    """Issue b with its review m, whose four follow-ups are live: p works on the rework."""
    town = a_town().bead("b", status="in_review")
    if of == "convoy":
        town.bead("b2", status="closed").bead("b3", status="failed")
        town.convoy("convoy", tracked=["b2", "b3"], total=2, closed=2, metadata={"ready_to_land": 1})
    town.review("m", status, of=of, pr_url=pr_url, created_by="p", **review)
    for bead, label in FOLLOW_UPS.items():
        town.bead(bead, labels=[label], parent_bead_id="m", metadata={"mr_bead_id": "m"})
    town.update("beads", "w", status="in_progress").agent("p", status="working", hook="w")
    return town


def by_event(
    event_type: str, payload: dict[str, Any] | None = None, *, bead: str | None = "m"
) -> Callable[[TownBuilder], None]:
    def happens(town: TownBuilder) -> None:
        report = town.tick(event(event_type, payload or {}, bead=bead))
        assert outcomes(report)[0] == (event_type, "applied")

    return happens


def by_rule(rule: str) -> Callable[[TownBuilder], None]:
    def happens(town: TownBuilder) -> None:
        assert any(line.startswith(f"{rule}: transition_bead m failed") for line in deeds(town.tick()))

    return happens


def by_action(action: Action) -> Callable[[TownBuilder], None]:
    """An action that no rule asks for in this town."""

    def wishes(_: TownReader, __: Tick) -> Iterator[Decision]:
        yield action

    def happens(town: TownBuilder) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reconcile, "decide", partial(reconcile.decide, rules=(Rule("X", wishes),)))
            assert [judged.outcome for judged in town.tick().actions] == ["applied"]

    return happens


def in_a_convoy(town: TownBuilder) -> TownBuilder:
    return town.convoy("convoy", tracked=["b"])


def with_sibling(town: TownBuilder) -> TownBuilder:
    return town.review("m2", "in_progress", of="b", pr_url=PR + "2")


def with_refinery(town: TownBuilder, status: str = "working") -> TownBuilder:
    return town.agent("r", "refinery", status, hook="m")


def without_reviews() -> TownBuilder:
    town = reviewed("open", pr_url=None)
    return town.update("rigs", "rig-1", config={"code_review": False}).config(merge_strategy="pr")


def asked_by_triage() -> TownBuilder:
    about = {"triage_type": "stuck_agent", "agent_bead_id": "r", "hooked_bead_id": "m"}
    return with_refinery(reviewed()).bead("q", labels=["gt:triage-request"], assignee_agent_bead_id="r", metadata=about)


MERGED = {"pr_url": PR, "pr_state": "merged", "sha": "abc"}
WAYS: dict[str, tuple[Callable[[], TownBuilder], Callable[[TownBuilder], None], str, bool]] = {
    "merged": (reviewed, by_event("pr_status_changed", MERGED), "closed", False),
    "closed": (reviewed, by_event("pr_status_changed", {**MERGED, "pr_state": "closed"}), "failed", False),
    "cancelled": (reviewed, by_event("bead_cancelled"), "failed", True),
    "cancelled as closed": (reviewed, by_event("bead_cancelled", {"cancel_status": "closed"}), "failed", True),
    "source cancelled": (reviewed, by_event("bead_cancelled", bead="b"), "failed", True),
    "convoy cancelled": (lambda: in_a_convoy(reviewed()), by_event("bead_cancelled", bead="convoy"), "failed", True),
    "convoy closed": (
        lambda: in_a_convoy(reviewed()),
        by_event("convoy_closed", {"convoy_id": "convoy"}, bead=None),
        "failed",
        True,
    ),
    "sibling merged": (
        lambda: with_sibling(reviewed()),
        by_event("pr_status_changed", {**MERGED, "pr_url": PR + "2"}, bead="m2"),
        "closed",
        True,
    ),
    "superseded": (lambda: reviewed(of="convoy"), by_event("bead_reopened", bead="b3"), "failed", True),
    "landing cancelled": (lambda: reviewed(of="convoy"), by_event("bead_cancelled"), "failed", True),
    "triage": (asked_by_triage, by_event("triage_resolved", {"action": "CLOSE_BEAD"}, bead="q"), "failed", True),
    "refinery at its cap": (
        lambda: with_refinery(reviewed(pr_url=None, dispatch_attempts=5), "idle"),
        by_rule("reviews.redispatch_refinery"),
        "failed",
        False,
    ),
    "review at its cap": (
        lambda: reviewed("open", pr_url=None, dispatch_attempts=5),
        by_rule("reviews.dispatch_refinery"),
        "failed",
        False,
    ),
    "reviews are off": (without_reviews, by_rule("reviews.reject_unreviewable"), "failed", False),
    "any transition": (
        reviewed,
        by_action(TransitionBead(bead_id="m", to=BeadStatus.FAILED, reason="whatever")),
        "failed",
        True,
    ),
    "superseded by a sibling": (
        lambda: with_sibling(reviewed()),
        by_action(CloseSiblingMrs(source_bead_id="b", exclude_mr_id="m2")),
        "closed",
        True,
    ),
}


@scenario(320, 321)
@pytest.mark.parametrize("way", WAYS)
def test_in_whatever_way_a_review_ends_its_follow_ups_end_too_and_their_agents_stop(way: str) -> None:
    given, happens, status, is_abandoned = WAYS[way]
    town = given()
    happens(town)
    assert town.status("m") == status
    assert {bead: town.status(bead) for bead in FOLLOW_UPS} == dict.fromkeys(FOLLOW_UPS, status)
    assert ("p", 1) in stops(town)
    assert town.rows("SELECT 1 FROM agent_metadata WHERE current_hook_bead_id IN ('m', 'w', 'f', 'c', 'x')") == []
    assert [bead for bead, _, _ in abandoned(town)] == (["m"] if is_abandoned else [])


@scenario(320)
def test_a_fix_up_ends_with_the_review_of_its_pull_request_but_not_while_another_review_has_it() -> None:
    for others in (0, 1):
        town = a_town().bead("b", status="in_review").review("m", "in_progress", of="b", pr_url=PR)
        town.bead("x", labels=["gt:pr-fixup", "gt:held"], metadata={"pr_url": PR, "branch": "gt/fix"})
        town.bead("y", labels=["gt:held"], metadata={"pr_url": PR})
        if others:
            town.review("m2", "in_progress", pr_url=PR, metadata={"babysit": 1})
        town.tick(event("bead_cancelled", bead="m"))
        assert (town.status("x"), town.status("y")) == ("open" if others else "failed", "open")


@scenario(320)
def test_a_damaged_follow_up_does_not_keep_its_review_alive() -> None:
    town = reviewed()
    town.update("beads", "f", metadata="broken")
    town.tick(event("bead_cancelled", bead="m"))
    assert [town.status(bead) for bead in ("m", "w", "c", "x", "f")] == ["failed"] * 5


@scenario(321)
@pytest.mark.parametrize("state", ["merged", "closed"])
def test_an_abandoned_pull_request_leaves_the_list_when_somebody_says_how_it_ended(state: str) -> None:
    town = reviewed()
    town.tick(event("bead_cancelled", bead="m"))
    assert abandoned(town) == [("m", PR, "the bead was cancelled")]
    said = {"pr_url": PR, "pr_state": state}
    reports = [
        town.tick(
            event("pr_status_changed", said, bead="m", event_id=f"said-000{n}", at=T + n * SECOND), at=T + n * SECOND
        )
        for n in (1, 2)
    ]
    assert [outcomes(report) for report in reports] == [
        [("pr_status_changed", "applied")],
        [("pr_status_changed", "skipped: terminal")],
    ]
    assert (abandoned(town), town.status("m")) == ([], "failed")
    assert ("pr_closed" in town.metadata("m")) == (state == "closed")


# --- cancelled: nothing starts, agents stop, nothing merges -----------------------------------------


@scenario(322)
@pytest.mark.parametrize("staged", [0, 1])
@pytest.mark.parametrize("as_status", ["failed", "closed"])
def test_a_cancelled_convoy_starts_nothing(staged: int, as_status: str) -> None:
    town = a_town().bead("t1").bead("t2").bead("outside").edge("outside", "t2").edge("t2", "t1")
    town.convoy("c", tracked=["t1", "t2"], staged=staged)
    town.update("beads", "outside", labels=["gt:held"])
    for report in [
        town.tick(event("bead_cancelled", {"cancel_status": as_status}, bead="c")),
        *town.ticks(5, start=T + SECOND),
    ]:
        assert [line for line in deeds(report) if "dispatch_agent" in line] == []
    assert [town.status(bead) for bead in ("c", "t1", "t2")] == [as_status] * 3


@scenario(322)
def test_the_agents_of_a_cancelled_convoy_stop_at_once_and_nothing_of_it_is_merged() -> None:
    town = a_town().bead("t1", status="in_progress").bead("t2", status="in_review").bead("t3", status="closed")
    town.convoy("c", tracked=["t1", "t2", "t3"], closed=1)
    town.agent("p", status="working", hook="t1").agent("r", "refinery", "working", hook="m3", rig="rig-1")
    town.review("m2", "in_progress", of="t2", pr_url=PR, metadata={"auto_merge_pending": 1, "head_sha": "abc"})
    town.review("m3", "in_progress", of="c", created_by="system")
    report = town.tick(event("bead_cancelled", {"by": "ann"}, bead="c"))
    assert deeds(report)[:2] == ["event:bead_cancelled: stop_agent p", "event:bead_cancelled: stop_agent r"]
    assert [town.status(bead) for bead in ("t1", "t2", "t3", "m2", "m3", "c")] == ["failed"] * 2 + ["closed"] + [
        "failed"
    ] * 3
    assert (hooked(town), sorted(stops(town))) == ([], [("p", 1), ("r", 1)])
    later = town.ticks(20, start=T + SECOND, every=timedelta(minutes=1))
    assert [line for each in later for line in deeds(each) if "pr" in line.split(": ")[1].split("_")] == []
    assert abandoned(town) == [("m2", PR, "the bead was cancelled")]


@scenario(322)
def test_a_cancelled_molecule_ends_its_beads_at_any_depth() -> None:
    town = (
        a_town()
        .bead("mol", "molecule")
        .bead("step", parent_bead_id="mol")
        .bead("part", "molecule", parent_bead_id="mol")
    )
    town.bead("deep", parent_bead_id="part").bead("done", status="closed", parent_bead_id="mol").bead("other")
    town.update("beads", "other", labels=["gt:held"])
    assert outcomes(town.tick(event("bead_cancelled", bead="mol"))) == [("bead_cancelled", "applied")]
    assert [town.status(bead) for bead in ("mol", "step", "part", "deep", "done", "other")] == [
        "failed", "failed", "failed", "failed", "closed", "open",
    ]  # fmt: skip


@scenario(323)
def test_a_cancelled_review_leaves_its_source_open_and_held() -> None:
    town = a_town().bead("b", status="in_review", labels=["mine"], assignee_agent_bead_id="p")
    town.review("m", "in_progress", of="b", pr_url=PR)
    town.tick(event("bead_cancelled", bead="m"))
    assert (town.status("b"), labels(town, "b")) == ("open", '["mine","gt:held"]')
    assert town.one("beads", "b", "assignee_agent_bead_id") is None
    assert all("dispatch_agent" not in " ".join(deeds(report)) for report in town.ticks(5, start=T + SECOND))
    assert town.waiting_of("b").reason == "held"


@scenario(323)
@pytest.mark.parametrize("goes_on", ["another review", "an agent"])
def test_a_source_that_goes_on_without_the_cancelled_review_is_not_held(goes_on: str) -> None:
    town = a_town().bead("b", status="in_progress" if goes_on == "an agent" else "in_review")
    town.review("m", "in_progress", of="b", pr_url=PR)
    if goes_on == "an agent":
        town.agent("p", status="working", hook="b")
    else:
        town.review("m2", "in_progress", of="b", pr_url=PR + "2")
    before = (town.status("b"), hooked(town))
    town.tick(event("bead_cancelled", bead="m"))
    assert (town.status("b"), hooked(town)) == before
    assert labels(town, "b") == "[]"


@scenario(324)
def test_a_cancelled_landing_holds_its_convoy_until_it_is_started() -> None:
    town = a_town().bead("t", status="closed").convoy("c", tracked=["t"], closed=1, metadata={"ready_to_land": 1})
    town.review("m", "in_progress", of="c", pr_url=PR, branch="convoy/x/head", created_by="system")
    town.tick(event("bead_cancelled", bead="m"))
    assert [deeds(report, of="convoys") for report in town.ticks(20, every=timedelta(hours=1), start=T + SECOND)] == [
        []
    ] * 20
    at = T + timedelta(hours=20)
    waiting = town.waits(at)["c"]
    assert (waiting.reason, waiting.guards[0].guard, waiting.rule) == ("held", "landing_held", "C6h")
    assert {need.event_type for need in waiting.needs} == {"convoy_started", "convoy_closed"}
    report = town.tick(event("convoy_started", {"convoy_id": "c"}, at=at), at=at)
    assert outcomes(report) == [("convoy_started", "applied")]
    assert deeds(report, of="convoys") == ["convoys.create_landing: create_landing_mr c rig-1"]
    [(landing,)] = town.rows(
        "SELECT bead_id FROM beads WHERE type = 'merge_request' AND status IN ('open', 'in_progress')"
    )
    assert town.one("review_metadata", landing, "pr_url") == PR
    assert abandoned(town) == []


@scenario(325)
@pytest.mark.parametrize("status", ["closed", "failed"])
def test_a_convoy_that_has_ended_is_not_started(status: str) -> None:
    town = a_town().convoy("c", status, staged=1)
    assert outcomes(town.tick(event("convoy_started", {"convoy_id": "c"}))) == [("convoy_started", "skipped: terminal")]
    assert town.one("convoy_metadata", "c", "staged") == 1


@scenario(325)
@pytest.mark.parametrize("status", ["closed", "failed"])
def test_a_bead_of_an_ended_convoy_waits_until_the_convoy_is_reopened_or_it_leaves(status: str) -> None:
    town = a_town().bead("t").convoy("c", status, tracked=["t"])
    town.bead("h", status="open").agent("p", hook="h").edge("h", "c", "tracks")
    assert [deeds(report, of="beads") for report in town.ticks(5)] == [[]] * 5
    waiting = town.waits(T + timedelta(minutes=1))["t"]
    assert (waiting.reason, waiting.rule, waiting.actor) == ("convoy_over", "V1", "c")
    needs = [(need.event_type, need.bead_id) for need in waiting.needs]
    assert needs == [("bead_reopened", "c")] * (status == "failed") + [("convoy_changed", "c")]
    assert town.waits(T + timedelta(hours=30))["t"].reason == "convoy_over"
    at = T + timedelta(minutes=2)
    town.tick(event("convoy_changed", {"convoy_id": "c", "remove": ["t"]}, at=at), at=at)
    assert town.status("t") == "in_progress"
    assert town.waits(at)["h"].reason == "convoy_over"


@scenario(325)
def test_staged_holds_in_a_convoy_that_has_ended_and_comes_first() -> None:
    town = a_town().bead("t").convoy("c", "failed", tracked=["t"], staged=1)
    assert town.waiting_of("t").reason == "staged"
    town.tick(event("bead_reopened", bead="c"))
    assert (town.status("t"), town.waits(T + SECOND)["t"].reason) == ("open", "staged")


@scenario(325)
@pytest.mark.parametrize("beside", [{}, {"labels": ["gt:held"]}, {"staged": 1}])
def test_a_person_is_told_once_about_a_bead_whose_convoy_has_ended_until_it_leaves(beside: dict[str, Any]) -> None:
    town = a_town().bead("t", labels=beside.get("labels", []), metadata={"awaits": ["ghost"]})
    town.convoy("c", "failed", tracked=["t"], staged=beside.get("staged", 0), updated_at=ago(hours=1))
    asked = "SELECT b.status FROM beads b JOIN escalation_metadata e ON e.bead_id = b.bead_id WHERE e.category = 'convoy_over'"
    town.ticks(3, start=T + timedelta(hours=23))
    assert town.rows(asked) == []
    town.ticks(30, start=T + timedelta(hours=24), every=timedelta(seconds=60))
    assert town.rows(asked) == [("open",)] * (not beside)
    later = T + timedelta(hours=25)
    town.tick(event("convoy_changed", {"convoy_id": "c", "remove": ["t"]}, at=later), at=later)
    assert town.rows(asked) == [("closed",)] * (not beside)


@scenario(326)
@pytest.mark.parametrize(("as_status", "reason"), [("failed", "failed_dependency"), ("closed", None)])
def test_a_cancelled_bead_holds_its_dependents_unless_it_counts_as_done(as_status: str, reason: str | None) -> None:
    town = a_town().bead("b").bead("after").edge("after", "b")
    town.tick(event("bead_cancelled", {"cancel_status": as_status}, bead="b"))
    assert town.status("after") == ("open" if reason else "in_progress")
    if reason:
        assert town.waits(T + SECOND)["after"].reason == reason


# --- reopened ---------------------------------------------------------------------------------------


def ended_review(why: str = "cancelled", *, pr_url: str | None = PR, **source: Any) -> TownBuilder:
    town = a_town().bead("b", **{"status": "open", "labels": ["mine", "gt:held"], **source})
    notes = {"failureReason": why, "failureMessage": "x", "abandoned": 1, "obstacle": "forge_denied", "polls_failed": 9}
    notes["polls_failed_since"] = to_text(ago(days=8))
    return town.review("m", "failed", of="b", pr_url=pr_url, metadata=notes)


@scenario(327)
@pytest.mark.parametrize("why", ["cancelled", "pr_poll_failed"])
def test_a_review_that_ended_without_a_verdict_goes_on_when_it_is_reopened(why: str) -> None:
    town = ended_review(why)
    report = town.tick(event("bead_reopened", bead="m"))
    assert outcomes(report)[0] == ("bead_reopened", "applied")
    assert "reviews.poll_pull_request: poll_pr m" in deeds(report)
    assert (town.status("m"), town.status("b"), labels(town, "b")) == ("in_progress", "in_review", '["mine"]')
    assert not {"failureReason", "abandoned", "obstacle", "polls_failed"} & town.metadata("m").keys()
    assert abandoned(town) == []


def closed_and_reopened() -> TownBuilder:
    """M's pull request was closed on the forge; then M was reopened, and the refinery r was started on it."""
    town = a_town().bead("b", status="open", labels=["gt:held"]).agent("r", "refinery", "idle", last_activity_at=None)
    notes = {"failureReason": "review_failed", "pr_closed": 1}
    town.review("m", "failed", of="b", pr_url=PR, branch="gt/p/b", metadata=notes)
    report = town.tick(event("bead_reopened", bead="m"))
    assert deeds(report)[-2:] == [
        "reviews.dispatch_refinery: hook_agent r m",
        "reviews.dispatch_refinery: dispatch_agent r m",
    ]
    return town


def says_closed(town: TownBuilder, at: datetime) -> None:
    town.tick(at=at)
    town.tick(answer(town, "poll_pr", ok=True, state="closed", at=at + SECOND), at=at + SECOND)


@scenario(380)
def test_a_review_whose_pull_request_was_closed_gets_another_one_when_it_is_reopened() -> None:
    town = closed_and_reopened()
    [(payload,)] = town.rows("SELECT payload FROM outbox WHERE kind = 'dispatch_agent'")
    assert "was closed without a merge. Reopen it, or open another one from gt/p/b into main" in payload
    says_closed(town, T + timedelta(minutes=1))
    assert (town.status("m"), town.doing("r")) == ("in_progress", ("working", "m"))
    at = T + timedelta(minutes=2)
    town.tick(event("agent_done", {"branch": "gt/p/b", "pr_url": PR + "2", "head": "h"}, agent="r", at=at), at=at)
    assert (town.one("review_metadata", "m", "pr_url"), town.status("m")) == (PR + "2", "in_progress")
    assert town.metadata("m").keys().isdisjoint({"pr_closed", "note_for_next"})


@scenario(380)
def test_without_another_pull_request_it_fails_again_when_the_refinery_is_done() -> None:
    town = closed_and_reopened()
    at = T + timedelta(minutes=1)
    town.tick(event("agent_done", {"branch": "gt/p/b"}, agent="r", at=at), at=at)
    says_closed(town, at + timedelta(minutes=1))
    assert town.status("m") == "failed"


@scenario(380)
def test_a_pull_request_that_was_reopened_is_not_replaced() -> None:
    town = closed_and_reopened()
    at = T + timedelta(minutes=1)
    town.tick(at=at)
    town.tick(answer(town, "poll_pr", ok=True, state="open", at=at + SECOND), at=at + SECOND)
    assert "pr_closed" not in town.metadata("m")
    done = event("agent_done", {"branch": "gt/p/b", "pr_url": PR + "2"}, agent="r", at=at + 2 * SECOND)
    assert ("agent_done", "rejected: other pull request") in outcomes(town.tick(done, at=at + 2 * SECOND))


@scenario(327)
def test_without_a_pull_request_it_is_reviewed_again() -> None:
    town = ended_review(pr_url=None)
    town.agent("r", "refinery", "idle", last_activity_at=None)
    report = town.tick(event("bead_reopened", bead="m"))
    assert "reviews.dispatch_refinery: dispatch_agent r m" in deeds(report)
    assert town.status("b") == "in_review"


@scenario(327)
@pytest.mark.parametrize(
    ("given", "why"),
    [
        (lambda: ended_review(status="closed"), "its source b is closed: reopen that first"),
        (lambda: ended_review(status="failed"), "its source b is failed: reopen that first"),
        (
            lambda: ended_review(status="in_progress").agent("p", status="working", hook="b"),
            "the agent p is hooked to its source b",
        ),
        (
            lambda: ended_review(status="in_review").review("m2", "open", of="b"),
            "its source b has the live merge request m2",
        ),
    ],
)
def test_it_is_rejected_if_its_source_has_ended_or_goes_on_without_it(
    given: Callable[[], TownBuilder], why: str
) -> None:
    town = given()
    report = town.tick(event("bead_reopened", bead="m"))
    assert outcomes(report)[0] == ("bead_reopened", f"rejected: {why}")
    assert town.status("m") == "failed"


@scenario(327)
def test_a_reopened_landing_review_frees_its_convoy() -> None:
    town = (
        a_town()
        .bead("t", status="closed")
        .convoy("c", tracked=["t"], closed=1, metadata={"ready_to_land": 1, "held": 1})
    )
    town.review("m", "failed", of="c", pr_url=PR, metadata={"failureReason": "cancelled", "abandoned": 1})
    town.tick(event("bead_reopened", bead="m"))
    assert (town.status("m"), "held" in town.metadata("c")) == ("in_progress", False)
    assert town.waits(T + SECOND)["c"].guards[0].guard == "landing_live"


@scenario(327)
def test_the_rework_that_ended_with_a_review_is_done_after_all() -> None:
    town = reviewed()
    town.tick(event("bead_cancelled", bead="m"))
    town.tick(event("bead_reopened", bead="m", at=T + SECOND), at=T + SECOND)
    assert [town.status(bead) for bead in FOLLOW_UPS] == ["in_progress", "failed", "failed", "failed"]
    assert "failureReason" not in town.metadata("w")


@scenario(327)
def test_a_follow_up_is_not_reopened_without_its_review() -> None:
    town = reviewed()
    town.tick(event("bead_cancelled", bead="m"))
    report = town.tick(event("bead_reopened", bead="f", at=T + SECOND), at=T + SECOND)
    assert outcomes(report) == [("bead_reopened", "rejected: its merge request m is failed: reopen that first")]


# --- work that joins late ---------------------------------------------------------------------------

LATE = {
    "bead": {
        "bead_id": "late",
        "type": "issue",
        "title": "x",
        "rig_id": "rig-1",
        "convoy_id": "c",
        "labels": ["gt:held"],
    }
}


def landing(status: str = "in_progress", **convoy: Any) -> TownBuilder:
    """Convoy c, whose one task is done, with the landing review m under a refinery."""
    notes = {"ready_to_land": 1, "landing_mr_attempts": 3, "last_landing_mr_attempt_at": to_text(ago(minutes=5))}
    town = a_town().bead("t", status="closed").bead("lost", status="failed", labels=["gt:held"])
    town.convoy("c", tracked=["t", "lost"], total=2, closed=2, metadata=notes, **convoy)
    town.review("m", status, of="c", pr_url=PR, branch="convoy/x/head", created_by="system", created_at=ago(minutes=5))
    if status == "in_progress":
        town.agent("r", "refinery", "working", hook="m")
    return town


JOINS = {
    "created": event("bead_created", LATE, event_id="late-0001"),
    "added": event("convoy_changed", {"convoy_id": "c", "add": ["free"]}, event_id="add-0001"),
    "reopened": event("bead_reopened", bead="lost", event_id="again-0001"),
}


@scenario(328)
@pytest.mark.parametrize("how", JOINS)
def test_work_that_joins_during_the_landing_replaces_it_and_lands_with_the_next_one(how: str) -> None:
    town = landing().bead("free", labels=["gt:held"])
    late = {"created": "late", "added": "free", "reopened": "lost"}[how]
    assert outcomes(town.tick(JOINS[how])) == [(JOINS[how].event_type, "applied")]
    notes = town.metadata("c")
    assert (notes["lands_after"], "ready_to_land" in notes, "landing_mr_attempts" in notes) == (
        to_text(T),
        False,
        False,
    )
    assert (town.status("m"), town.metadata("m")["failureReason"]) == ("failed", "superseded")
    assert (hooked(town), stops(town)) == ([], [("r", 1)])
    merged = event("pr_status_changed", MERGED, bead="m", at=T + SECOND)
    town.tick(merged, at=T + SECOND)
    assert (town.status("c"), town.one("review_metadata", "m", "merge_commit")) == ("open", "abc")
    town.update("beads", late, status="closed")
    reports = town.ticks(3, start=T + 10 * SECOND)
    assert [line for report in reports for line in deeds(report, of="convoys")] == [
        f"convoys.record_progress: update_convoy_progress c {2 if how == 'reopened' else 3}",
        "convoys.mark_ready_to_land: set_convoy_ready_to_land c",
        "convoys.create_landing: create_landing_mr c rig-1",
    ]
    assert town.metadata("c")["landing_mr_attempts"] == 1


@scenario(328)
def test_the_next_landing_takes_over_the_open_pull_request() -> None:
    town = landing()
    town.tick(event("bead_reopened", bead="lost"))
    assert [bead for bead, _, _ in abandoned(town)] == ["m"]
    town.update("beads", "lost", status="closed")
    town.ticks(3, start=T + SECOND)
    [(new, url)] = town.rows("SELECT bead_id, pr_url FROM review_metadata WHERE bead_id <> 'm'")
    assert (url, town.metadata(new)["pr_url"], abandoned(town)) == (PR, PR, [])
    town.tick(event("pr_status_changed", MERGED, bead=new, at=T + timedelta(minutes=1)), at=T + timedelta(minutes=1))
    assert (town.status("c"), town.one("convoy_metadata", "c", "landed_at")) == (
        "closed",
        to_text(T + timedelta(minutes=1)),
    )


@scenario(328)
def test_a_pull_request_that_was_not_ours_is_not_taken_over() -> None:
    town = a_town().bead("t", status="closed").convoy("c", tracked=["t"], closed=1, metadata={"ready_to_land": 1})
    notes = {"failureReason": "review_failed", "failureKind": "pr_mismatch", "abandoned": 1}
    town.review("m", "failed", of="c", pr_url=PR, branch="convoy/x/head", metadata=notes)
    town.tick()
    assert town.rows("SELECT pr_url FROM review_metadata WHERE bead_id <> 'm'") == [(None,)]


@scenario(329)
def test_a_landing_that_was_merged_before_work_joined_does_not_close_the_convoy() -> None:
    town = landing("closed")
    town.tick(JOINS["reopened"])
    assert (town.status("c"), town.status("lost")) == ("open", "open")
    town.update("beads", "lost", status="closed")
    assert "convoys.land: close_convoy c" not in [
        line for each in town.ticks(3, start=T + SECOND) for line in deeds(each)
    ]


@scenario(329)
def test_no_merge_closes_a_convoy_with_a_live_task() -> None:
    town = a_town().bead("t", labels=["gt:held"]).convoy("c", tracked=["t"])
    town.review("m", "in_progress", of="c", pr_url=PR)
    town.tick(event("pr_status_changed", MERGED, bead="m"))
    assert (town.status("m"), town.status("c")) == ("closed", "open")
    town.update("beads", "t", status="closed")
    lines = [line for each in town.ticks(3, start=T + SECOND) for line in deeds(each, of="convoys")]
    assert lines[-1] == "convoys.create_landing: create_landing_mr c rig-1"


@scenario(329)
def test_a_superseded_landing_is_not_reopened() -> None:
    town = landing()
    town.tick(event("bead_reopened", bead="lost"))
    report = town.tick(event("bead_reopened", bead="m", at=T + SECOND), at=T + SECOND)
    why = "the convoy c lands anew since: it gets a new merge request"
    assert outcomes(report) == [("bead_reopened", f"rejected: {why}")]


@scenario(329)
@pytest.mark.parametrize(
    ("after", "reopened"), [(-MS, True), (0 * MS, False)], ids=["after it joined", "at that moment"]
)
def test_a_landing_is_reopened_only_if_it_began_after_the_last_work_joined(after: timedelta, reopened: bool) -> None:
    town = landing(
        "failed",
    ).update("beads", "lost", status="closed")
    began = ago(minutes=5)
    town.update("beads", "c", metadata={**town.metadata("c"), "lands_after": to_text(began + after)})
    town.update("beads", "m", metadata={"failureReason": "cancelled"})
    [(_, outcome)] = outcomes(town.tick(event("bead_reopened", bead="m")))
    assert (outcome == "applied") is reopened
    assert ("lands anew" in outcome) is not reopened


@scenario(329)
def test_a_task_is_reopened_although_its_convoy_lands_anew_since() -> None:
    town = landing("failed")
    town.update("beads", "c", metadata={**town.metadata("c"), "lands_after": to_text(T)})
    assert outcomes(town.tick(event("bead_reopened", bead="lost"))) == [("bead_reopened", "applied")]


@scenario(330)
@pytest.mark.parametrize("how", JOINS)
def test_work_that_joins_a_closed_convoy_stands_alone_on_the_default_branch(how: str) -> None:
    town = landing("closed").update("beads", "c", status="closed").bead("free", labels=["gt:held"])
    town.update("rigs", "rig-1", default_branch="trunk")
    late = {"created": "late", "added": "free", "reopened": "lost"}[how]
    assert outcomes(town.tick(JOINS[how])) == [(JOINS[how].event_type, "applied")]
    assert town.rows("SELECT 1 FROM bead_dependencies WHERE bead_id = ?", late) == []
    [(old, said)] = town.rows(
        "SELECT old_value, metadata FROM bead_events WHERE bead_id = ? AND event_type = 'fields_updated'", late
    )
    assert (old, '"target_branch":"trunk"' in said, '"why":"the convoy is closed"' in said) == ("c", True, True)
    town.update("beads", late, labels=[])
    town.tick(at=T + SECOND)
    [(order,)] = town.rows("SELECT payload FROM outbox WHERE kind = 'dispatch_agent'")
    assert '"target_branch":"trunk"' in order


@scenario(330)
@pytest.mark.parametrize("how", JOINS)
def test_work_that_joins_a_failed_convoy_waits_for_it(how: str) -> None:
    town = landing("failed").update("beads", "c", status="failed").bead("free")
    town.update("beads", "lost", labels=[])
    late = {"created": "late", "added": "free", "reopened": "lost"}[how]
    town.tick(JOINS[how])
    town.update("beads", late, labels=[])
    assert [line for each in town.ticks(3, start=T + SECOND) for line in deeds(each) if late in line] == []
    assert town.waits(T + timedelta(minutes=1))[late].reason == "convoy_over"
    town.tick(event("bead_reopened", bead="c", at=T + timedelta(minutes=1)), at=T + timedelta(minutes=1))
    assert town.status(late) == "in_progress"


# --- convoy_changed ---------------------------------------------------------------------------------


def two_convoys() -> TownBuilder:
    town = a_town().rig("rig-2", name="other-rig").bead("t").bead("u").bead("free").bead("done", status="closed")
    town.bead("lost", status="failed").bead("far", rig_id="rig-2").bead("waits").bead("chained").bead("note", "message")
    town.convoy("c", tracked=["t"], staged=1).convoy("d", tracked=["u"], staged=1)
    return town.edge("waits", "c").edge("chained", "d").edge("u", "c")


@scenario(331)
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, "nothing to change"),
        ({"add": ["t"], "remove": ["t"]}, "t cannot be added and removed at once"),
        ({"remove": ["free"]}, "free is not in the convoy c"),
        ({"add": ["free", "ghost"]}, "ghost does not exist"),
        ({"add": ["note"]}, "note is a bead of type message, and a convoy consists of issues"),
        ({"add": ["done"]}, "done is closed"),
        ({"add": ["lost"]}, "lost is failed: reopen it first"),
        ({"add": ["u"]}, "u is in the convoy d: take it out there first"),
        ({"add": ["far"]}, "far belongs to the rig rig-2, and the convoy to rig-1"),
        ({"add": ["waits"]}, "cycle: waits waits for the convoy c"),
        ({"add": ["chained"]}, "cycle: chained waits for the convoy c"),
        ({"remove": ["t"], "add": ["free", "far"]}, "far belongs to the rig rig-2, and the convoy to rig-1"),
    ],
)
def test_a_change_that_cannot_be_is_rejected_as_a_whole(change: dict[str, list[str]], why: str) -> None:
    town = two_convoys()
    edges = town.rows("SELECT * FROM bead_dependencies ORDER BY 1, 2")
    report = town.tick(event("convoy_changed", {"convoy_id": "c", **change}))
    assert outcomes(report) == [("convoy_changed", f"rejected: {why}")]
    assert town.rows("SELECT * FROM bead_dependencies ORDER BY 1, 2") == edges
    assert "lands_after" not in town.metadata("c")


@scenario(331)
def test_beads_move_from_one_convoy_to_another() -> None:
    town = a_town().bead("t", labels=["gt:held"]).bead("u", labels=["gt:held"])
    town.convoy("c", tracked=["t", "u"]).convoy("d")
    out = event("convoy_changed", {"convoy_id": "c", "remove": ["t", "t"]}, event_id="out-00001")
    into = event("convoy_changed", {"convoy_id": "d", "add": ["t"]}, event_id="into-0001")
    again = event("convoy_changed", {"convoy_id": "d", "add": ["t"]}, event_id="into-0002")
    missing = event("convoy_changed", {"convoy_id": "t", "add": ["u"]}, event_id="into-0003")
    report = town.tick(out, into, again, missing)
    assert [outcome for _, outcome in outcomes(report)] == ["applied", "applied", "applied", "skipped: missing"]
    assert [town.one("convoy_metadata", convoy, "total_beads") for convoy in "cd"] == [1, 1]
    assert town.metadata("d")["lands_after"] == to_text(T)


@scenario(331)
def test_the_reviews_of_a_bead_follow_it_into_its_convoy_and_out_of_it() -> None:
    town = a_town().bead("t", status="in_review").convoy("c", branch="convoy/x/head")
    town.review("m", "in_progress", of="t", pr_url=PR, metadata={"head_sha": "a"})
    town.tick(event("convoy_changed", {"convoy_id": "c", "add": ["t"]}))
    assert town.one("review_metadata", "m", "target_branch") == "convoy/x/head"
    assert town.metadata("m")["convoy_id"] == "c"
    town.tick(event("convoy_changed", {"convoy_id": "c", "remove": ["t"]}, at=T + SECOND), at=T + SECOND)
    assert town.one("review_metadata", "m", "target_branch") == "main"
    assert not {"convoy_id", "convoy_feature_branch"} & town.metadata("m").keys()


@scenario(331)
def test_a_new_bead_does_not_wait_for_its_own_convoy() -> None:
    town = a_town().bead("t").bead("waits", labels=["gt:held"]).convoy("c", tracked=["t"]).edge("waits", "c")
    bead = {"bead_id": "new", "type": "issue", "title": "x", "convoy_id": "c", "depends_on": ["waits"]}
    report = town.tick(event("bead_created", {"bead": bead}))
    assert outcomes(report) == [("bead_created", "rejected: cycle: it would wait for its own convoy")]
    assert town.status("new") is None
