"""How the scenario tests speak of a tick: what it did as lines of text, what the outside answered, what waits in the outbox."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from shared.domain.report import TickReport
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from tests.towns import MS, TownBuilder, ago, event

Given = Callable[[TownBuilder], TownBuilder]
"""What is so in a town before its tick."""

_SAID = (
    "agent_id",
    "bead_id",
    "convoy_id",
    "rig_id",
    "subject",
    "tier",
    "triage_type",
    "event_name",
    "to",
    "closed_beads",
    "severity",
)
_WITH_RIG = ("create_landing_mr", "start_triage_batch")


def deeds(report: TickReport, *, of: str = "") -> list[str]:
    """Every action of a tick, of one rule or of one group of rules, in order, one line each.

    `agents.heartbeat_lost: transition_agent p idle`; what was not applied says why: `... (skipped: already)`.
    """
    return [
        f"{judged.rule}: {_shown(judged.action)}"
        + ("" if judged.outcome == "applied" else f" ({judged.outcome}: {judged.reason})")
        for judged in report.actions
        if judged.rule == of or judged.rule.startswith(f"{of}." if of else "")
    ]


def _shown(action: Any) -> str:
    said = [
        str(action[name]) for name in _SAID if action.get(name) and (name != "rig_id" or action["type"] in _WITH_RIG)
    ]
    return " ".join([action["type"], *said])


def outcomes(report: TickReport) -> list[tuple[str, str]]:
    """(type, outcome) of every event of a tick, in order."""
    return [(seen.event_type, seen.outcome) for seen in report.events]


def outbox(town: TownBuilder, kind: str | None = None) -> list[tuple[str, str, int, str]]:
    """(kind, subject, generation, state) of every effect, or of those of one kind, in order of creation."""
    return [
        row
        for row in town.rows("SELECT kind, subject, generation, state FROM outbox ORDER BY seq")
        if kind in (None, row[0])
    ]


def beat(agent: str, at: datetime, **payload: Any) -> Envelope:
    """A heartbeat, received at that time."""
    return event("agent_heartbeat", payload, agent=agent, at=at)


def answers(
    report: TickReport,
    at: datetime,
    *,
    starts: str = "started",
    reason: str = "no capacity",
    only: Iterable[str] | None = None,
) -> list[Envelope]:
    """The results of the effects that a tick claimed: everything succeeds, starts end as told."""
    found = []
    for effect in report.effects:
        if only is not None and effect.kind not in only:
            continue
        payload: dict[str, Any] = {"effect_id": effect.effect_id, "attempt": effect.attempt}
        kind, agent, bead = "effect_result", None, None
        if effect.kind == "dispatch_agent":
            kind, agent = "dispatch_result", effect.subject
            payload |= {"generation": effect.generation, "outcome": starts}
            payload |= {"process_id": f"process-{effect.generation}"} if starts == "started" else {"reason": reason}
        elif effect.kind == "stop_agent":
            kind, agent = "stop_result", effect.subject
            payload |= {"generation": effect.generation, "ok": True}
        elif effect.kind == "send_nudge":
            kind = "nudge_result"
            payload |= {"nudge_id": effect.subject, "delivered": True}
        elif effect.kind == "notify_mayor":
            kind = "mayor_notified"
            payload |= {"delivered": True}
        elif effect.kind == "poll_pr":
            kind, bead = "pr_polled", effect.subject
            payload |= {"ok": True, "state": "open", "head_sha": "abc", "mergeable_state": "blocked"}
        elif effect.kind == "verify_merge":
            kind, bead = "merge_verified", effect.subject
            payload |= {"contained": True, "sha": "abc"}
        else:
            payload |= {"kind": effect.kind, "ok": True}
        found.append(
            event(
                kind,
                payload,
                event_id=f"res-{effect.effect_id}-{effect.attempt}",
                agent=agent,
                bead=bead,
                at=at,
                source="effect",
            )
        )
    return found


def around(span: timedelta) -> list[tuple[timedelta, bool]]:
    """The boundary of a "more than" rule: 1 ms before it, exactly there, 1 ms after; only the last one acts."""
    return [(span - MS, False), (span, False), (span + MS, True)]


BOUNDARY = ["-1 ms", "exactly", "+1 ms"]


def as_usual(town: TownBuilder) -> TownBuilder:
    """Nothing special."""
    return town


def draining(town: TownBuilder) -> TownBuilder:
    """The town's container is being evicted."""
    return town.key("drain", {"nonce": "n", "started_at": to_text(ago(minutes=1))})


def settling(town: TownBuilder) -> TownBuilder:
    """Nobody looked at the town for four minutes; where somebody works, the next tick settles."""
    return town.key("last_tick_at", to_text(ago(minutes=4)))
