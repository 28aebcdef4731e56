"""Guards in words: what holds a bead or agent back, since when, until when, and who could change it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.domain import limits
from shared.domain.limits import MILLISECOND
from shared.domain.states import AgentStatus, BeadStatus, Role
from shared.domain.tick import Tick
from shared.domain.times import from_text, to_text
from shared.questions import lives
from shared.questions.foresight import drain_end, settling_end
from shared.questions.lives import WaitingEvent
from shared.questions.relaxed import Hold
from shared.rules import convoys
from shared.rules.base import Wait
from shared.town.database import Database
from shared.town.reading import TownReader

WAITS: Final[Mapping[Wait, str]] = {
    "attempts_cool_down": "its failed attempts are forgiven after half an hour of quiet",
    "backoff": "the last dispatch was an attempt; the next one keeps its distance",
    "bead_lost": "nobody is hooked to it; it is given the time to be reported done",
    "breaker_open": "too many beads failed to start",
    "escalation_bump": "it is raised again if nobody acknowledges it",
    "forgetting": "it rests; an agent that nobody needs for a day is forgotten",
    "heartbeat": "its last sign of life is recent enough",
    "landing_cooldown": "landing attempts keep their distance",
    "mayor_idle": "the mayor was active a moment ago",
    "nudge_life": "the nudge is still valid",
    "nudge_window": "it was nudged within the hour",
    "owner_beats": "the agent that worked on it still gives signs of life",
    "poll_turn": "a tick looks at so many pull requests only, and others waited longer",
    "poll_interval": "its pull request was looked at less than a minute ago",
    "progress": "its last progress is recent enough",
    "rate_limited": "the forge asked for patience",
    "review_abandoned": "nobody reviews it; it is given two minutes",
    "review_orphaned": "its pull request may still be polled",
    "review_recovery": "its reviews are over; it is given five minutes to be settled by their report",
    "review_stuck": "its refinery is dead; it is given half an hour",
    "stalled": "it stalled, and is given two and a half hours",
    "token_fresh": "the token is fresh",
    "triage_backoff": "triage batches keep their distance",
}
HELD: Final[Mapping[Hold, str]] = {
    "paused": "the town is paused: no rule acts until town_started",
    "settling": "the town settles after an outage: time-based recovery waits for a full look",
    "draining": "the container is being drained: nothing is dispatched",
    "breaker_open": "the dispatch breaker is open: too many beads failed to start within half an hour",
    "blocked_by": "it waits for another bead",
    "held": "it carries the label that holds it",
    "staged": "its convoy is staged and was not started",
    "no_rig": "it belongs to no repository",
    "rig_full": "every place for a polecat in its rig is taken",
    "one_at_a_time": "the refinery of its rig takes one review after another",
    "review_live": "its review is not over",
    "effect_unfinished": "the same call is under way",
    "batch_live": "a triage batch is under way",
    "triage_exhausted": "too many triage batches brought no answer: a person must",
}


@dataclass(frozen=True, slots=True)
class Guard:
    """What holds back. `name` is stable; `until` None: not by time alone; `actor` is who could change it."""

    name: str
    says: str
    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The guard as answers show it."""
        return {
            "guard": self.name,
            "says": self.says,
            "since": None if self.since is None else to_text(self.since),
            "until": None if self.until is None else to_text(self.until),
            "actor": self.actor,
        }


