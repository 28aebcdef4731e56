"""The waiting reason of everything that can hold a row back, and the events that end it (spec/tick.md section 13)."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

from shared.domain.obstacles import Obstacle
from shared.events import BY_TYPE
from shared.questions.relaxed import Hold
from shared.questions.waiting import WaitingReason
from shared.rules.base import Wait

State = Literal[
    "terminal",
    "unreadable",
    "addressee_rests",
    "approval_missing",
    "landing_live",
    "landing_held",
    "review_live",
    "work_unfinished",
    "no_work",
    "requests_ahead",
    "no_rig_at_all",
    "bumps_used_up",
    "acknowledged",
    "next_tick",
    "only_an_event",
]
"""The state of a row on which no rule acts now, if neither a wait for time nor a hold explains it."""

STATES: Final[tuple[State, ...]] = get_args(State)

OF_HOLD: Final[Mapping[Hold, WaitingReason]] = {
    "paused": "paused",
    "settling": "settling",
    "draining": "draining",
    "breaker_open": "breaker_open",
    "blocked_by": "blocked_by",
    "missing_blocker": "missing_blocker",
    "held": "held",
    "staged": "staged",
    "convoy_over": "convoy_over",
    "no_rig": "no_rig",
    "budget_spent": "budget_spent",
    "rig_full": "rig_full",
    "one_at_a_time": "awaiting_review",
    "review_live": "awaiting_review",
    "effect_unfinished": "awaiting_ci",
    "batch_live": "agent_working",
    "triage_exhausted": "awaiting_approval",
}
"""The reason of each hold. `blocked_by` becomes `failed_dependency` if all the blockers have failed."""

OF_WAIT: Final[Mapping[Wait, WaitingReason]] = {
    "attempts_cool_down": "cooldown",
    "backoff": "cooldown",
    "bead_lost": "cooldown",
    "breaker_open": "breaker_open",
    "budget_spent": "budget_spent",
    "dequeue_again": "cooldown",
    "escalation_bump": "awaiting_approval",
    "forge_backoff": "awaiting_ci",
    "forgetting": "cooldown",
    "heartbeat": "cooldown",
    "landing_cooldown": "cooldown",
    "mail_again": "cooldown",
    "mayor_idle": "cooldown",
    "no_agent_program": "no_agent_program",
    "merge_look": "merge_unproven",
    "nobody_told": "cooldown",
    "nudge_life": "cooldown",
    "nudge_window": "cooldown",
    "owner_beats": "cooldown",
    "poll_interval": "awaiting_ci",
    "poll_turn": "awaiting_ci",
    "progress": "cooldown",
    "rate_limited": "rate_limited",
    "review_abandoned": "cooldown",
    "review_recovery": "awaiting_review",
    "review_stuck": "cooldown",
    "stalled": "cooldown",
    "token_fresh": "cooldown",
    "triage_backoff": "cooldown",
    "update_turn": "behind_base",
}
"""The reason of each wait. A pull request that lacks only a person's approval is `awaiting_approval` between its polls."""

OF_STATE: Final[Mapping[State, WaitingReason | None]] = {
    "terminal": None,
    "unreadable": "held",
    "addressee_rests": "agent_working",
    "approval_missing": "awaiting_approval",
    "landing_live": "awaiting_review",
    "landing_held": "held",
    "review_live": "awaiting_review",
    "work_unfinished": "agent_working",
    "no_work": "held",
    "requests_ahead": "agent_working",
    "no_rig_at_all": "no_rig",
    "bumps_used_up": "awaiting_approval",
    "acknowledged": "awaiting_approval",
    "next_tick": "cooldown",
    "only_an_event": "held",
}
"""The reason of each state; a closed or failed bead has none."""

OBSTACLE_ACTORS: Final[Mapping[Obstacle, str]] = {
    "forge_denied": "operator",
    "forge_down": "forge",
    "forge_unreadable": "operator",
    "wrong_repository": "operator",
    "pr_mismatch": "operator",
    "untrusted_author": "operator",
    "draft": "reviewer",
    "changes_requested": "reviewer",
    "checks_unreadable": "operator",
    "in_merge_queue": "forge",
    "behind_base": "forge",
    "merge_refused": "operator",
    "merge_unproven": "operator",
    "awaiting_merge": "reviewer",
}
"""Who can remove each obstacle of a pull request. An obstacle is its own reason and its own guard."""

