"""Every state, reason, event, action and effect in words, with its shape and its tone: for the page and for the terminal.

A state is always word, shape and tone together, never the tone alone. Blue (`work`) is what runs now; red (`fail`) and amber
(`attn`) stand only where something is lost or where a person can help.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Tone = Literal["wait", "work", "review", "done", "attn", "fail"]
Shape = Literal[
    "wait", "blocked", "time", "held", "work", "review", "done", "fail", "attn", "crash", "idle", "recover", "person"
]
Category = Literal["blocked", "refinery", "checks", "places", "time", "person", "forge"]


class Word(NamedTuple):
    """A state in words, with the shape and the tone that it has everywhere."""

    text: str
    shape: Shape
    tone: Tone


class Reason(NamedTuple):
    """Why a bead waits: in a few words, of which category, and whether a person can end it."""

    text: str
    category: Category
    shape: Shape


BEADS: Final[Mapping[str, Word]] = {
    "open": Word("Waits", "wait", "wait"),
    "in_progress": Word("In progress", "work", "work"),
    "in_review": Word("In review", "review", "review"),
    "closed": Word("Done", "done", "done"),
    "failed": Word("Failed", "fail", "fail"),
}
AGENTS: Final[Mapping[str, Word]] = {
    "idle": Word("Idle", "idle", "wait"),
    "working": Word("Works", "work", "work"),
    "stalled": Word("Stands still", "attn", "attn"),
    "waiting": Word("Waits for a message", "idle", "wait"),
    "dead": Word("Lost", "fail", "fail"),
    "exiting": Word("Ends", "recover", "work"),
}
CATEGORIES: Final[Mapping[Category, tuple[str, str]]] = {
    "blocked": ("blocked by a bead", "wait"),
    "refinery": ("for a review", "review"),
    "checks": ("for checks", "work"),
    "places": ("all places taken", "dark"),
    "time": ("by time", "hatch"),
    "person": ("for a person", "attn"),
    "forge": ("forge refuses", "fail"),
}
"""What each category is called, and the class of its bar, in the order of the fleet's bar."""

