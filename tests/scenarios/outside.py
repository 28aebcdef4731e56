"""What the outside answers to the effects of a town, as the worker posts it: events of source `effect`.

`answer(town, "poll_pr", ok=True, state="merged")` answers the newest effect of that kind in its present attempt.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from shared.domain.report import TickReport
from shared.domain.states import EffectKind
from shared.domain.tick import Envelope
from tests.towns import T, TownBuilder, event, types_of

PR: Final = "https://github.com/acme/main-rig/pull/7"
"""A pull request of the repository of rig-1."""

GREEN: Final[dict[str, Any]] = {
    "has_unresolved_comments": False,
    "has_failing_checks": False,
    "has_unchecked_runs": False,
    "all_checks_pass": True,
    "awaiting_approval": False,
    "changes_requested": False,
}
COMMENTS: Final = {**GREEN, "has_unresolved_comments": True}
FAILING: Final = {**GREEN, "has_failing_checks": True, "all_checks_pass": False}
AWAITING: Final = {**GREEN, "awaiting_approval": True}

DIRTY: Final[dict[str, Any]] = {"ok": True, "state": "open", "head_sha": "sha-1", "mergeable_state": "dirty"}
CLEAN: Final[dict[str, Any]] = {**DIRTY, "mergeable_state": "clean"}

_RESULT: Final = {
    EffectKind.DISPATCH_AGENT: "dispatch_result",
    EffectKind.STOP_AGENT: "stop_result",
    EffectKind.POLL_PR: "pr_polled",
    EffectKind.MERGE_PR: "pr_merge_result",
    EffectKind.VERIFY_MERGE: "merge_verified",
    EffectKind.UPDATE_BRANCH: "branch_updated",
    EffectKind.DEQUEUE: "pr_dequeued",
    EffectKind.REQUEST_REVIEW: "review_requested",
    EffectKind.SEND_NUDGE: "nudge_result",
    EffectKind.NOTIFY_MAYOR: "mayor_notified",
    EffectKind.REFRESH_TOKEN: "effect_result",
    EffectKind.STOP_CONTAINER: "effect_result",
    EffectKind.UPDATE_MODEL: "effect_result",
    EffectKind.SEND_NOTICE: "effect_result",
}


def effects(town: TownBuilder, kind: str, subject: str | None = None) -> list[tuple[str, str, int]]:
    """State, subject and attempts of every effect of a kind, in order of creation."""
    return town.rows(
        "SELECT state, subject, attempts FROM outbox WHERE kind = ? AND (? IS NULL OR subject = ?) ORDER BY seq",
        kind,
        subject,
        subject,
    )


def answer(town: TownBuilder, kind: str, subject: str | None = None, *, at: datetime = T, **result: Any) -> Envelope:
    """The result of the newest effect of a kind, about one subject if it is given."""
    effect_id, about, generation, attempt = town.rows(
        "SELECT effect_id, subject, generation, attempts FROM outbox "
        "WHERE kind = ? AND (? IS NULL OR subject = ?) ORDER BY seq DESC LIMIT 1",
        kind,
        subject,
        subject,
    )[0]
    of_agent = kind in ("dispatch_agent", "stop_agent")
    of_review = kind in ("poll_pr", "merge_pr", "verify_merge", "update_branch", "dequeue", "request_review")
    known: dict[str, Any] = {"effect_id": effect_id, "attempt": attempt}
    if of_agent:
        known["generation"] = generation
    if kind == "send_nudge":
        known["nudge_id"] = about
    return event(
        _RESULT[EffectKind(kind)],
        {**known, **result},
        event_id=f"res-{effect_id}-{attempt}",
        agent=about if of_agent else None,
        bead=about if of_review else None,
        at=at,
        source="effect",
    )


@dataclass
class Polling:
    """A town whose merge request `m` is polled every minute, and what each poll is answered with."""

    town: TownBuilder
    at: datetime = T
    every: timedelta = timedelta(seconds=60)
    answered: list[TickReport] = field(default_factory=list)

    def sees(self, **seen: Any) -> TickReport:
        """One poll: a tick asks, the next one, five seconds later, has the answer; its report."""
        asked = self.town.tick(at=self.at)
        assert types_of(asked, rule="reviews.poll_pull_request") == ["poll_pr"]
        at = self.at + timedelta(seconds=5)
        report = self.town.tick(answer(self.town, "poll_pr", "m", at=at, **seen), at=at)
        self.answered.append(report)
        self.at += self.every
        return report

    def fails(self, kind: str, **more: Any) -> TickReport:
        """One poll that brings no answer."""
        return self.sees(ok=False, error={"kind": kind, "message": "it said no", **more})


def outcomes_of(report: TickReport, event_type: str) -> list[str]:
    """What became of the events of a type, in order."""
    return [seen.outcome for seen in report.events if seen.event_type == event_type]


def audits(town: TownBuilder, bead_id: str, event_type: str) -> list[tuple[str | None, str | None]]:
    """Old and new value of a bead's audit rows of a type, in order."""
    return town.rows(
        "SELECT old_value, new_value FROM bead_events WHERE bead_id = ? AND event_type = ? ORDER BY seq",
        bead_id,
        event_type,
    )


def beads_labelled(town: TownBuilder, label: str) -> list[tuple[str, str]]:
    """Id and status of every bead with a label, in order of creation."""
    return town.rows(
        "SELECT bead_id, status FROM beads WHERE EXISTS (SELECT 1 FROM json_each(labels) l WHERE l.value = ?) "
        "ORDER BY created_at, bead_id",
        label,
    )


def escalations(town: TownBuilder) -> list[tuple[str, str | None]]:
    """Severity and category of every escalation, in order of creation."""
    return town.rows(
        "SELECT e.severity, e.category FROM escalation_metadata e JOIN beads b ON b.bead_id = e.bead_id "
        "ORDER BY b.created_at, b.bead_id"
    )


def review_column(town: TownBuilder, column: str, bead_id: str = "m") -> Any:
    """A column of an MR's review metadata."""
    return town.one("review_metadata", bead_id, column)


def failure_of(town: TownBuilder, bead_id: str) -> tuple[str, str, str]:
    """Code, message and source of a bead's failure, as the audit has it."""
    row: tuple[str, str, str] = town.rows(
        "SELECT json_extract(metadata, '$.failure_reason.code'), json_extract(metadata, '$.failure_reason.message'), "
        "json_extract(metadata, '$.failure_reason.source') FROM bead_events "
        "WHERE bead_id = ? AND event_type = 'status_changed' AND new_value = 'failed' ORDER BY seq DESC LIMIT 1",
        bead_id,
    )[0]
    return row