OBSTACLE_ENDED_BY: Final[Mapping[Obstacle, tuple[str, ...]]] = {
    "forge_denied": ("pr_polled",),
    "forge_down": ("pr_polled",),
    "forge_unreadable": ("pr_polled",),
    "wrong_repository": ("rig_registered",),
    "pr_mismatch": ("pr_polled",),
    "untrusted_author": ("pr_adopted", "town_configured", "rig_registered"),
    "draft": ("pr_polled",),
    "changes_requested": ("pr_polled",),
    "checks_unreadable": ("pr_polled",),
    "in_merge_queue": ("pr_polled",),
    "behind_base": ("pr_polled",),
    "merge_refused": ("pr_polled",),
    "merge_unproven": ("merge_verified",),
    "awaiting_merge": ("pr_polled", "town_configured"),
}
"""The events that end each obstacle. Most end outside of the town: then it is the poll that finds it gone."""

ENDLESS: Final[tuple[Hold, ...]] = (
    "no_rig",
    "held",
    "staged",
    "convoy_over",
    "missing_blocker",
    "blocked_by",
    "triage_exhausted",
    "batch_live",
    "review_live",
    "paused",
    "budget_spent",
    "rig_full",
    "one_at_a_time",
)
"""The holds that time alone does not end. The first one that holds a row back is its reason."""

TOO_EARLY: Final[Mapping[Wait, frozenset[Hold]]] = {
    "review_recovery": frozenset({"review_live"}),
    "triage_backoff": frozenset({"triage_exhausted", "batch_live"}),
}
"""Waits that begin only when a hold has ended.

While the hold lasts they are not shown, because the two would contradict each other.
"""

ENDED_BY: Final[Mapping[Hold | State, tuple[str, ...]]] = {
    "paused": ("town_started",),
    "draining": ("container_ready", "agent_heartbeat"),
    "blocked_by": ("bead_cancelled",),
    "missing_blocker": ("bead_created",),
    "held": ("bead_updated",),
    "staged": ("convoy_started",),
    "convoy_over": ("bead_reopened", "convoy_changed"),
    "no_rig": ("bead_updated",),
    "budget_spent": ("town_configured", "rig_registered"),
    "rig_full": ("agent_done", "agent_completed", "bead_cancelled", "town_configured", "rig_registered"),
    "one_at_a_time": ("agent_done", "bead_cancelled"),
    "review_live": ("bead_cancelled", "pr_status_changed"),
    "effect_unfinished": ("pr_merge_result",),
    "batch_live": ("triage_resolved", "agent_done", "bead_cancelled"),
    "triage_exhausted": ("triage_resolved",),
    "settling": (),
    "breaker_open": (),
    "terminal": ("bead_reopened",),
    "unreadable": (),
    "addressee_rests": ("agent_heartbeat",),
    "approval_missing": ("bead_reopened", "convoy_closed"),
    "landing_live": ("bead_cancelled", "pr_status_changed", "convoy_closed"),
    "landing_held": ("convoy_started", "convoy_closed"),
    "work_unfinished": ("bead_cancelled", "convoy_closed"),
    "no_work": ("bead_created", "convoy_closed"),
    "requests_ahead": ("triage_resolved",),
    "no_rig_at_all": ("rig_registered", "triage_resolved"),
    "bumps_used_up": ("escalation_acknowledged", "bead_cancelled"),
    "acknowledged": ("bead_cancelled",),
    "next_tick": (),
    "only_an_event": ("bead_cancelled",),
}
"""The events that end each hold or state directly, the usual one first; `needs` adds the events at the end of a chain.

A hold or state without an event ends by time, or when a person repairs a row.
"""

AT_WORK: Final = ("agent_done", "agent_completed")
"""The events that end the work on a bead."""

FAILED_ENDED_BY: Final = ("bead_reopened", "town_configured")
"""The events that end the wait for a failed bead: it is reopened, or the town proceeds without it."""

SETTING_OF: Final[Mapping[str, str]] = {
    "blocked_by": "on_failed_dependency",
    "rig_full": "max_polecats_per_rig",
    "untrusted_author": "refinery.trusted_authors",
    "awaiting_merge": "refinery.auto_merge",
}
"""The setting that ends each guard if it is changed. A budget that is spent names its own."""

POLLED_BY: Final = ("pr_polled", "pr_status_changed")
"""The events that end the wait for a pull request. The town polls by itself; a person may report the state earlier."""

OF_THE_TOWN: Final = frozenset({"town_started", "container_ready", "rig_registered", "town_configured"})
"""The events above that are not about one bead or agent."""


def senders_of(event_type: str) -> tuple[str, ...]:
    """Who may send an event, in order; empty if only the town itself makes it."""
    return tuple(sorted(BY_TYPE[event_type].senders))
