"""The sentence for each wait, hold and state that can hold a bead or agent back."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from shared.domain import limits
from shared.domain.obstacles import Obstacle
from shared.domain.states import Label
from shared.domain.times import span_text
from shared.questions.reasons import OF_HOLD, OF_STATE, OF_WAIT, State
from shared.questions.relaxed import Hold
from shared.questions.waiting import WaitingReason
from shared.rules.base import Wait

WAITS: Final[Mapping[Wait, str]] = {
    "attempts_cool_down": "its attempts are reset after {ATTEMPTS_COOL_DOWN} without activity",
    "backoff": "it was dispatched recently; the next attempt waits for its backoff",
    "bead_lost": "no agent is hooked to it; the agent that worked on it has {BEAD_LOST_AFTER} to report it done",
    "breaker_open": "too many beads failed to start",
    "budget_spent": "the town's budget of this day is spent: nothing is started until the next day (UTC), or until the setting "
    "budget.per_day is raised",
    "dequeue_again": "it leaves the merge queue; a failed call is repeated after {DEQUEUE_AGAIN_AFTER} or more",
    "escalation_bump": "its severity rises every {ESCALATION_BUMP} until somebody acknowledges it",
    "forge_backoff": "its pull request could not be read; the next poll waits up to {FORGE_BACKOFF_AT_MOST}",
    "forgetting": "an idle agent is deleted after {AGENT_FORGET_AFTER} without activity",
    "heartbeat": "the agent's last heartbeat is at most {HEARTBEAT_LOST_AFTER} old",
    "landing_cooldown": "the next landing attempt waits for its cooldown",
    "mail_again": "its delivery was not confirmed; it is requested again after {MAIL_AGAIN_AFTER}, then every {MAIL_AGAIN_LATER}",
    "mayor_idle": "the mayor was active, or the container was stopped, too recently",
    "merge_look": "the target branch is checked again after {MERGE_LOOK_INTERVAL}, and later if it cannot be checked",
    "no_agent_program": "no agent can work: its program, its key or its model is missing or not available; it is tried again, at "
    "the latest after {NO_PROGRAM_AT_MOST}",
    "nobody_told": "a person is told after {OBSTACLE_VOICED_AFTER}, and after {STANDSTILL_VOICED_AFTER} of an agent "
    "or reviews that stand still",
    "nudge_life": "the nudge has not expired",
    "nudge_window": "it was nudged less than {NUDGE_WINDOW} ago",
    "owner_beats": "the agent that worked on it still sends heartbeats",
    "poll_turn": "one tick polls at most {POLLS_PER_TICK} pull requests, and others have waited longer",
    "poll_interval": "its pull request is polled every {PR_POLL_INTERVAL}, and every {PR_POLL_INTERVAL_LATER} without news for "
    "{PR_QUIET_AFTER}",
    "progress": "the agent has made progress recently",
    "rate_limited": "the forge's rate limit is still in force",
    "review_abandoned": "no agent is hooked to it; it is reopened after {REVIEW_ABANDONED_AFTER}",
    "review_recovery": "its reviews have ended; unless a report comes first, it is closed or reopened in {REVIEW_RECOVERY_AFTER}",
    "review_stuck": "its refinery is dead; the review is reopened after {REVIEW_STUCK_AFTER}",
    "stalled": "the agent has stalled; it is unhooked after {STALLED_IDLE_AFTER}",
    "token_fresh": "the token is less than {TOKEN_REFRESH} old",
    "triage_backoff": "the next triage batch waits for its backoff",
    "update_turn": "another pull request of its base goes first; its checks may take {BRANCH_UPDATE_CHECKS_FOR}",
}
"""What each wait means. A name in braces stands for the limit of that name, so that no text repeats its value."""

HELD: Final[Mapping[Hold, str]] = {
    "paused": "the town is paused: no rule acts until the event town_started",
    "settling": "the town is settling after an outage or a restore: time-based recovery waits for fresh heartbeats",
    "draining": "the container is draining: nothing is dispatched",
    "breaker_open": "the dispatch breaker is open: too many beads failed to start within {BREAKER_WINDOW}",
    "blocked_by": "it waits for another bead",
    "missing_blocker": "it depends on a bead that does not exist",
    "held": f"it has the label {Label.HELD}",
    "staged": "its convoy is staged and has not been started",
    "convoy_over": "its convoy is closed or failed: it must be reopened, or the bead taken out of it",
    "no_rig": "it does not belong to a rig",
    "budget_spent": "the budget of its task or convoy is spent",
    "rig_full": "its rig has the maximum number of working polecats",
    "one_at_a_time": "the refinery of its rig works on one review at a time",
    "review_live": "its review has not ended",
    "effect_unfinished": "the forge has not answered the last call about its pull request",
    "batch_live": "a triage batch is already in progress",
    "triage_exhausted": "{TRIAGE_FRUITLESS_LIMIT} triage batches brought no answer: a person must decide",
}
"""What each hold means, in the same form."""

STATES: Final[Mapping[State, str]] = {
    "terminal": "it is closed or failed: no rule acts on it",
    "unreadable": "its row cannot be read: every rule skips it until a person repairs it",
    "addressee_rests": "it is delivered as soon as its addressee is working",
    "approval_missing": "its landing waits for a person's approval",
    "landing_live": "its landing is being reviewed",
    "landing_held": "its landing was cancelled or ended: it does not land until the event convoy_started",
    "review_live": "a review of its work has not ended",
    "work_unfinished": "not all of its beads are done",
    "no_work": "it tracks no bead",
    "requests_ahead": "a triage batch takes at most {TRIAGE_BATCH_SIZE} requests, and others come first",
    "no_rig_at_all": "a triage batch works in a rig, and the town has none",
    "bumps_used_up": "its severity is not raised any more: a person must decide",
    "acknowledged": "a person has acknowledged it: it stays open until somebody cancels it",
    "next_tick": "nothing holds it back: the next tick acts",
    "only_an_event": "no rule will act on it: it needs an event",
}
"""What each state means, in the same form."""

OBSTACLES: Final[Mapping[Obstacle, str]] = {
    "forge_denied": "the forge does not let the town read its pull request",
    "forge_down": "the forge cannot be reached",
    "forge_unreadable": "the answers of the forge cannot be understood",
    "wrong_repository": "its pull request or its rig is at another repository than before",
    "pr_mismatch": "its pull request is not the one that was agreed",
    "untrusted_author": "its author is not one of the trusted authors: an operator must vouch for it with the event pr_adopted",
    "draft": "its pull request is a draft: a person must mark it as ready",
    "changes_requested": "a reviewer requested changes and has not approved since",
    "checks_unreadable": "the token may not read its checks",
    "in_merge_queue": "it is in the merge queue of its base branch",
    "behind_base": "its branch must be brought up to date with its base; one pull request at a time",
    "merge_refused": "the forge refuses to merge it",
    "merge_unproven": "it was reported as merged, and the target branch has not been seen to contain it",
    "awaiting_merge": "it is green, and a person merges it",
}
"""What each obstacle of a pull request means. The note on the MR says more."""

_LIMIT_NAME: Final = re.compile(r"\{(\w+)\}")


def wait_text(wait: Wait) -> str:
    """What a wait means, in a sentence."""
    return _with_limits(WAITS[wait])


def released_text(ended: str) -> str:
    """What follows from the end of an agent's process, in a sentence that begins with how it ended."""
    after = span_text(limits.HEARTBEAT_LOST_AFTER)
    return f"{ended}; its bead is released when its last sign of life is more than {after} old"


