"""Escalations, triage, nudges, mail, the container's token, and stopping an idle container (spec/rules.md section 9)."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from shared.actions import (
    BumpEscalation,
    ExpireNudge,
    NotifyMayor,
    RefreshContainerToken,
    SendNudge,
    StartTriageBatch,
    StopContainer,
)
from shared.actions.triage_exhausted import EscalateTriage
from shared.domain import limits
from shared.domain.limits import just_after
from shared.domain.mail import effect_of, subject_of
from shared.domain.quoting import name
from shared.domain.states import AgentStatus, EffectKind, Priority
from shared.domain.tick import Tick
from shared.rules import spending
from shared.rules.active_work import has_active_work
from shared.rules.base import Decision, Due
from shared.town.reading import TownReader
from shared.town.town_keys import TriageState

_SEVERITIES = tuple(Priority)


def bump_escalation(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """H1: an escalation that nobody acknowledged is raised at regular intervals, a limited number of times."""
    for escalation in town.escalations:
        since = escalation.created_at + escalation.bumps * limits.ESCALATION_BUMP
        if not tick.stale(since, limits.ESCALATION_BUMP):
            yield Due.later_than(since, limits.ESCALATION_BUMP, rows=(escalation.bead_id,), wait="escalation_bump")
            continue
        severity = _next_severity(escalation.severity)
        yield BumpEscalation(bead_id=escalation.bead_id, severity=severity)
        yield NotifyMayor(
            subject=f"escalation:{escalation.bead_id}",
            message=f"escalation {name(escalation.bead_id)} waits since {escalation.created_at:%Y-%m-%d %H:%M} UTC, now {severity}",
        )


def dispatch_triage(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """H2: open triage requests go to a polecat as one batch. After each batch without an answer the next one waits longer; after
    too many such batches, the requests are escalated.
    """
    requests = town.triage_requests
    if tick.draining or tick.breaker.open or not town.rigs or not requests or town.triage_batch is not None:
        return
    state = town.triage
    fruitless = state.fruitless
    if fruitless >= limits.TRIAGE_FRUITLESS_LIMIT:
        if not state.escalated:
            yield EscalateTriage(requests=len(requests), batches=fruitless)
            yield NotifyMayor(
                subject=f"triage_exhausted:{town.triage_requests[0].id}",
                message=f"{fruitless} triage batches brought no answer; {len(requests)} requests wait for a person",
            )
        return
    spent = spending.day_wait(town, tick, rows=tuple(request.id for request in requests))
    if spent is not None:
        yield spent
        return
    last = _last_batch(town, state)
    backoff = limits.backoff(fruitless)
    if last is not None and not tick.stale(last, backoff):
        rows = tuple(request.id for request in requests)
        yield Due.later_than(last, backoff, rows=rows, wait="triage_backoff")
        return
    first_rig = min(town.rigs.values(), key=lambda rig: (rig.created_at, rig.id))
    yield StartTriageBatch(
        rig_id=first_rig.id, request_ids=tuple(request.id for request in requests[: limits.TRIAGE_BATCH_SIZE])
    )


def expire_nudge(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """H3: a nudge that was not delivered in time expires."""
    for nudge_id, expires_at in town.expiring_nudges:
        if expires_at < tick.now:
            yield ExpireNudge(nudge_id=nudge_id)
        else:
            yield Due(just_after(expires_at), (nudge_id,), "nudge_life")


def deliver_mail(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """H4: a message goes to its agent while that agent works, and to the mayor at any time. It stays open until its delivery is
    confirmed; until then, delivery is requested again, one request at a time.
    """
    for mail in town.mail:
        for_mayor = town.is_for_mayor(mail.assignee)
        agent = town.agents_by_id.get(mail.assignee or "")
        if not for_mayor and (agent is None or agent.status is not AgentStatus.WORKING):
            continue
        if effect_of(tick.town_id, mail.id, for_mayor=for_mayor) in town.unfinished_effects:
            continue
        if mail.told_at is not None and tick.now < mail.told_at + mail.again_after:
            yield Due.at_least(mail.told_at, mail.again_after, rows=(mail.id,), wait="mail_again")
        elif for_mayor:
            yield NotifyMayor(subject=subject_of(mail.id), message=mail.letter)
        elif agent is not None:
            yield SendNudge(
                agent_id=agent.id,
                message=mail.letter,
                source="agent",
                mode="wait-idle",
                priority="normal",
                mail=mail.id,
            )


def refresh_token(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """H5: while there is work, the container's token is refreshed regularly."""
    if (EffectKind.REFRESH_TOKEN, "container") in town.unfinished_effects:
        return
    if not (town.mayor is not None and town.mayor.status.has_process) and not has_active_work(town, tick):
        return
    last = town.keys.last_token_refresh_at
    if last is None or tick.now - last >= limits.TOKEN_REFRESH:
        yield RefreshContainerToken()
    else:
        yield Due.at_least(last, limits.TOKEN_REFRESH, rows=(), wait="token_fresh")


def stop_idle_container(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """H6: the container is stopped when there is no work and the mayor is not active."""
    if tick.draining or tick.container not in ("running", "healthy"):
        return
    if (EffectKind.STOP_CONTAINER, "container") in town.unfinished_effects or has_active_work(town, tick):
        return
    mayor = town.mayor
    if mayor is not None and mayor.status.busy:
        return
    stopped = town.keys.last_idle_stop_at
    if stopped is not None and not tick.stale(stopped, limits.IDLE_STOP_THROTTLE):
        yield Due.later_than(stopped, limits.IDLE_STOP_THROTTLE, rows=(), wait="mayor_idle")
        return
    activity = None if mayor is None else mayor.last_activity_at
    if activity is not None and not tick.stale(activity, limits.MAYOR_IDLE_STOP):
        yield Due.later_than(activity, limits.MAYOR_IDLE_STOP, rows=(), wait="mayor_idle")
        return
    if activity is None:
        yield StopContainer(reason="no_active_work")
    else:
        yield StopContainer(reason=f"mayor_idle_{(tick.now - activity) // timedelta(minutes=1)}m")


def _next_severity(severity: Priority) -> str:
    position = _SEVERITIES.index(severity)
    return _SEVERITIES[min(position + 1, len(_SEVERITIES) - 1)].value


def _last_batch(town: TownReader, state: TriageState) -> datetime | None:
    """When the last batch was last updated: its end if it has ended, else its start."""
    touched = None if state.last_batch_id is None else town.updated_at(state.last_batch_id)
    return touched or state.last_batch_at
