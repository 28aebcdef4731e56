"""Every rule of a town, in the order in which the rules run: the table of contents of the reconciler.

A rule sees the state as it was before any action of its pass, and never writes. The order matters: of two conflicting actions
the first one wins. B2 runs before B1, so that a hooked agent keeps its place in the rig; R4 runs before R1.
"""

from typing import Final

from shared.rules import agents, beads, breaker, convoys, garbage, housekeeping, liveness, merging, reviews, voices
from shared.rules.base import Rule

RULES: Final = (
    Rule("A1", agents.heartbeat_never_seen),
    Rule("A2", agents.heartbeat_lost),
    Rule("A3", agents.release_hookless_worker),
    Rule("A4", agents.retire_stalled),
    Rule("A5", agents.cool_down_attempts),
    Rule("A6", agents.drop_dangling_hook),
    Rule("A7", agents.drop_finished_hook),
    Rule("A8", agents.recover_silent_hook),
    Rule("A9", agents.keep_review_hook),
    Rule("A10", agents.release_finished_work),
    Rule("CB", breaker.dispatch_failures),
    Rule("B2", beads.redispatch_hooked),
    Rule("B1", beads.dispatch_ready),
    Rule("B1b", beads.clear_stale_assignee),
    Rule("B3", beads.reopen_lost),
    Rule("B4", beads.settle_reviewed),
    Rule("B5", beads.report_failed_blocker),
    Rule("B-end", breaker.announce),
    Rule("R4", reviews.fail_orphaned),
    Rule("R1", reviews.poll_pull_request),
    Rule("R1m", reviews.merge_pull_request),
    Rule("R1u", merging.update_branch),
    Rule("R1q", merging.leave_queue),
    Rule("R1v", merging.ask_reviewers),
    Rule("R2", reviews.reopen_stuck),
    Rule("R3", reviews.reopen_abandoned),
    Rule("R-ft", reviews.fast_track),
    Rule("R-or", reviews.reject_unreviewable),
    Rule("R-bs", reviews.start_babysitting),
    Rule("R7", reviews.release_finished_refinery),
    Rule("R5", reviews.dispatch_refinery),
    Rule("R6", reviews.redispatch_refinery),
    Rule("C1", convoys.record_progress),
    Rule("C2", convoys.wait_for_work),
    Rule("C2f", convoys.fail_without_success),
    Rule("C3", convoys.close),
    Rule("C4", convoys.mark_ready_to_land),
    Rule("C5", convoys.land),
    Rule("C6", convoys.wait_for_landing),
    Rule("C6h", convoys.hold_landing),
    Rule("C7", convoys.hold_for_approval),
    Rule("C8", convoys.fail_exhausted),
    Rule("C9", convoys.cool_down_landing),
    Rule("C10", convoys.create_landing),
    Rule("G3", liveness.force_stop),
    Rule("G2", liveness.escalate),
    Rule("G1", liveness.warn),
    Rule("GC", garbage.forget_idle_agent),
    Rule("H1", housekeeping.bump_escalation),
    Rule("H2", housekeeping.dispatch_triage),
    Rule("H3", housekeeping.expire_nudge),
    Rule("H4", housekeeping.deliver_mail),
    Rule("H5", housekeeping.refresh_token),
    Rule("H6", housekeeping.stop_idle_container),
    Rule("V1", voices.raise_overdue),
    Rule("V2", voices.close_ended),
)
