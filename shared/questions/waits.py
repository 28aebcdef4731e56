"""Why a bead or agent waits: the rule that would act next, when, what holds it back, and what caused that."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from shared.domain.shapes import document
from shared.domain.states import AgentStatus, Role
from shared.domain.tick import Tick
from shared.domain.times import text_or_none, to_text
from shared.engine import tick, waiting
from shared.history.rerun import Rerun
from shared.images import summary
from shared.questions import guards, lives, snapshot
from shared.questions.foresight import Foreseen, Outlook, outlook
from shared.questions.guards import Guard
from shared.questions.lives import WaitingEvent
from shared.questions.story import Story, StoryEntry
from shared.town import database
from shared.town.reading import TownReader

SubjectKind = Literal["bead", "agent"]
_READY_SHOWN: Final = 5
_OF_THE_TOWN: Final = ("paused", "settling", "draining", "breaker_open")
_CAUSES: Final = ("event", "rule", "effect", "observed", "invariant")
_REPORTED: Final = ("backoff", "review_recovery", "triage_backoff")
"""Waits that begin with an attempt: the report about the attempt explains more than the attempt itself."""


@dataclass(frozen=True, slots=True)
class CurrentWait:
    """Why a bead or agent waits. `rule` acts next, at `due_at` (None if time alone is not enough); `guards` hold it back.

    `comes` are the first acts of all rules if nothing else happens. `reason` is the waiting reason of the closed list, if
    there is one.
    """

    at: datetime
    reason: str | None
    since: datetime | None
    rule: str | None
    due_at: datetime | None
    guards: tuple[Guard, ...]
    cause: StoryEntry | None
    comes: tuple[Foreseen, ...]
    events: tuple[WaitingEvent, ...]
    says: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The wait as answers show it."""
        return {
            "at": to_text(self.at),
            "reason": self.reason,
            "since": text_or_none(self.since),
            "rule": self.rule,
            "dueAt": text_or_none(self.due_at),
            "guards": [guard.as_json() for guard in self.guards],
            "cause": None if self.cause is None else document(self.cause),
            "comes": [act.as_json() for act in self.comes],
            "events": [
                {
                    "eventId": event.event_id,
                    "type": event.event_type,
                    "outcome": event.outcome or "pending",
                    "attempts": event.retry_count,
                    "error": event.last_error,
                }
                for event in self.events
            ],
            "says": list(self.says),
        }


def current_wait(
    running: Rerun, kind: SubjectKind, subject: str, story: Story, entries: tuple[StoryEntry, ...], seen: datetime
) -> CurrentWait:
    """Why a bead or agent waits in the present state of a rerun, as seen at `seen`. `entries` is its story."""
    sql = running.sql
    given = snapshot.given_at(running, seen)
    reader, moment = tick.current_state(sql, given, town_id=running.town_id)
    reasons = {each.bead_id: each for each in waiting.reasons(reader, moment)}
    hooked = reader.hooks.get(subject)
    if hooked is not None and (hooked.hooked is None or hooked.hooked.status.terminal):
        hooked = None  # the bead is closed, failed or missing: the agent no longer matters to it
    rows = frozenset((subject,) if hooked is None else (subject, hooked.id))
    ahead = outlook(sql, given, town_id=running.town_id, rows=rows)
    rule, due, held_by = _guards(sql, reader, moment, subject, ahead)
    reason = reasons.get(subject)
    events, standing_due = tuple(lives.waiting_events(sql, subject)), summary.before_tick(sql).next_due
    since = held_by[0].since if held_by else None
    says = _of_agent(reader, subject, reasons) if kind == "agent" else _of_bead(reader, subject)
    return CurrentWait(
        at=seen,
        reason=None if reason is None else _word_of(reason, held_by),
        since=since or (None if reason is None else reason.since),
        rule=rule,
        due_at=due,
        guards=(*held_by, *guards.of_events(events, standing_due)),
        cause=_cause(story, entries, held_by[0] if held_by else None),
        comes=ahead.acts,
        events=events,
        says=tuple(says),
    )


