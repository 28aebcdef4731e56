"""Guards: what holds a bead or agent back, in words; since when, until when, and who can change it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from shared.domain import limits
from shared.domain.states import BeadStatus, Label
from shared.domain.tick import Tick
from shared.domain.times import from_text, span_text, text_or_none
from shared.questions import lives
from shared.questions.lives import WaitingEvent
from shared.questions.relaxed import Hold
from shared.rules import convoys
from shared.rules.base import Wait
from shared.rules.beads import busy_polecats
from shared.town.database import Database
from shared.town.reading import TownReader
from shared.town.rows import Agent
from shared.town.town_keys import TownKeys

WAITS: Final[Mapping[Wait, str]] = {
    "attempts_cool_down": "its attempts are reset after {ATTEMPTS_COOL_DOWN} without activity",
    "backoff": "it was dispatched recently; the next attempt waits for its backoff",
    "bead_lost": "no agent is hooked to it; the agent that worked on it has {BEAD_LOST_AFTER} to report it done",
    "breaker_open": "too many beads failed to start",
    "escalation_bump": "it is raised every {ESCALATION_BUMP} until somebody acknowledges it",
    "forgetting": "it is idle; an idle agent is deleted after {AGENT_FORGET_AFTER}",
    "heartbeat": "its last heartbeat is not older than {HEARTBEAT_LOST_AFTER}",
    "landing_cooldown": "the next landing attempt waits for its cooldown",
    "mayor_idle": "the last activity of the mayor or the last stop of the container is too recent",
    "nudge_life": "the nudge has not expired",
    "nudge_window": "it was nudged less than {NUDGE_WINDOW} ago",
    "owner_beats": "the agent that worked on it still sends heartbeats",
    "poll_turn": "one tick polls at most {POLLS_PER_TICK} pull requests, and others have waited longer",
    "poll_interval": "its pull request was polled less than {PR_POLL_INTERVAL} ago",
    "progress": "its last progress is recent enough",
    "rate_limited": "the forge's rate limit has not ended",
    "review_abandoned": "no agent is hooked to it; that is tolerated for {REVIEW_ABANDONED_AFTER}",
    "review_orphaned": "no poll of its pull request has succeeded; that is tolerated for {REVIEW_ORPHANED_AFTER}",
    "review_recovery": "its reviews have ended; reports about them have {REVIEW_RECOVERY_AFTER} to close or reopen it",
    "review_stuck": "its refinery is dead; that is tolerated for {REVIEW_STUCK_AFTER}",
    "stalled": "it has stalled; that is tolerated for {STALLED_IDLE_AFTER}",
    "token_fresh": "the token is less than {TOKEN_REFRESH} old",
    "triage_backoff": "the next triage batch waits for its backoff",
}
"""What each wait means. A name in braces stands for the limit of that name, so that no text repeats its value."""

HELD: Final[Mapping[Hold, str]] = {
    "paused": "the town is paused: no rule acts until the event town_started",
    "settling": "the town is settling after an outage: time-based recovery waits for fresh heartbeats",
    "draining": "the container is draining: nothing is dispatched",
    "breaker_open": "the dispatch breaker is open: too many beads failed to start within {BREAKER_WINDOW}",
    "blocked_by": "it waits for another bead",
    "held": f"it has the label {Label.HELD}",
    "staged": "its convoy is staged and has not been started",
    "no_rig": "it does not belong to a rig",
    "rig_full": "its rig has the maximum number of working polecats",
    "one_at_a_time": "the refinery of its rig works on one review at a time",
    "review_live": "its review has not ended",
    "effect_unfinished": "the same call is already in progress",
    "batch_live": "a triage batch is already in progress",
    "triage_exhausted": "{TRIAGE_FRUITLESS_LIMIT} triage batches brought no answer: a person must decide",
}
"""What each hold means, in the same form."""

_LIMIT_NAME: Final = re.compile(r"\{(\w+)\}")


def wait_text(wait: Wait) -> str:
    """What a wait means, in a sentence."""
    return _with_limits(WAITS[wait])


def hold_text(hold: Hold) -> str:
    """What a hold means, in a sentence."""
    return _with_limits(HELD[hold])


def _with_limits(text: str) -> str:
    return _LIMIT_NAME.sub(lambda found: _limit_text(getattr(limits, found[1])), text)


def _limit_text(limit: timedelta | int) -> str:
    return span_text(limit) if isinstance(limit, timedelta) else str(limit)


@dataclass(frozen=True, slots=True)
class Guard:
    """Something that holds a row back. `name` is wire format; `actor` is the one who can change it.

    `until` is None if time alone does not end it.
    """

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
            "since": text_or_none(self.since),
            "until": text_or_none(self.until),
            "actor": self.actor,
        }


# One guard is one line of an answer: a stable name, a sentence, and when and by whom the state can change. Waits come from
# the rules (a Due in the future). Holds come from foresight (an experiment that lifts them). If there is neither, `of_state`
# explains the wait by the state itself. Example: a bead in backoff in a full rig has the guards `rig_full` (a hold, with the
# busy polecats as actor) and `backoff` (a wait, with its end). B1 is the rule that acts once both are gone.


def of_hold(hold: Hold, sql: Database, town: TownReader, moment: Tick, row: str) -> Guard:
    """The guard that stands for a hold."""
    says = hold_text(hold)
    bead = lives.bead_row(sql, row) or {}
    changed = _changed_at(bead)
    match hold:
        case "settling":
            end = TownKeys(sql).settling_until
            return Guard(hold, says, None if end is None else end - limits.SETTLE_FOR, end)
        case "draining":
            drain = TownKeys(sql).drain
            since, until = (None, None) if drain is None else (drain.started_at, drain.ends_at)
            return Guard(hold, says, since, until, "container")
        case "breaker_open":
            return Guard(hold, says, moment.breaker.since, moment.breaker.due)
        case "blocked_by":
            blockers = town.blockers[row]
            if all(blocker.status == BeadStatus.FAILED for blocker in blockers):
                says = "a bead that it waits for has failed"
            return Guard(hold, says, changed, actor=_listed(blocker.id for blocker in blockers))
        case "rig_full":
            busy = busy_polecats(town, bead.get("rig_id"))
            return Guard(hold, says, _last_hooked(sql, busy) or changed, actor=_listed(agent.id for agent in busy))
        case "review_live":
            reviews = [review for review, source in sorted(town.review_sources.items()) if source[0] == row]
            return Guard(hold, says, changed, actor=_listed(reviews))
        case "paused" | "held" | "staged" | "no_rig" | "triage_exhausted":
            return Guard(hold, says, changed, actor="operator")
        case _:
            return Guard(hold, says, changed)


def _changed_at(bead: Mapping[str, Any]) -> datetime | None:
    return from_text(bead["updated_at"]) if "updated_at" in bead else None


def _listed(ids: Iterable[str]) -> str | None:
    return ", ".join(ids) or None


def _last_hooked(sql: Database, agents: Iterable[Agent]) -> datetime | None:
    """When the last of these agents was hooked to a bead; None if the audit trail does not say."""
    lines = [line for agent in agents for line in lives.audit_trail(sql, agent.id)]
    return max((from_text(line.at) for line in lines if line.event_type == "hooked"), default=None)


def of_state(sql: Database, town: TownReader, moment: Tick, row: str) -> tuple[str | None, Guard]:
    """The code of the rule that decides to wait, if there is one, and the reason why no rule will act on the row by itself."""
    bead = lives.bead_row(sql, row) or {}
    since = _changed_at(bead)
    if bead.get("status") in (BeadStatus.CLOSED, BeadStatus.FAILED):
        says = f"it is {bead['status']}: no rule acts on it until the event bead_reopened"
        return None, Guard("terminal", says, since, actor="operator")
    convoy = next((each for each in town.convoys if each.id == row), None)
    if convoy is not None:
        return _of_stage(town, moment, convoy.id, since)
    if bead.get("type") == "message":
        says = "a message is delivered when its addressee is working"
        return "H4", Guard("addressee_rests", says, since, actor=bead.get("assignee_agent_bead_id"))
    return None, Guard("only_an_event", "no rule will act on it: it needs an event", since)


def unreadable(table: str, problem: str, since: datetime | None) -> Guard:
    """The guard for a bead or agent whose row is damaged."""
    says = f"its row in {table} cannot be read ({problem}): every rule skips it until a person repairs it"
    return Guard("unreadable", says, since, actor="operator")


def of_events(events: Iterable[WaitingEvent], next_due: datetime | None) -> Iterator[Guard]:
    """One guard for each event that was not applied: the next tick tries it again, or it was poisoned."""
    for event in events:
        since = from_text(event.received_at)
        times = "once" if event.retry_count == 1 else f"{event.retry_count} times"
        said = f"{event.event_type} {event.event_id} failed {times}: {event.last_error}"
        if event.outcome is None:
            yield Guard("event_pending", f"{said}; the next tick tries it again", since, next_due)
        else:
            yield Guard(
                "event_poisoned",
                f"{said}; it is not tried again until an operator redrives it",
                since,
                actor="operator",
            )


def _of_stage(town: TownReader, moment: Tick, convoy_id: str, since: datetime | None) -> tuple[str, Guard]:
    convoy = next(each for each in town.convoys if each.id == convoy_id)
    stage = convoys.stage_of(town, moment, convoy)
    if stage == "C7":
        return stage, Guard("approval_missing", "its landing waits for a person's approval", since, actor="reviewer")
    if stage == "C6":
        landings = [each.id for each in town.landings.get(convoy_id, ())]
        return stage, Guard("landing_live", "its landing is being reviewed", since, actor=", ".join(landings) or None)
    if stage == "C2" and convoy.done == convoy.total:
        return stage, Guard("review_live", "a review of its work has not ended", since)
    says = f"{convoy.done} of {convoy.total} beads are done"
    return stage, Guard("work_unfinished" if stage == "C2" else "no_rig", says, since)
