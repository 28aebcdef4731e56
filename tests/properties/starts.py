"""Where histories begin: towns in the middle of their lives, so that short histories reach deep states.

All but `IMPORTED` are made by events alone, from the founding on: whatever they hold is legal. Each is lived once and
kept as an image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from shared.domain.times import from_text
from shared.images import first_image
from shared.town import database
from tests.properties.checks import Checks, remember
from tests.properties.life import Life
from tests.properties.outside import Answers
from tests.properties.steps import Gap, Live, Post, Step
from tests.towns import TOWN, T, TownBuilder, a_town, ago

_RIGS: Final[tuple[Step, ...]] = (Post("rig_registered", 0, 6), Post("rig_registered", 1, 6))
_THREE_BEADS: Final[tuple[Step, ...]] = (
    Post("bead_created", 0, 0),
    Post("bead_created", 1, 0),
    Post("bead_created", 0, 2),
)
_CONVOY: Final[tuple[Step, ...]] = (Post("convoy_created", 1, 1),)
_SLOW: Final = Answers(poll="unknown")
_REJECTED: Final = Answers(start="rejected")
_APPROVAL: Final = Answers(poll="approval")
_BUSY: Final[tuple[Step, ...]] = (*_RIGS, *_CONVOY, *_THREE_BEADS, Live(3, "due", "progress", _SLOW))
_REVIEWED: Final[tuple[Step, ...]] = (*_BUSY, Live(1, "due", "done", _SLOW), Live(2, "due", "beat", _SLOW))
_DIRECT: Final = {"merge_strategy": "direct", "staged_convoys_default": False}
_PULLS: Final = {"staged_convoys_default": False}
_ONE_BEAD: Final[tuple[Step, ...]] = (*_RIGS, Post("bead_created", 0, 0), Live(2, "due", "progress"))
_READY_TO_LAND: Final[tuple[Step, ...]] = (
    *_RIGS,
    Post("convoy_created", 1, 0),
    *(Live(1, "due", "done") for _ in range(4)),
)


def _silence(minutes: int, answers: Answers = _SLOW) -> tuple[Step, ...]:
    """Agents that beat and make no progress for so long; nobody ticks meanwhile, so the town settles first."""
    return (Gap(minutes * 60_000, "beat"), Live(4, "30s", "beat", answers))


_APPROVED_LANDING: Final[tuple[Step, ...]] = (
    *_READY_TO_LAND,
    Live(2, "due", "beat"),
    Live(1, "due", "pull_request", _APPROVAL),
    Live(3, "due", "beat", _APPROVAL),
)
_FAILED_LANDING: Final[tuple[Step, ...]] = (
    Live(2, "due", "beat"),
    Post("pr_status_changed", 0, 1),
    Gap(490_000, "beat"),
)
_MERGES: Final = {**_PULLS, "refinery": {"auto_merge_delay_minutes": 0, "auto_resolve_pr_feedback": True}}


def _passed(*answers: Answers) -> tuple[Step, ...]:
    """Pull requests that refineries have passed, and what the forge then says for three minutes each."""
    reviewed = (*_BUSY, *(Live(2, "due", "pull_request", _SLOW) for _ in range(3)))
    return (*reviewed, *(Live(4, "30s", "beat", each) for answer in answers for each in (answer, answer)))


_MERGING: Final[tuple[Step, ...]] = _passed(Answers(merge="never"))
_QUEUED: Final[tuple[Step, ...]] = _passed(Answers(merge="queued"), Answers(poll="in_queue"))
_STALLED: Final[tuple[Step, ...]] = (*_BUSY, *_silence(46), *_silence(61), Live(2, "due", "beat"), *_silence(30))


def _second_thoughts(answers: Answers) -> tuple[Step, ...]:
    """A pull request is closed, its issue starts again, and the pull request is opened again."""
    return (
        *_ONE_BEAD,
        Live(1, "due", "pull_request", _SLOW),
        Live(2, "due", "pull_request", _SLOW),
        Post("pr_status_changed", 0, 1),
        Live(2, "30s", "beat", answers),
        Post("bead_reopened", 0, 0),
        Live(1, "5s", "beat", answers),
    )


STARTS: Final[dict[str, tuple[Mapping[str, Any], tuple[Step, ...]]]] = {
    "young": ({}, (*_RIGS, *_THREE_BEADS, Post("convoy_created", 3, 2))),
    "released": ({}, (*_RIGS, Post("convoy_created", 3, 2), Live(1), Post("convoy_started", 0, 0), Live(1))),
    "busy": (_DIRECT, _BUSY),
    "in review": (_DIRECT, _REVIEWED),
    "reworked": (_DIRECT, (*_REVIEWED, Live(1, "due", "changes"), Live(2, "due", "beat"))),
    "pull requests": (
        _PULLS,
        (
            *_BUSY,
            Live(1, "due", "pull_request", _SLOW),
            Live(2, "due", "pull_request", _SLOW),
            Live(2, "5s", "beat", _SLOW),
        ),
    ),
    "approval": (_PULLS, (*_BUSY, Live(2, "due", "pull_request", _APPROVAL), Live(3, "due", "beat", _APPROVAL))),
    "reviews off": (
        _PULLS,
        (
            *_BUSY,
            Post("rig_registered", 0, 1),
            Post("bead_created", 1, 4),
            Live(1, "due", "pull_request", _SLOW),
            Live(1, "due", "done", _SLOW),
        ),
    ),
    "unreviewable": (_PULLS, (*_BUSY, Post("rig_registered", 0, 1), Live(2, "due", "done", _SLOW))),
    "merging": (_MERGES, _MERGING),
    "merged": (_MERGES, _passed(Answers())),
    "merged by word": (
        _PULLS,
        (*_passed(Answers(poll="changes")), Post("pr_auto_merge", 0, 0), Live(2, "due", "beat")),
    ),
    "refused merges": (_MERGES, _passed(*([Answers(merge="refused")] * 3))),
    "queued": (_MERGES, _QUEUED),
    "left the queue": (_MERGES, (*_QUEUED, Post("bead_cancelled", 0, 1), Live(2, "due", "beat"))),
    "behind": (_MERGES, _passed(*([Answers(poll="behind")] * 2))),
    "changes requested": (
        _MERGES,
        (
            *_passed(Answers(poll="changes")),
            Live(3, "30s", "done", Answers(poll="changes")),
            Live(4, "30s", "beat", Answers(poll="changes again")),
        ),
    ),
    "strangers": (_MERGES, (*_passed(Answers(poll="stranger")), Live(3, "due", "beat"))),
    "forks": (_MERGES, _passed(Answers(poll="fork"))),
    "wrong base": (_MERGES, (*_passed(Answers(poll="wrong_base")), Live(3, "30s", "done", Answers(poll="wrong_base")))),
    "drafts": (_MERGES, _passed(Answers(poll="draft"))),
    "denied": (_MERGES, (*_passed(*([Answers(poll="denied")] * 3)), Gap(1_900_000, "beat"), Live(3, "5min", "beat"))),
    "unproven": (_DIRECT, (*_REVIEWED, *(Live(2, "30s", "done", Answers(merge="refused")) for _ in range(5)))),
    "unproved": (_DIRECT, (*_REVIEWED, Live(1, "due", "done", Answers(merge="never")), Live(2, "30s", "beat"))),
    "missing blocker": (
        _DIRECT,
        (*_RIGS, Post("bead_created", 7, 2), Live(1), Gap(90_000_000), Post("bead_cancelled", 0, 0), Live(2)),
    ),
    "blocked": (
        _DIRECT,
        (*_RIGS, *_THREE_BEADS, Live(1), Post("bead_created", 0, 2), Live(1), Post("bead_cancelled", 0, 0), Live(2)),
    ),
    "landing": (_DIRECT, (*_RIGS, Post("convoy_created", 1, 0), Post("convoy_created", 0, 2), *_READY_TO_LAND[3:])),
    "landing cancelled": (_DIRECT, (*_READY_TO_LAND, Live(2, "due", "beat"), Post("bead_cancelled", 0, 1), Live(1))),
    "landing replaced": (
        _DIRECT,
        (
            *_READY_TO_LAND,
            Live(2, "due", "beat"),
            Post("bead_created", 1, 0),
            Live(1, "due", "beat"),
            Post("convoy_changed", 0, 0),
            Live(2, "due", "done"),
        ),
    ),
    "removals": (
        _DIRECT,
        (
            *_RIGS,
            *_THREE_BEADS,
            Post("bead_deleted", 0, 0),
            Post("rig_removed", 0, 0),
            Live(1),
            Post("rig_removed", 1, 1),
            Post("agent_nudged", 0, 0),
            Live(1),
        ),
    ),
    "convoy cancelled": (_DIRECT, (*_REVIEWED, Post("bead_cancelled", 0, 3), Live(1, "due", "beat", _SLOW))),
    "landing approval": (_DIRECT, _APPROVED_LANDING),
    "landing held": (_DIRECT, (*_APPROVED_LANDING, Post("pr_status_changed", 0, 1), Live(2))),
    "landing fails": (_DIRECT, (*_READY_TO_LAND, *(_FAILED_LANDING * 4))),
    "landing failed": (_DIRECT, (*_READY_TO_LAND, *(_FAILED_LANDING * 5))),
    "stuck": (_DIRECT, (*_BUSY, *_silence(16), *_silence(45))),
    "unheard": (_DIRECT, (*_BUSY, *_silence(16, Answers(call="never")), Gap(3_700_000, "beat"))),
    "silent": (_DIRECT, (*_BUSY, Live(5, "30s", "silent"))),
    "stalled": (_DIRECT, _STALLED),
    "retired": (_DIRECT, (*_STALLED, *_silence(152))),
    "stalled review": (
        _DIRECT,
        (*_REVIEWED, Live(1, "due", "progress"), *_silence(61), *_silence(62), Post("triage_resolved", 0, 0), Live(2)),
    ),
    "asking": (
        _DIRECT,
        (
            *_BUSY,
            *_silence(61),
            Post("escalation_raised", 1, 1),
            Post("bead_created", 0, 5),
            Live(2, "due", "beat", _REJECTED),
        ),
    ),
    "failing": (
        _DIRECT,
        (*_RIGS, *(Post("bead_created", index, 0) for index in range(20)), Live(2, "due", "silent", _REJECTED)),
    ),
    "tired": (
        {**_DIRECT, "max_dispatch_attempts": 2},
        (*_RIGS, *_THREE_BEADS, Live(5, "due", "silent", _REJECTED), Gap(100_000)),
    ),
    "hopeless": (
        {**_DIRECT, "max_dispatch_attempts": 1},
        (*_RIGS, *_CONVOY, Post("convoy_created", 0, 0), Live(4, "due", "silent", _REJECTED)),
    ),
    "second thoughts": (_PULLS, _second_thoughts(_SLOW)),
    "merged after all": (
        _PULLS,
        (*_second_thoughts(_SLOW), Post("pr_status_changed", 0, 0), Live(1, "5s", "beat", _SLOW)),
    ),
    "merged meanwhile": (
        _PULLS,
        (*_second_thoughts(_REJECTED), Post("pr_status_changed", 0, 0), Live(1, "5s", "silent")),
    ),
    "forgiven": (
        _DIRECT,
        (*_RIGS, Post("bead_created", 0, 0), Live(16, "due", "silent", _REJECTED), Gap(1_900_000, "silent")),
    ),
    "unassigned": (_DIRECT, (*_BUSY, Live(7, "30s", "silent"))),
    "review cancelled": (_DIRECT, (*_REVIEWED, Post("bead_cancelled", 0, 1), Live(1), Gap(310_000, "beat"))),
    "refused": (_DIRECT, (*_BUSY, Live(1, "due", "done", _REJECTED), Live(4, "30s", "silent", _REJECTED))),
    "landed": (_DIRECT, (*_RIGS, Post("convoy_created", 0, 2), *(Live(1, "due", "done") for _ in range(8)))),
    "raised": (_DIRECT, (*_RIGS, Post("escalation_raised", 0, 0), Live(2), Gap(16_000_000))),
    "talkative": (
        _PULLS,
        (
            *_BUSY,
            Post("convoy_created", 3, 0),
            Post("escalation_raised", 0, 0),
            Post("agent_status", 0, 0),
            Post("bead_updated", 0, 6),
            Post("town_configured", 0, 2),
            Live(2, "due", "pull_request", _SLOW),
            Post("pr_feedback_detected", 0, 0),
            Post("pr_conflict_detected", 1, 0),
            Post("escalation_acknowledged", 0, 0),
            Post("mayor_waiting", 0, 0),
            Post("mayor_said", 0, 0),
            Post("pr_adopted", 0, 0),
            Post("nudge_timeout", 0, 0),
            Live(1, "due", "beat", _SLOW),
            Post("agent_reset", 0, 0),
            Post("agent_completed", 1, 0),
            Post("container_eviction", 0, 0),
            Live(1, "due", "beat", _SLOW),
            Post("container_ready", 0, 0),
            Post("convoy_closed", 1, 0),
            Live(1, "due", "beat", _SLOW),
        ),
    ),
    "nudged": (_DIRECT, (*_BUSY, *_silence(16, Answers(call="never")), Post("nudge_acknowledged", 0, 0), Live(1))),
    "idle": (
        _DIRECT,
        (*_RIGS, Post("bead_created", 0, 0), Live(3, "due", "done"), Live(4, "due", "done"), Gap(90_000_000)),
    ),
    "paused": (_PULLS, (*_RIGS, *_THREE_BEADS, *_CONVOY, Live(1))),
    "over budget": (
        {**_DIRECT, "budget": {"per_bead": {"tokens": 3000}}},
        (*_BUSY, Post("agent_usage", 0, 3), Live(1, "due", "beat"), Post("agent_usage", 1, 2), Live(2, "due", "beat")),
    ),
    "started": (_PULLS, (*_RIGS, *_THREE_BEADS, *_CONVOY, Live(1), Post("town_started", 0, 0), Live(2))),
}
"""Configuration and steps, by name."""

NOTHING_LEGAL: Final = "imported"
"""The start that no events lead to: an imported town with dead agents, hooks that lead nowhere, workers without a hook."""


@dataclass(frozen=True)
class _Begun:
    image: bytes
    now: datetime
    next_due: datetime | None
    count: int


def begin(name: str) -> Life:
    """A life that begins there."""
    begun = _imported() if name == NOTHING_LEGAL else _lived(name)
    town = TownBuilder(sql=database.open_image(begun.image))
    return Life(town, now=begun.now, next_due=begun.next_due, count=begun.count)


@cache
def _lived(name: str) -> _Begun:
    config, steps = STARTS[name]
    town = TownBuilder(
        sql=database.open_image(first_image.found(TOWN, config=config, paused=name in ("paused", "started"))), tick_no=0
    )
    life = Life(town)
    Checks(life)
    life.checks = (*life.checks, remember)
    life.play(*steps)
    if life.waiting:
        life.tick()
    begun = _Begun(town.image(), life.now, life.next_due, life.count)
    life.close()
    return begun


@cache
def _imported() -> _Begun:
    town = (
        a_town()
        .rig("rig-2", name="rig-2", git_url="https://github.com/acme/rig-2.git")
        .update("rigs", "rig-1", name="rig-1", git_url="https://github.com/acme/rig-1.git")
        .bead("waits")
        .bead("counted-wrong", status="closed")
        .convoy("wrong", tracked=["counted-wrong"], mode="review-and-merge", branch=None)
        .bead("landed-task", status="closed")
        .convoy("landed", tracked=["landed-task"], closed=1, metadata={"ready_to_land": 1})
        .review("landing", "closed", of="landed", created_by="system")
        .bead("unreviewed", status="in_review", updated_at=ago(minutes=6))
        .review("review-over", "failed", of="unreviewed")
        .bead("lost", status="in_progress", updated_at=ago(minutes=6))
        .bead("reviewed", status="in_review", updated_at=ago(minutes=6))
        .bead("held-by-dead", status="in_progress")
        .review("stuck", "in_progress", of="reviewed", updated_at=ago(minutes=31))
        .review(
            "silent-pr",
            "in_progress",
            pr_url="https://github.com/acme/rig-2/pull/9",
            rig_id="rig-2",
            updated_at=ago(minutes=31),
        )
        .agent("dead-refinery", "refinery", "dead", hook="stuck", last_activity_at=ago(minutes=31))
        .agent("dead-polecat", "polecat", "dead", hook="held-by-dead", last_activity_at=ago(minutes=3))
        .agent("dangling", "polecat", "idle", hook="no-such-bead")
        .agent("hookless", "polecat", "working", generation=2)
        .agent("unheard", "polecat", "working", hook="waits", last_activity_at=None, last_dispatch_outcome="pending")
    )
    return _Begun(town.image(), T, from_text(town.value("last_tick_at")) + timedelta(seconds=5), 0)