REASONS: Final[Mapping[str, Reason]] = {
    "blocked_by": Reason("blocked by a bead", "blocked", "blocked"),
    "failed_dependency": Reason("behind a failed bead", "person", "blocked"),
    "agent_working": Reason("for the work of others", "blocked", "blocked"),
    "cooldown": Reason("by time", "time", "time"),
    "draining": Reason("the container is replaced", "time", "time"),
    "settling": Reason("the town settles", "time", "time"),
    "breaker_open": Reason("the breaker is open", "time", "time"),
    "rate_limited": Reason("rate limited", "time", "time"),
    "behind_base": Reason("its branch is behind", "time", "time"),
    "awaiting_review": Reason("for a review", "refinery", "wait"),
    "awaiting_ci": Reason("for checks", "checks", "wait"),
    "in_merge_queue": Reason("in the merge queue", "checks", "wait"),
    "rig_full": Reason("all places taken", "places", "wait"),
    "awaiting_approval": Reason("for an approval", "person", "person"),
    "awaiting_merge": Reason("for a person to merge it", "person", "person"),
    "held": Reason("held", "person", "held"),
    "staged": Reason("its convoy is not started", "person", "held"),
    "convoy_over": Reason("its convoy is over", "person", "held"),
    "paused": Reason("the town is paused", "person", "held"),
    "budget_spent": Reason("the budget is spent", "person", "held"),
    "no_rig": Reason("no rig", "person", "person"),
    "missing_blocker": Reason("for a bead that does not exist", "person", "person"),
    "no_agent_program": Reason("no program for agents", "person", "person"),
    "wrong_repository": Reason("wrong repository", "person", "person"),
    "pr_mismatch": Reason("another pull request", "person", "person"),
    "untrusted_author": Reason("author not trusted", "person", "person"),
    "draft": Reason("a draft", "person", "person"),
    "changes_requested": Reason("changes requested", "person", "person"),
    "checks_unreadable": Reason("checks not readable", "person", "person"),
    "merge_refused": Reason("the merge is refused", "person", "person"),
    "merge_unproven": Reason("the merge is not proven", "person", "person"),
    "forge_denied": Reason("the forge refuses the token", "forge", "fail"),
    "forge_down": Reason("the forge is down", "forge", "fail"),
    "forge_unreadable": Reason("the forge cannot be understood", "forge", "fail"),
}
EVENTS: Final[Mapping[str, str]] = {
    "agent_checkpoint": "{agent} saved a checkpoint",
    "agent_completed": "The process of {agent} has ended",
    "agent_done": "{agent} reports {bead} done",
    "agent_heartbeat": "{agent} is alive",
    "agent_nudged": "{agent} was nudged",
    "agent_reset": "{agent} was reset",
    "agent_status": "{agent} says what it does",
    "agent_usage": "{agent} reports its usage",
    "bead_cancelled": "{bead} was cancelled",
    "bead_created": "{bead} was filed",
    "bead_reopened": "{bead} was reopened",
    "bead_updated": "{bead} was changed",
    "branch_updated": "The branch of {bead} was brought up to date",
    "changes_requested": "Changes were requested on {bead}",
    "container_eviction": "The container will be replaced",
    "container_ready": "The container is ready",
    "container_status": "The state of the processes was reported",
    "convoy_changed": "{bead} was changed",
    "convoy_closed": "{bead} was closed",
    "convoy_created": "A convoy was filed",
    "convoy_started": "{bead} was started",
    "dispatch_result": "The start of {agent} was answered",
    "effect_result": "An effect was answered",
    "escalation_acknowledged": "{bead} was acknowledged",
    "escalation_raised": "A person was asked for help",
    "mail_sent": "A message was sent",
    "mayor_notified": "The mayor was told",
    "mayor_said": "The mayor said something",
    "mayor_waiting": "The mayor has nothing more to do",
    "merge_verified": "The merge of {bead} was checked",
    "nudge_acknowledged": "{agent} has read its nudge",
    "nudge_result": "The nudge of {agent} was answered",
    "nudge_timeout": "The nudge of {agent} was not answered",
    "pr_adopted": "The pull request of {bead} was adopted",
    "pr_auto_merge": "{bead} may merge by itself",
    "pr_conflict_detected": "{bead} has conflicts",
    "pr_dequeued": "{bead} left the merge queue",
    "pr_feedback_detected": "{bead} has feedback",
    "pr_merge_result": "The merge of {bead} was answered",
    "pr_polled": "The pull request of {bead} was read",
    "pr_status_changed": "The pull request of {bead} changed",
    "review_requested": "A review of {bead} was requested",
    "rig_registered": "A rig was registered",
    "stop_result": "The stop of {agent} was answered",
    "town_configured": "Settings were changed",
    "rig_removed": "A rig was removed",
    "bead_deleted": "{bead} was deleted",
    "town_paused": "The town was paused",
    "town_started": "The town was started",
    "town_brought_back": "The archived town was brought back",
    "triage_resolved": "{bead} was resolved",
}
"""Each event as a sentence. `{agent}` and `{bead}` are the names of what it is about."""

