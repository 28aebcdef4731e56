"""Why a bead or agent waits, for explain: the wait that all answers share, its cause, and what comes next."""

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime
from typing import Final, Literal

from shared.domain.report import ActionFields
from shared.domain.shapes import Time, answer
from shared.domain.states import AgentStatus, Role
from shared.domain.times import to_text
from shared.history.rerun import Rerun
from shared.questions import lives, mailbox, snapshot
from shared.questions.foresight import Foreseen
from shared.questions.lives import WaitingEvent
from shared.questions.story import Story, StoryEntry
from shared.questions.waiting import Guard, Waiting
from shared.questions.waits import Waits
from shared.rules.base import Wait
from shared.town.reading import TownReader
from shared.town.rows import Agent

SubjectKind = Literal["bead", "agent"]
UnappliedOutcome = Literal["pending", "poisoned"]
_READY_SHOWN: Final = 5
_OF_THE_TOWN: Final = ("paused", "settling", "draining", "breaker_open")
_CAUSES: Final = ("event", "rule", "effect", "observed", "invariant")
_REPORTED: Final = ("backoff", "review_recovery", "triage_backoff")
"""Waits that begin with an attempt: the report about the attempt explains more than the attempt does."""


@answer
class ComingAct:
    """The first act of a rule on a row, at `due_at`. `guard` is the wait that ends then; null if there is no wait."""

    rule: str
    name: str
    action: ActionFields
    due_at: Time
    guard: Wait | None
    since: Time | None


@answer
class UnappliedEvent:
    """An event that names a row and is pending or poisoned."""

    event_id: str
    type: str
    outcome: UnappliedOutcome
    attempts: int
    error: str | None


@answer
class CurrentWait(Waiting):
    """Why a bead or agent waits at the time `at`: the fields of every other answer, and more.

    `cause` is the event or rule after which the first guard holds it back. `comes` are the first acts of all rules if nothing
    else happens.
    """

    at: Time
    cause: StoryEntry | None
    comes: tuple[ComingAct, ...]
    events: tuple[UnappliedEvent, ...]
    says: tuple[str, ...]


def current_wait(
    running: Rerun, kind: SubjectKind, subject: str, story: Story, entries: tuple[StoryEntry, ...], seen: datetime
) -> CurrentWait:
    """Why a bead or agent waits in the present state of a rerun, as seen at `seen`. `entries` is its story."""
    sql = running.sql
    waits = Waits(sql, snapshot.given_at(running, seen), town_id=running.town_id)
    waiting, row = waits.of(subject), waits.row(subject)
    if waiting is None or row is None:
        raise LookupError(f"{subject} is not in the town")
    said = _of_agent(waits, subject) if kind == "agent" else _of_bead(waits.town, subject)
    acts = waits.foresight.outlooks({subject: row.subjects}, every_act=True)[subject].acts
    return CurrentWait(
        **{each.name: getattr(waiting, each.name) for each in fields(waiting)},
        at=seen,
        cause=_cause(story, entries, _since_when(waiting)),
        comes=tuple(coming(act) for act in acts),
        events=tuple(_unapplied(event) for event in lives.waiting_events(sql, subject)),
        says=tuple(said),
    )


def _since_when(waiting: Waiting) -> Guard:
    """The first guard of a wait, from the time on that the wait has."""
    return replace(waiting.guards[0], since=waiting.since)


def coming(act: Foreseen) -> ComingAct:
    """A foreseen act as answers show it."""
    due = act.promised
    wait, since = (None, None) if due is None else (due.wait, due.since)
    return ComingAct(act.rule, act.name, act.action, act.at, wait, since)


def _unapplied(event: WaitingEvent) -> UnappliedEvent:
    outcome: UnappliedOutcome = "pending" if event.outcome is None else "poisoned"
    return UnappliedEvent(event.event_id, event.event_type, outcome, event.retry_count, event.last_error)


def _cause(story: Story, entries: tuple[StoryEntry, ...], guard: Guard) -> StoryEntry | None:
    """The cause of the first guard: preferably an entry of the story, else a summary of the tick."""
    if guard.since is None:
        return None
    if guard.guard == "next_tick":
        return next((entry for entry in reversed(entries) if entry.by in _CAUSES), None)
    if guard.guard in _REPORTED:
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
    causes = ("invariant",) if guard.guard == "unreadable" else _CAUSES
    about = [each for each in entries if each.tick == seen.tick and each.by in causes]
    if about and guard.guard not in _OF_THE_TOWN:
        return min(about, key=lambda entry: causes.index(entry.by))
    return StoryEntry(seen.tick, seen.time, "tick", f"tick {seen.tick}", seen.what, source=seen.source)


def _of_bead(town: TownReader, subject: str) -> list[str]:
    agent = town.hooks.get(subject)
    if agent is None:
        return []
    return [f"{agent.id} ({agent.role}, {agent.status}, generation {agent.generation}) is hooked to it"]


def _of_agent(waits: Waits, subject: str) -> list[str]:
    """What an agent does, its generation, and why it gets no work if it is idle."""
    town = waits.town
    agent = town.agents_by_id.get(subject)
    if agent is None:
        return []
    said = []
    if agent.role is not Role.MAYOR:
        said.append(f"generation {agent.generation}: reports from older generations are skipped as stale")
    if agent.last_activity_at is not None:
        said.append(f"the last heartbeat or dispatch was at {to_text(agent.last_activity_at)}")
    if agent.hook is not None:
        state = "a bead that does not exist" if agent.hooked is None else f"{agent.hook} ({agent.hooked.status})"
        return [f"it is {agent.status} and hooked to {state}", *said]
    if agent.role is Role.MAYOR:
        return [*_of_mayor(waits, agent), *said]
    if agent.status is not AgentStatus.IDLE:
        return [f"it is {agent.status} and has no hook", *said]
    of_the_rig = [each for each in waits.of_beads.values() if waits.rows[each.bead_id].rig_id == agent.rig_id]
    known = [each for each in of_the_rig if each.bead_id not in town.hooks][:_READY_SHOWN]
    why = ", ".join(f"{each.bead_id} ({each.reason})" for each in known) or "no bead of its rig waits for an agent"
    return [f"it gets no work: {why}", *said]


def _of_mayor(waits: Waits, mayor: Agent) -> Iterator[str]:
    """What the mayor does, what it was told last, and what it said last."""
    rests = mayor.status in (AgentStatus.WAITING, AgentStatus.IDLE)
    yield "it has nothing to do: it works again when it is told something" if rests else f"it is {mayor.status}"
    told = mailbox.told(waits.sql)
    if told is not None:
        yield f"it was told last{_at(told.at)}: {told.says}"
    for said in mailbox.sayings(waits.sql, since=waits.foresight.now.now - mailbox.SAID_SHOWN_FOR, limit=1):
        yield f"it said last{_at(said.at)}: {said.text}" + ("" if said.answered else "; nobody has answered it")


def _at(at: datetime | None) -> str:
    return "" if at is None else f", at {to_text(at)}"
