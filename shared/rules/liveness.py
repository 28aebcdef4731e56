"""Propulsion (GUPP): work on a hook must make progress (spec/rules.md section 6).

An agent that sends heartbeats but makes no progress is nudged, then reported to triage, then stopped. A heartbeat alone is no
progress. An agent that has never said what it does may be a program that cannot: it is not nudged, a person is told after two hours
(`voices`), and it is stopped at the hook limit.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.actions import CreateTriageRequest, SendNudge, StopAgent, TransitionAgent
from shared.domain import limits, strict_json
from shared.domain.limits import just_after
from shared.domain.states import AgentStatus, Role
from shared.domain.tick import Tick
from shared.domain.times import readable_time, span_text
from shared.rules.base import Decision, Due
from shared.town.reading import TownReader
from shared.town.rows import Agent

WARN = "reconciler:warn"
ESCALATE = "reconciler:escalate"


class _Silence(NamedTuple):
    agent: Agent
    since: datetime
    elapsed: timedelta
    without_a_word: bool = False

    @property
    def minutes(self) -> int:
        return int(self.elapsed // timedelta(minutes=1))

    def until(self, limit: timedelta) -> Due:
        """The wait until the silence has lasted longer than the limit of a tier."""
        return Due.later_than(self.since, limit, rows=(self.agent.id,), wait="progress")


def force_stop(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """G3: a working agent that exceeds the last limit is stopped and becomes stalled, and triage is asked what to do."""
    for silence in _all_silences(town, tick):
        agent = silence.agent
        hook_limit = timedelta(hours=tick.config.hook_limit_hours)
        limit = hook_limit if silence.without_a_word else limits.GUPP_FORCE_STOP_AFTER
        if silence.elapsed <= limit:
            yield silence.until(limit)
        elif agent.status is AgentStatus.WORKING:
            which = "hook limit without a word" if silence.without_a_word else "GUPP limit"
            reason = f"exceeded {span_text(limit).replace(' ', '')} {which}"
            yield TransitionAgent(agent_id=agent.id, from_=AgentStatus.WORKING, to=AgentStatus.STALLED, reason=reason)
            yield StopAgent(agent_id=agent.id, reason=reason)
            yield CreateTriageRequest(agent_id=agent.id, triage_type="stuck_agent", reason="GUPP force stop")


def escalate(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """G2: an agent that exceeds the second limit gets an urgent nudge, and triage is asked; once per nudge window."""
    nudges = _NudgesOf(town, tick, ESCALATE)
    for silence in _of_quiet_agents(town, tick):
        if silence.elapsed <= limits.GUPP_ESCALATE_AFTER:
            yield silence.until(limits.GUPP_ESCALATE_AFTER)
        elif silence.elapsed <= limits.GUPP_FORCE_STOP_AFTER:
            again = nudges.next_at(silence.agent)
            if again is not None:
                yield Due(again, (silence.agent.id,), "nudge_window", silence.since)
                continue
            yield SendNudge(
                agent_id=silence.agent.id,
                tier="escalate",
                message=(
                    f"ESCALATE: no progress on your hook for {silence.minutes} minutes. "
                    "Finish, ask for help or report what holds you."
                ),
            )
            yield CreateTriageRequest(agent_id=silence.agent.id, triage_type="stuck_agent", reason="GUPP escalation")


def warn(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """G1: an agent that exceeds the first limit while no tool is running gets a nudge; once per nudge window."""
    nudges = _NudgesOf(town, tick, WARN)
    for silence in _of_quiet_agents(town, tick):
        if silence.elapsed <= limits.GUPP_WARN_AFTER:
            yield silence.until(limits.GUPP_WARN_AFTER)
        elif silence.elapsed <= limits.GUPP_ESCALATE_AFTER and not _runs_tools(silence.agent):
            again = nudges.next_at(silence.agent)
            if again is not None:
                yield Due(again, (silence.agent.id,), "nudge_window", silence.since)
                continue
            yield SendNudge(
                agent_id=silence.agent.id,
                tier="warn",
                message=f"WARN: no progress on your hook for {silence.minutes} minutes. Go on, or report what holds you.",
            )


class _NudgesOf:
    """When each agent may be nudged by one tier again."""

    def __init__(self, town: TownReader, tick: Tick, source: str) -> None:
        self._recent = town.recent_nudges(tick.ago(limits.NUDGE_WINDOW))
        self._source = source

    def next_at(self, agent: Agent) -> datetime | None:
        """The first time at which the agent may be nudged again; None if it may be nudged now."""
        last = self._recent.get((agent.id, self._source))
        return None if last is None else just_after(last + limits.NUDGE_WINDOW)


def without_a_word_since(agent: Agent) -> datetime | None:
    """Since when a working agent has a hook and its generation has said nothing but that it lives; None if that is not so."""
    if agent.status is not AgentStatus.WORKING or agent.role is Role.MAYOR or agent.last_event_at is not None:
        return None
    return agent.dispatched_at or agent.hooked_at  # an image of an older release may know neither


def _all_silences(town: TownReader, tick: Tick) -> list[_Silence]:
    found: list[_Silence] = town.once("silences", lambda: list(_silences(town, tick)))
    return found


def _of_quiet_agents(town: TownReader, tick: Tick) -> Iterator[_Silence]:
    """Those of agents that can be nudged: they have said before what they do."""
    return (silence for silence in _all_silences(town, tick) if not silence.without_a_word)


def _silences(town: TownReader, tick: Tick) -> Iterator[_Silence]:
    """The agents that the tiers apply to, each with the time of its last progress and the time since then."""
    if tick.draining or tick.settling:
        return
    for agent in town.agents:
        if agent.role is Role.MAYOR or agent.hooked is None or agent.hooked.status.terminal:
            continue
        if agent.status is AgentStatus.WORKING:
            if tick.stale(agent.last_activity_at, limits.HEARTBEAT_LOST_AFTER):
                continue
        elif agent.status is not AgentStatus.STALLED or _belongs_to_retirement(agent, tick):
            continue
        unheard_since = without_a_word_since(agent)
        since = _activity(agent, tick.now) if unheard_since is None else unheard_since
        if since is not None and since <= tick.now:
            yield _Silence(agent, since, tick.now - since, without_a_word=unheard_since is not None)


def _belongs_to_retirement(agent: Agent, tick: Tick) -> bool:
    since = agent.stalled_at or agent.last_activity_at
    return since is not None and tick.stale(since, limits.STALLED_IDLE_AFTER)


def _activity(agent: Agent, now: datetime) -> datetime | None:
    """The time of the last progress: the agent's own watermark, else its last heartbeat; None if it cannot be read.

    A watermark in the future, which an earlier release may have stored, says nothing.
    """
    if agent.last_event_at is None:
        return agent.last_activity_at
    at = readable_time(agent.last_event_at)
    return agent.last_activity_at if at is not None and at > now else at


def _runs_tools(agent: Agent) -> bool:
    try:
        return bool(strict_json.stored(agent.active_tools))
    except ValueError:
        return False