def of_hold(hold: Hold, sql: Database, town: TownReader, moment: Tick, row: str) -> Guard:
    """A hold in words."""
    said = HELD[hold]
    bead = lives.bead_row(sql, row) or {}
    changed = None if "updated_at" not in bead else from_text(bead["updated_at"])
    match hold:
        case "settling":
            end = settling_end(sql)
            return Guard(hold, said, None if end is None else end - limits.SETTLE_FOR, end)
        case "draining":
            end = drain_end(sql)
            since = None if end is None else end - limits.DRAIN_TIMEOUT - MILLISECOND
            return Guard(hold, said, since, end, "container")
        case "breaker_open":
            return Guard(hold, said, moment.breaker.since, moment.breaker.due)
        case "blocked_by":
            failed = [each.status == BeadStatus.FAILED for each in town.blockers[row]]
            said = "a bead that it waits for has failed" if all(failed) else said
            return Guard(hold, said, changed, actor=", ".join(blocker.id for blocker in town.blockers[row]))
        case "rig_full":
            busy = [
                agent
                for agent in town.agents
                if agent.role is Role.POLECAT
                and agent.rig_id == bead.get("rig_id")
                and agent.status in (AgentStatus.WORKING, AgentStatus.STALLED)
            ]
            hooked = [
                from_text(line.at)
                for agent in busy
                for line in lives.audit_trail(sql, agent.id)
                if line.event_type == "hooked"
            ]
            return Guard(hold, said, max(hooked, default=changed), actor=", ".join(agent.id for agent in busy) or None)
        case "review_live":
            reviews = [review for review, source in sorted(town.review_sources.items()) if source[0] == row]
            return Guard(hold, said, changed, actor=", ".join(reviews) or None)
        case "paused" | "held" | "staged" | "no_rig" | "triage_exhausted":
            return Guard(hold, said, changed, actor="operator")
        case _:
            return Guard(hold, said, changed)


def of_state(sql: Database, town: TownReader, moment: Tick, row: str) -> tuple[str | None, Guard]:
    """Why no rule will act on a row by itself, whatever time passes; and the code of the rule that decided to wait."""
    bead = lives.bead_row(sql, row) or {}
    since = None if "updated_at" not in bead else from_text(bead["updated_at"])
    if bead.get("status") in (BeadStatus.CLOSED, BeadStatus.FAILED):
        says = f"it is {bead['status']}: no rule acts on it any more, only the event bead_reopened"
        return None, Guard("terminal", says, since, actor="operator")
    convoy = next((each for each in town.convoys if each.id == row), None)
    if convoy is not None:
        return _of_stage(town, moment, convoy.id, since)
    if bead.get("type") == "message":
        says = "a message is delivered while its addressee works"
        return "H4", Guard("addressee_rests", says, since, actor=bead.get("assignee_agent_bead_id"))
    return None, Guard("only_an_event", "no rule acts on it by itself: only an event can", since)


def unreadable(table: str, problem: str, since: datetime | None) -> Guard:
    """The row of the bead or agent is damaged."""
    says = f"its row in {table} cannot be read ({problem}): every rule leaves it out until a person repairs it"
    return Guard("unreadable", says, since, actor="operator")


def of_events(events: Iterable[WaitingEvent], next_due: datetime | None) -> Iterator[Guard]:
    """Events that a bead or agent still waits for: tried again by the next tick, or failed for good."""
    for event in events:
        since = from_text(event.received_at)
        said = f"{event.event_type} {event.event_id} failed {event.retry_count} times: {event.last_error}"
        if event.outcome is None:
            yield Guard("event_pending", f"{said}; the next tick tries it again", since, next_due)
        else:
            yield Guard(
                "event_poisoned", f"{said}; it is not tried again until somebody redrives it", since, actor="operator"
            )


def _of_stage(town: TownReader, moment: Tick, convoy_id: str, since: datetime | None) -> tuple[str, Guard]:
    convoy = next(each for each in town.convoys if each.id == convoy_id)
    stage = convoys.stage_of(town, moment, convoy)
    if stage == "C7":
        return stage, Guard("approval_missing", "its landing waits for a person", since, actor="reviewer")
    if stage == "C6":
        landings = [each.id for each in town.landings.get(convoy_id, ())]
        return stage, Guard("landing_live", "its landing is under review", since, actor=", ".join(landings) or None)
    if stage == "C2" and convoy.done == convoy.total:
        return stage, Guard("review_live", "a review of its work is not over", since)
    says = f"{convoy.done} of {convoy.total} beads are done"
    return stage, Guard("work_unfinished" if stage == "C2" else "no_rig", says, since)