def _word_of(reason: waiting.WaitReason, held_by: tuple[Guard, ...]) -> str:
    """The reason from the closed list. If `settling` holds it back, that is named instead of a cooldown."""
    settles = any(guard.name == "settling" for guard in held_by)
    return "settling" if settles and reason.reason == "cooldown" else reason.reason


def _guards(
    sql: database.Database, town: TownReader, moment: Tick, subject: str, ahead: Outlook
) -> tuple[str | None, datetime | None, tuple[Guard, ...]]:
    """The rule that would act next, when it will, and what holds it back until then."""
    broken = next(((table, why) for (table, key), why in sorted(town.unreadable.items()) if key == subject), None)
    if broken is not None:
        found = lives.violations(sql, subject)
        return None, None, (guards.unreadable(*broken, found[0][3] if found else None),)
    next_act = ahead.held or (ahead.acts[0] if ahead.acts else None)
    if next_act is None:
        rule, guard = guards.of_state(sql, town, moment, subject)
        return rule, None, (guard,)
    due = next((act.at for act in ahead.acts if act.name == next_act.name), None)
    found_guards = [guards.of_hold(hold, sql, town, moment, subject) for hold in ahead.holds]
    promised = next_act.promised
    if promised is not None and next_act.at > moment.now:
        found_guards.append(Guard(promised.wait, guards.wait_text(promised.wait), promised.since, promised.at))
    if not found_guards:
        found_guards.append(Guard("next_tick", "nothing holds it back: the next tick acts", moment.now, due))
    return next_act.rule, due, tuple(found_guards)


def _cause(story: Story, entries: tuple[StoryEntry, ...], guard: Guard | None) -> StoryEntry | None:
    """The cause of the first guard: preferably an entry of the story, else a summary of the tick."""
    if guard is None or guard.since is None:
        return None
    if guard.name in _REPORTED:
        reported = [
            each for each in entries if each.by == "event" and each.time >= guard.since and each.outcome == "applied"
        ]
        if reported:
            return reported[-1]
    seen = story.tick_since(guard.since)
    if seen is None:
        earlier = [entry for entry in entries if entry.time <= guard.since]
        recorded = [entry for entry in earlier if entry.by in _CAUSES]
        return next(reversed(recorded or earlier), None)
    causes = ("invariant",) if guard.name == "unreadable" else _CAUSES
    about = [each for each in entries if each.tick == seen.tick and each.by in causes]
    if about and guard.name not in _OF_THE_TOWN:
        return min(about, key=lambda entry: causes.index(entry.by))
    return StoryEntry(seen.tick, seen.time, "tick", f"tick {seen.tick}", seen.what, source=seen.source)


def _of_bead(town: TownReader, subject: str) -> list[str]:
    agent = town.hooks.get(subject)
    if agent is None:
        return []
    return [f"{agent.id} ({agent.role}, {agent.status}, generation {agent.generation}) is hooked to it"]


def _of_agent(town: TownReader, subject: str, reasons: Mapping[str, waiting.WaitReason]) -> list[str]:
    """What an agent does, its generation, and why it gets no work if it is idle."""
    agent = town.agents_by_id.get(subject)
    if agent is None:
        return []
    said = [f"generation {agent.generation}: reports from older generations are skipped as stale"]
    if agent.last_activity_at is not None:
        said.append(f"the last heartbeat or dispatch was at {to_text(agent.last_activity_at)}")
    if agent.hook is not None:
        state = "a bead that does not exist" if agent.hooked is None else f"{agent.hook} ({agent.hooked.status})"
        return [f"it is {agent.status} and hooked to {state}", *said]
    if agent.status is not AgentStatus.IDLE or agent.role is Role.MAYOR:
        return [f"it is {agent.status} and has no hook", *said]
    rigs = {each.id: each.rig_id for each in town.issues} | {each.id: each.rig_id for each in town.reviews}
    idle = [reasons[bead] for bead, rig in rigs.items() if rig == agent.rig_id and bead in reasons]
    known = [each for each in idle if each.bead_id not in town.hooks][:_READY_SHOWN]
    why = ", ".join(f"{each.bead_id} ({each.reason})" for each in known) or "no bead of its rig waits for an agent"
    return [f"it gets no work: {why}", *said]
