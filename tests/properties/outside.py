"""What the outside does: how it answers the effects of a tick, and how agents behave while time passes.

`Answers` says one word for each kind of effect; `BEHAVIOURS` has one word for all agents that are at work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from shared.domain.processes import ProcessState, ProcessStatus, SignOfLife
from shared.domain.report import ClaimedEffect
from shared.domain.times import to_text
from tests.properties.facts import Fact
from tests.properties.views import AgentRow, Agreed, EffectRow, View

GREEN: Final = {
    "has_unresolved_comments": False,
    "has_failing_checks": False,
    "has_unchecked_runs": False,
    "all_checks_pass": True,
    "awaiting_approval": False,
    "changes_requested": False,
}

_GREEN_HEAD: Final = {"ok": True, "state": "open", "head_sha": "h1", "mergeable_state": "clean", "feedback": GREEN}

POLLS: Final[dict[str, dict[str, Any] | None]] = {
    "green": _GREEN_HEAD,
    "comments": {
        "ok": True,
        "state": "open",
        "head_sha": "h2",
        "mergeable_state": "blocked",
        "feedback": {**GREEN, "has_unresolved_comments": True},
    },
    "approval": {
        "ok": True,
        "state": "open",
        "mergeable_state": "blocked",
        "feedback": {**GREEN, "awaiting_approval": True, "review_decision": "REVIEW_REQUIRED"},
    },
    "dirty": {"ok": True, "state": "open", "head_sha": "h1", "mergeable_state": "dirty"},
    "unknown": {"ok": True, "state": "open", "head_sha": "h1", "mergeable_state": "unknown"},
    "merged": {"ok": True, "state": "merged", "sha": "m1"},
    "stranger": _GREEN_HEAD,
    "fork": _GREEN_HEAD,
    "wrong_base": _GREEN_HEAD,
    "draft": _GREEN_HEAD,
    "behind": {**_GREEN_HEAD, "is_behind": True, "mergeable_state": "behind"},
    "in_queue": {**_GREEN_HEAD, "has_queue": True, "in_queue": True, "queue_position": 1},
    "changes": {
        **_GREEN_HEAD,
        "mergeable_state": "blocked",
        "feedback": {**GREEN, "changes_requested": True, "change_requests": [{"id": "r1", "author": "a person"}]},
    },
    "closed": {"ok": True, "state": "closed"},
    "limited": {"ok": False, "error": {"kind": "rate_limited", "http_status": 429, "message": "slow down"}},
    "transient": {"ok": False, "error": {"kind": "transient", "http_status": 503, "message": "try later"}},
    "invalid": {"ok": False, "error": {"kind": "invalid_response", "message": "no JSON"}},
    "changes again": {
        **_GREEN_HEAD,
        "head_sha": "h2",
        "mergeable_state": "blocked",
        "feedback": {**GREEN, "changes_requested": True, "change_requests": [{"id": "r1", "author": "a person"}]},
    },
    "denied": {"ok": False, "error": {"kind": "http", "http_status": 403, "message": "no"}},
    "no_token": {"ok": False, "error": {"kind": "no_token", "message": "no token"}},
    "never": None,
}
STRANGE: Final[dict[str, dict[str, Any]]] = {
    "stranger": {"head_branch": "a-stranger-s"},
    "fork": {"head_repository": {"id": "a-fork"}},
    "wrong_base": {"base_branch": "release"},
    "draft": {"draft": True},
}
"""What is not as agreed about the pull request that a poll sees."""
STARTS: Final = ("started", "rejected", "unknown", "never", "late")
MERGES: Final = ("merged", "queued", "refused", "transient", "never")
CALLS: Final = ("ok", "passing", "failed", "never")
"""Answers to everything else: done, failed for now, failed for good, none at all."""


@dataclass(frozen=True)
class Answers:
    """How the outside answers for a while."""

    start: str = "started"
    poll: str = "green"
    merge: str = "merged"
    call: str = "ok"

    def to(self, effect: ClaimedEffect | EffectRow, town: View) -> tuple[timedelta, str, Fact] | None:
        """Delay, event type and fact; None if no answer ever comes."""
        if effect.kind == "dispatch_agent":
            return self._start(effect)
        if effect.kind == "poll_pr":
            return self._poll(effect, town)
        if effect.kind == "merge_pr":
            return self._merge(effect)
        if effect.kind == "verify_merge":
            return self._verify(effect)
        if effect.kind in ("update_branch", "dequeue", "request_review"):
            return self._change(effect)
        return self._call(effect)

    def _start(self, effect: ClaimedEffect | EffectRow) -> tuple[timedelta, str, Fact] | None:
        if self.start == "never":
            return None
        delay = timedelta(seconds=100) if self.start == "late" else timedelta(seconds=1)
        outcome = "started" if self.start == "late" else self.start
        payload = {"generation": effect.generation, "outcome": outcome, "reason": "no capacity"}
        return delay, "dispatch_result", Fact({**_attempt(effect), **payload}, effect.subject)

    def _poll(self, effect: ClaimedEffect | EffectRow, town: View) -> tuple[timedelta, str, Fact] | None:
        answer = POLLS[self.poll]
        if answer is None:
            return None
        if self.poll == "limited":
            retry_at = to_text(town.now + timedelta(minutes=3))
            answer = {**answer, "error": {**answer["error"], "retry_at": retry_at}}
        agreed = town.agreed(effect.subject) if answer["ok"] else None
        if agreed is not None:
            answer = {**answer, **_identity(agreed, strange=STRANGE.get(self.poll, {}))}
        return timedelta(seconds=1), "pr_polled", Fact({**_attempt(effect), **answer}, bead=effect.subject)

    def _merge(self, effect: ClaimedEffect | EffectRow) -> tuple[timedelta, str, Fact] | None:
        payload: dict[str, Any] = {"merged": self.merge == "merged"}
        if self.merge == "never":
            return None
        if self.merge == "merged":
            payload["sha"] = "m1"
        elif self.merge == "queued":
            payload["queued"] = True
        elif self.merge == "refused":
            payload |= {"reason": "the head moved", "refusal": "other"}
        else:
            payload["error"] = {"kind": "transient", "message": "try later"}
        return timedelta(seconds=2), "pr_merge_result", Fact({**_attempt(effect), **payload}, bead=effect.subject)

    def _verify(self, effect: ClaimedEffect | EffectRow) -> tuple[timedelta, str, Fact] | None:
        payload: dict[str, Any] = {"contained": self.merge == "merged", "sha": "m1"}
        if self.merge == "never":
            return None
        if self.merge not in ("merged", "refused"):
            payload = {"error": {"kind": "transient", "message": "try later"}}
        return timedelta(seconds=2), "merge_verified", Fact({**_attempt(effect), **payload}, bead=effect.subject)

    def _change(self, effect: ClaimedEffect | EffectRow) -> tuple[timedelta, str, Fact] | None:
        """The answer to the other changes of a pull request: as to a merge."""
        if self.merge == "never":
            return None
        well = self.merge in ("merged", "queued")
        error = (
            {} if well else {"error": {"kind": "transient" if self.merge == "transient" else "http", "message": "no"}}
        )
        event_type = {"update_branch": "branch_updated", "dequeue": "pr_dequeued"}.get(effect.kind, "review_requested")
        done: dict[str, Any] = {"ok": well}
        if effect.kind == "update_branch":
            done = {"outcome": "updated"} if well else {}
        return timedelta(seconds=2), event_type, Fact({**_attempt(effect), **done, **error}, bead=effect.subject)

    def _call(self, effect: ClaimedEffect | EffectRow) -> tuple[timedelta, str, Fact] | None:
        if self.call == "never":
            return None
        done = {} if self.call == "ok" else {"error": "no answer", "passing": self.call == "passing"}
        ok = self.call == "ok"
        fact = {
            "stop_agent": ("stop_result", Fact({"ok": ok, "generation": max(effect.generation, 1)}, effect.subject)),
            "send_nudge": ("nudge_result", Fact({"delivered": ok, "nudge_id": effect.subject})),
            "notify_mayor": ("mayor_notified", Fact({"delivered": ok})),
        }.get(effect.kind, ("effect_result", Fact({"ok": ok, "kind": effect.kind})))
        event_type, (payload, agent, bead) = fact
        return timedelta(seconds=1), event_type, Fact({**_attempt(effect), **done, **payload}, agent, bead)


def _identity(agreed: Agreed, *, strange: Mapping[str, Any]) -> dict[str, Any]:
    """Whose the pull request is: the agreed one, but for what is strange about it."""
    own = {"id": agreed.repository}
    identity = {
        "head_repository": own,
        "head_branch": agreed.head,
        "base_repository": own,
        "base_branch": agreed.base,
        "author": "toast",
    }
    return {"identity": {**identity, **strange}, "rig_repository": own}


def _attempt(effect: ClaimedEffect | EffectRow) -> dict[str, Any]:
    if isinstance(effect, ClaimedEffect):
        return {"effect_id": effect.effect_id, "attempt": effect.attempt}
    return {"effect_id": effect.id, "attempt": max(effect.attempts, 1)}


RESULTS: Final = (
    "dispatch_result",
    "stop_result",
    "pr_polled",
    "pr_merge_result",
    "merge_verified",
    "branch_updated",
    "pr_dequeued",
    "review_requested",
    "nudge_result",
    "mayor_notified",
    "effect_result",
)

BEHAVIOURS: Final = (
    "beat",
    "progress",
    "tools",
    "silent",
    "exited",
    "not_found",
    "stopped",
    "done",
    "pull_request",
    "failed",
    "completed",
    "evicted",
    "changes",
)
"""What all agents at work do in a while; `beat` and `tools` are alive without progress."""

_SEEN: Final[dict[str, ProcessState]] = {
    "silent": "unknown",
    "exited": "exited",
    "not_found": "not_found",
    "stopped": "stopped",
}


def facts_of(behaviour: str, town: View) -> list[tuple[str, Fact]]:
    """What the agents at work report."""
    return [each for agent in town.at_work() for each in _reports(behaviour, agent, town)]


def seen_of(behaviour: str, town: View) -> dict[str, ProcessStatus]:
    """What the runtime says of their processes. Of those that make progress, it also says that they do."""
    state = _SEEN.get(behaviour, "running")
    at = to_text(town.now)
    sign = SignOfLife(at, "tool", at, ("bash",), "c-1") if behaviour in ("progress", "changes") else None
    return {agent.id: ProcessStatus(state, None, agent.generation or None, sign) for agent in town.at_work()}


def _reports(behaviour: str, agent: AgentRow, town: View) -> list[tuple[str, Fact]]:
    generation = {"generation": max(agent.generation, 1)}
    beat = ("agent_heartbeat", Fact({**generation, "container_instance_id": "c-1"}, agent.id))
    if behaviour in _SEEN:
        return []
    if behaviour == "progress":
        event = {"last_event_type": "tool", "last_event_at": to_text(town.now), "active_tools": []}
        return [("agent_heartbeat", Fact({**generation, **event}, agent.id))]
    if behaviour == "tools":
        return [("agent_heartbeat", Fact({**generation, "active_tools": ["bash"]}, agent.id))]
    if behaviour == "beat" or agent.role == "mayor":
        return [beat]
    if behaviour in ("failed", "completed", "evicted"):
        status = "failed" if behaviour == "failed" else "completed"
        reason = "container eviction" if behaviour == "evicted" else "over"
        return [("agent_completed", Fact({**generation, "status": status, "reason": reason}, agent.id))]
    done = {**generation, "branch": town.branch_of(agent), "head": "h1"}
    if behaviour == "pull_request":
        return [("agent_done", Fact({**done, "pr_url": town.pr_url_of(agent)}, agent.id))]
    if behaviour == "changes" and agent.role == "refinery":
        asked = ("changes_requested", Fact({**generation, "feedback": "tests are missing"}, agent.id))
        return [asked, ("agent_done", Fact(done, agent.id))]
    return [beat] if behaviour == "changes" else [("agent_done", Fact(done, agent.id))]
