"""Every wait of a rule is foreseen: for which row, for what, since when and until when."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, get_args

import pytest

from shared.domain import limits
from shared.domain.tick import TickInput
from shared.domain.times import to_text
from shared.questions.foresight import Outlook, outlook
from shared.questions.guards import HELD, WAITS
from shared.questions.relaxed import HOLDS
from shared.rules.base import Wait
from shared.town import database
from tests.towns import MS, TOWN, T, TownBuilder, a_town, ago

PR = "https://github.com/acme/app/pull/7"
BEAT = limits.HEARTBEAT_LOST_AFTER + MS


def one_behind_another(town: TownBuilder) -> TownBuilder:
    """m1 was updated and its checks run, so m2 waits for its turn."""
    town.config(refinery={"auto_merge": True, "auto_merge_delay_minutes": 5})
    town.review("m1", "in_progress", pr_url="https://x/1", metadata={"own_updated_at": to_text(ago(minutes=5))})
    return town.review("m2", "in_progress", pr_url="https://x/2", metadata={"obstacle": "behind_base"})


Case = tuple[str, str, str, datetime, Callable[[TownBuilder], TownBuilder]]


def seen(town: TownBuilder, *rows: str) -> Outlook:
    """What the rules will do with these rows."""
    given = TickInput(
        tick_no=town.tick_no + 1,
        tick_id="2-next",
        now=T,
        code_version="test",
        sqlite_version=database.SQLITE_VERSION,
        config_digest="",
        prev_image_digest="",
    )
    return outlook(town.sql, given, town_id=TOWN, rows=frozenset(rows))


def at_work(town: TownBuilder, *, progress: datetime, nudged: str | None = None) -> TownBuilder:
    """P beats right now and made its last progress long ago; it was nudged 59 min 30 s ago, if at all."""
    town.bead("b", status="in_progress")
    town.agent("p", status="working", hook="b", last_activity_at=T, last_event_at=progress)
    if nudged is not None:
        nudge = {"agent_bead_id": "p", "message": "go on", "source": nudged, "created_at": ago(minutes=59, seconds=30)}
        town.insert("agent_nudges", nudge_id="n", **nudge)
    return town


def landing(town: TownBuilder) -> TownBuilder:
    """A convoy that is ready to land and whose first attempt failed a moment ago."""
    tried = {"ready_to_land": True, "landing_mr_attempts": 1, "last_landing_mr_attempt_at": to_text(ago(seconds=5))}
    return town.bead("done", status="closed").convoy("c", tracked=["done"], closed=1, metadata=tried)


def polled(town: TownBuilder, **metadata: str) -> TownBuilder:
    """A review with a pull request."""
    return town.review("m", "in_progress", pr_url=PR, metadata=metadata)


def asked(town: TownBuilder) -> TownBuilder:
    """A question for triage, after a batch that brought no answer."""
    state = {"last_batch_at": to_text(ago(seconds=5)), "fruitless": 1}
    return town.bead("q", rig_id=None, labels=["gt:triage-request"]).key("triage", state)


TRIED: Final[dict[str, Any]] = {"dispatch_attempts": 2, "last_dispatch_attempt_at": ago(seconds=5)}
LATER = ago(seconds=5) + timedelta(seconds=60) + MS

CASES: tuple[Case, ...] = (
    ("A2", "heartbeat", "p", ago(seconds=5) + BEAT, lambda t: t.bead("b").agent("p", status="working", hook="b")),
    (
        "A8",
        "heartbeat",
        "p",
        ago(seconds=5) + BEAT,
        lambda t: t.bead("b", status="in_progress").agent("p", hook="b"),
    ),
    (
        "A8",
        "heartbeat",
        "b",
        ago(seconds=5) + BEAT,
        lambda t: t.bead("b", status="in_progress").agent("p", hook="b"),
    ),
    (
        "A4",
        "stalled",
        "p",
        ago(seconds=5) + limits.STALLED_IDLE_AFTER + MS,
        lambda t: t.bead("b").agent("p", status="stalled", hook="b", stalled_at=ago(seconds=5)),
    ),
    (
        "A5",
        "attempts_cool_down",
        "p",
        ago(seconds=5) + limits.ATTEMPTS_COOL_DOWN + MS,
        lambda t: t.agent("p", dispatch_attempts=5),
    ),
    ("B1", "backoff", "b", LATER, lambda t: t.bead("b", **TRIED)),
    ("B2", "backoff", "b", LATER, lambda t: t.bead("b", **TRIED).agent("p", hook="b")),
    ("B2", "backoff", "p", LATER, lambda t: t.bead("b", **TRIED).agent("p", hook="b")),
    (
        "B3",
        "bead_lost",
        "b",
        ago(seconds=5) + limits.BEAD_LOST_AFTER + MS,
        lambda t: t.bead("b", status="in_progress"),
    ),
    (
        "B3",
        "owner_beats",
        "b",
        ago(seconds=5) + BEAT,
        lambda t: t.bead("b", status="in_progress", assignee_agent_bead_id="p", updated_at=ago(minutes=6)).agent(
            "p", last_dispatch_bead_id="b"
        ),
    ),
    (
        "B4",
        "review_recovery",
        "b",
        ago(seconds=5) + limits.REVIEW_RECOVERY_AFTER + MS,
        lambda t: t.bead("b", status="in_review").review("m", "failed", of="b"),
    ),
    (
        "R1",
        "poll_interval",
        "m",
        ago(seconds=5) + timedelta(seconds=60),
        lambda t: polled(t, last_poll_at=to_text(ago(seconds=5))),
    ),
    (
        "R1",
        "rate_limited",
        "m",
        T + timedelta(minutes=9),
        lambda t: polled(t, last_poll_at=to_text(ago(seconds=5)), poll_not_before=to_text(T + timedelta(minutes=9))),
    ),
    (
        "R1",
        "forge_backoff",
        "m",
        T + timedelta(minutes=9),
        lambda t: polled(
            t,
            last_poll_at=to_text(ago(seconds=5)),
            poll_not_before=to_text(T + timedelta(minutes=9)),
            poll_error_kind="transient",
        ),
    ),
    (
        "R2",
        "review_stuck",
        "m",
        ago(seconds=5) + limits.REVIEW_STUCK_AFTER + MS,
        lambda t: t.review("m", "in_progress").agent("f", "refinery", "dead", hook="m"),
    ),
    (
        "R2",
        "review_stuck",
        "f",
        ago(seconds=5) + limits.REVIEW_STUCK_AFTER + MS,
        lambda t: t.review("m", "in_progress").agent("f", "refinery", "dead", hook="m"),
    ),
    (
        "R3",
        "review_abandoned",
        "m",
        ago(seconds=5) + limits.REVIEW_ABANDONED_AFTER + MS,
        lambda t: t.review("m", "in_progress"),
    ),
    ("R5", "backoff", "m", LATER, lambda t: t.review("m").update("beads", "m", **TRIED)),
    (
        "R6",
        "backoff",
        "f",
        LATER,
        lambda t: t.review("m", "in_progress").update("beads", "m", **TRIED).agent("f", "refinery", hook="m"),
    ),
    ("C10", "landing_cooldown", "c", ago(seconds=5) + timedelta(seconds=60), landing),
    (
        "GC",
        "forgetting",
        "p",
        ago(seconds=5) + limits.AGENT_FORGET_AFTER + MS,
        lambda t: t.agent("p"),
    ),
    ("G1", "progress", "p", T + timedelta(seconds=10) + MS, lambda t: at_work(t, progress=ago(minutes=14, seconds=50))),
    ("G2", "progress", "p", T + timedelta(seconds=10) + MS, lambda t: at_work(t, progress=ago(minutes=59, seconds=50))),
    (
        "G3",
        "progress",
        "p",
        T + timedelta(seconds=10) + MS,
        lambda t: at_work(t, progress=ago(minutes=119, seconds=50)),
    ),
    (
        "G1",
        "nudge_window",
        "p",
        T + timedelta(seconds=30) + MS,
        lambda t: at_work(t, progress=ago(minutes=20), nudged="reconciler:warn"),
    ),
    (
        "G2",
        "nudge_window",
        "p",
        T + timedelta(seconds=30) + MS,
        lambda t: at_work(t, progress=ago(minutes=70), nudged="reconciler:escalate"),
    ),
    (
        "R1u",
        "update_turn",
        "m2",
        ago(minutes=5) + limits.BRANCH_UPDATE_CHECKS_FOR + MS,
        one_behind_another,
    ),
    (
        "R1q",
        "dequeue_again",
        "m",
        T + timedelta(minutes=3),
        lambda t: (
            t.review("m", "in_progress", pr_url="https://x/1", metadata={"queued_at": to_text(ago(minutes=1))})
            .bead("w", labels=["gt:rework", "gt:held"])
            .edge("m", "w")
            .key("queued_reviews", {"m": to_text(T + timedelta(minutes=3))})
        ),
    ),
    (
        "H1",
        "escalation_bump",
        "e",
        ago(minutes=1) + limits.ESCALATION_BUMP + MS,
        lambda t: t.bead("e", "escalation", created_at=ago(minutes=1)).insert(
            "escalation_metadata", bead_id="e", severity="low"
        ),
    ),
    ("H2", "triage_backoff", "q", ago(seconds=5) + limits.backoff(1) + MS, asked),
    (
        "H4",
        "mail_again",
        "m",
        ago(minutes=1) + limits.MAIL_AGAIN_AFTER,
        lambda t: t.bead("m", "message", metadata={"told": 1, "told_at": to_text(ago(minutes=1))}),
    ),
    (
        "R1p",
        "merge_look",
        "m",
        ago(seconds=1) + limits.MERGE_LOOK_INTERVAL,
        lambda t: t.bead("b", status="in_review").review(
            "m", "in_progress", of="b", metadata={"merge_claim": {}, "merge_looked_at": to_text(ago(seconds=1))}
        ),
    ),
    (
        "B1",
        "no_agent_program",
        "b",
        ago(seconds=5) + limits.no_program_backoff(4) + MS,
        lambda t: t.bead(
            "b",
            last_dispatch_attempt_at=ago(seconds=5),
            metadata={"no_program_tries": 4, "no_program_since": to_text(ago(minutes=9))},
        ),
    ),
    (
        "B1",
        "budget_spent",
        "b",
        T.replace(hour=0) + timedelta(days=1),
        lambda t: (
            t.config(budget={"per_day": {"tokens": 5}})
            .bead("b")
            .insert("usage_sums", kind="day", subject="2026-01-10", input_tokens=5, spent_since=ago(minutes=1))
        ),
    ),
    (
        "V1",
        "nobody_told",
        "b",
        ago(minutes=1) + limits.OBSTACLE_VOICED_AFTER + MS,
        lambda t: t.bead("b", labels=["gt:held"], metadata={"awaits": ["x"]}, created_at=to_text(ago(minutes=1))),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
def test_a_wait_is_foreseen_with_its_name_and_its_end(case: Case) -> None:
    rule, wait, row, due, build = case
    found = {act.rule: act for act in seen(build(a_town()), row).acts}
    assert rule in found
    act = found[rule]
    assert act.at == due
    assert act.promised is not None
    assert (act.promised.wait, act.promised.at) == (wait, due)
    assert act.promised.since is not None
    assert act.promised.since <= T


def test_the_table_has_every_wait_that_a_rule_has_for_a_bead_or_an_agent() -> None:
    of_the_town = {"breaker_open", "mayor_idle", "nudge_life", "token_fresh"}
    ended_by_others = {"poll_turn"}  # in a town that stands still nobody else's turn is over
    assert {case[1] for case in CASES} == set(get_args(Wait)) - of_the_town - ended_by_others


def test_every_guard_has_words() -> None:
    assert set(WAITS) == set(get_args(Wait))
    assert set(HELD) == set(HOLDS)


def test_a_wait_that_is_over_before_a_hold_ends_is_not_what_held_until_then() -> None:
    town = a_town().bead("b", **TRIED).key("drain", {"nonce": "n", "started_at": to_text(T)})
    ahead = seen(town, "b")
    assert [(act.rule, act.promised) for act in ahead.acts] == [("B1", None)]
    assert ahead.holds == ("draining",)
    assert ahead.held is not None
    assert ahead.held.at == LATER
