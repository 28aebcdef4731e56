"""One-line summaries of ticks and actions: every table, progress line and live view uses the same ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from infra.townctl.output import short
from infra.townctl.wording import counted
from shared.domain.report import TickReport


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


def outcome_of(judged: Mapping[str, Any]) -> str:
    """The outcome of an action, with the reason if there is one."""
    outcome: str = judged["outcome"]
    return outcome if judged["reason"] is None else f"{outcome}: {judged['reason']}"


def action_line(judged: Mapping[str, Any]) -> str:
    """An action on one line, without the rule that asked for it."""
    action = judged["action"]
    change = f" {action['from']} -> {action['to']}" if "from" in action and "to" in action else ""
    return f"{action['type']} {short(subject_of(action))}{change} ({outcome_of(judged)})"


def done_in(outputs: Mapping[str, Any]) -> TickSummary:
    """The summary of a tick, from the outputs in its journal row."""
    events, actions = outputs["events"], outputs["actions"]
    return TickSummary(
        events=counted(_named(event) for event in events),
        news=counted(_named(event) for event in events if _is_news(event)),
        actions=counted(judged["action"]["type"] for judged in actions),
        rules=counted(code_of(judged["rule"]) for judged in actions),
    )


def done_by(report: TickReport) -> TickSummary:
    """The summary of a tick, from its report."""
    return done_in(report.outputs())


def _named(event: Mapping[str, Any]) -> str:
    outcome = event["outcome"]
    return event["event_type"] if outcome == "applied" else f"{event['event_type']} ({outcome})"


def _is_news(event: Mapping[str, Any]) -> bool:
    from shared.events import BY_TYPE

    known = BY_TYPE.get(event["event_type"])
    return known is None or not known.transient or event["outcome"] != "applied"


@cache
def _codes() -> Mapping[str, str]:
    """The code of each rule in the specification, by the rule's name in stored data."""
    from shared.rules import RULES

    return {rule.name: rule.code for rule in RULES}
