"""One-line summaries of ticks and actions: every table, progress line and live view uses the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from infra.townctl.wording import counted
from infra.ui.short_ids import short
from shared.domain.report import AppliedEvent, JudgedAction, TickReport
from shared.ports.town_past import JournalRow

if TYPE_CHECKING:
    from shared.questions.setting_history import SettingsEvent


@dataclass(frozen=True, slots=True)
class TickSummary:
    """The summary of one tick. `news` are its events without applied heartbeats and other applied transient events."""

    events: str
    news: str
    actions: str
    rules: str

    @property
    def worth_a_line(self) -> bool:
        """Whether the tick did more than apply heartbeats and other transient events."""
        return bool(self.news or self.actions)

    @property
    def sentence(self) -> str:
        """The events, then the actions with their rules."""
        parts = (self.news, f"-> {self.actions} [{self.rules}]" if self.actions else "")
        return " ".join(part for part in parts if part) or "nothing new"


def code_of(rule: str) -> str:
    """A rule's code in the specification; for an action that an event returned, `event:` and the event type."""
    return _codes().get(rule, rule)


def subject_of(action: Mapping[str, Any]) -> str | None:
    """The subject of an action: a bead, an agent, or the subject of a message to the mayor."""
    found: str | None = action.get("bead_id") or action.get("agent_id") or action.get("subject")
    return found


def settings_words(event: SettingsEvent) -> str:
    """What an event changed in the settings, and who sent it, as in `merge_strategy direct -> pr (by ann)`."""
    from shared.questions.setting_changes import words_of

    by = "" if event.by is None else f" (by {event.by})"
    return f"{words_of(event.changes)}{by}"


def action_line(judged: JudgedAction) -> str:
    """An action on one line, without the rule that asked for it."""
    action = judged.action
    change = f" {action['from']} -> {action['to']}" if "from" in action and "to" in action else ""
    return f"{action['type']} {short(subject_of(action))}{change} ({judged.outcome_text})"


def event_line(event: AppliedEvent) -> str:
    """An event on one line, with its outcome."""
    return f"event {event.event_type} {event.event_id}: {event.outcome}"


def done_in(row: JournalRow) -> TickSummary:
    """The summary of a tick, from its journal row."""
    from shared.questions.repeated_events import types_and_outcomes

    actions = [(judged["rule"], judged["action"]) for judged in row["outputs"]["actions"]]
    return _summary(tuple(types_and_outcomes(row)), actions)


def done_by(report: TickReport) -> TickSummary:
    """The summary of a tick, from its report."""
    events = tuple((event.event_type, event.outcome) for event in report.events)
    return _summary(events, [(judged.rule, judged.action) for judged in report.actions])


def _summary(events: Sequence[tuple[str, str]], actions: Sequence[tuple[str, Mapping[str, Any]]]) -> TickSummary:
    return TickSummary(
        events=counted(_named(kind, outcome) for kind, outcome in events),
        news=counted(_named(kind, outcome) for kind, outcome in events if _is_news(kind, outcome)),
        actions=counted(str(action["type"]) for _, action in actions),
        rules=counted(code_of(rule) for rule, _ in actions),
    )


def _named(kind: str, outcome: str) -> str:
    return kind if outcome == "applied" else f"{kind} ({outcome})"


def _is_news(kind: str, outcome: str) -> bool:
    from shared.events import BY_TYPE

    known = BY_TYPE.get(kind)
    return known is None or not known.transient or outcome != "applied"


@cache
def _codes() -> Mapping[str, str]:
    """The code of each rule in the specification, by the rule's name in stored data."""
    from shared.rules import RULES

    return {rule.name: rule.code for rule in RULES}