def hold_text(hold: Hold) -> str:
    """What a hold means, in a sentence."""
    return _with_limits(HELD[hold])


def state_text(state: State) -> str:
    """What a state means, in a sentence."""
    return _with_limits(STATES[state])


def obstacle_text(obstacle: Obstacle, detail: str | None) -> str:
    """What an obstacle means, in a sentence, with what is known about this one."""
    return OBSTACLES[obstacle] if detail is None else f"{OBSTACLES[obstacle]} ({detail})"


def meanings_of(reason: WaitingReason) -> dict[str, str]:
    """What can hold a bead back for this reason: the guards that have it, with the sentence of each."""
    if reason == "failed_dependency":
        return {"blocked_by": "a bead that it waits for has failed"}
    found: dict[str, str] = {hold: hold_text(hold) for hold, its in OF_HOLD.items() if its == reason}
    found |= {wait: wait_text(wait) for wait, its in OF_WAIT.items() if its == reason and wait not in found}
    found |= {state: state_text(state) for state, its in OF_STATE.items() if its == reason and state not in found}
    return found | {each: obstacle_text(each, None) for each in OBSTACLES if each == reason}


def _with_limits(text: str) -> str:
    return _LIMIT_NAME.sub(lambda found: _limit_text(getattr(limits, found[1])), text)


def _limit_text(limit: timedelta | int) -> str:
    return span_text(limit) if isinstance(limit, timedelta) else str(limit)