ACTIONS: Final[Mapping[str, str]] = {
    "transition_bead": "{bead}: {change}",
    "assign_bead": "{bead} goes to {agent}",
    "clear_bead_assignee": "{bead} has no assignee any more",
    "create_mr_bead": "A review of {bead} is filed",
    "create_landing_mr": "The landing of {bead} is filed",
    "close_sibling_mrs": "Other reviews of {bead} are closed",
    "set_review_pr_url": "{bead} has a pull request",
    "transition_agent": "{agent}: {change}",
    "reset_agent_dispatch_attempts": "The tries of {agent} are counted anew",
    "hook_agent": "{agent} takes {bead}",
    "unhook_agent": "{agent} is taken off its bead",
    "clear_agent_checkpoint": "The checkpoint of {agent} is cleared",
    "delete_agent": "{agent} is forgotten",
    "update_convoy_progress": "The progress of {bead} is counted",
    "set_convoy_ready_to_land": "{bead} is ready to land",
    "close_convoy": "{bead} is closed",
    "fail_convoy": "{bead} fails",
    "create_triage_request": "Help is asked for {agent}",
    "escalate_triage": "A person is asked to decide",
    "emit_event": "A notice is sent",
    "bump_escalation": "{bead} becomes more severe",
    "raise_escalation": "A person is told about {bead}",
    "close_escalation": "{bead} is closed",
    "escalate_review_cap": "A person is told about {bead}",
    "warn_of_budget": "A person is warned of the budget",
    "mark_budget": "The budget of {bead} is marked",
    "expire_nudge": "A nudge expires",
    "dispatch_agent": "An agent is started for {bead}",
    "start_triage_batch": "A triage batch starts",
    "stop_agent": "{agent} is stopped",
    "poll_pr": "The pull request of {bead} is looked at",
    "merge_pr": "{bead} is merged",
    "verify_merge": "The merge of {bead} is checked",
    "update_branch": "The branch of {bead} is brought up to date",
    "dequeue": "{bead} leaves the merge queue",
    "request_review": "A review of {bead} is requested",
    "send_nudge": "{agent} is nudged",
    "notify_mayor": "The mayor is told",
    "refresh_container_token": "The container's token is refreshed",
    "stop_container": "The container is stopped",
    "update_agent_model": "{agent} gets another model",
}
"""Each action as a sentence, in the same form. `{change}` is a change of status."""

EFFECTS: Final[Mapping[str, str]] = {
    "dispatch_agent": "Start {agent}",
    "stop_agent": "Stop {agent}",
    "poll_pr": "Look at the pull request of {bead}",
    "merge_pr": "Merge {bead}",
    "verify_merge": "Check the merge of {bead}",
    "update_branch": "Update the branch of {bead}",
    "dequeue": "Take {bead} out of the merge queue",
    "request_review": "Request a review of {bead}",
    "send_nudge": "Nudge {agent}",
    "notify_mayor": "Tell the mayor",
    "refresh_token": "Refresh the container's token",
    "stop_container": "Stop the container",
    "send_notice": "Tell people",
    "update_model": "Change the model of {agent}",
}
STATUS: Final[Mapping[str, str]] = {
    "open": "open",
    "in_progress": "in progress",
    "in_review": "in review",
    "closed": "done",
    "failed": "failed",
    "idle": "idle",
    "working": "at work",
    "stalled": "standing still",
    "dead": "lost",
}
SENDERS: Final[Mapping[str, str]] = {
    "agent": "the agent",
    "container": "the container",
    "coordinator": "the mayor",
    "operator": "you",
    "reviewer": "a reviewer",
    "forge": "the forge",
    "refinery": "the refinery",
}


def bead_word(status: str) -> Word:
    """The word of a bead's status; an unknown status is shown as it is."""
    return BEADS.get(status, Word(status, "wait", "wait"))


def agent_word(status: str) -> Word:
    """The word of an agent's status."""
    return AGENTS.get(status, Word(status, "idle", "wait"))


_UNKNOWN: Final[Mapping[str, str]] = {
    "never_made": "history never did this",
    "other_order": "history did it with another order",
    "other_past": "something else was done before on its branch or pull request",
    "reported_before": "in history its agent had reported before the changed town started it",
    "stopped": "history stopped its agent, the changed town did not",
}


def why_unknown(why: str) -> str:
    """Why history does not know the result of an effect of a what-if."""
    return _UNKNOWN.get(why, why.replace("_", " "))


def reason_word(reason: str | None) -> Reason:
    """The words of a waiting reason."""
    return REASONS.get(reason or "", Reason((reason or "waits").replace("_", " "), "time", "wait"))


def needs_person(reason: str | None) -> bool:
    """Whether only a person can end such a wait."""
    return reason_word(reason).category in ("person", "forge")


def quantity(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 bead`, `2 beads`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def sentence(text: str) -> str:
    """A reason as a sentence: it begins with a capital letter and ends with a full stop."""
    return f"{text[:1].upper()}{text[1:]}" + ("" if text[-1:] in ".!?…" else ".")
