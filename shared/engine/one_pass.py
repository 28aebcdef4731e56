"""What one tick passes on from phase to phase, and the report that is made of it at its end."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from shared.domain import limits
from shared.domain.alert import Alert
from shared.domain.limits import MILLISECOND
from shared.domain.report import CONFLICT, AppliedEvent, BusinessEvent, ClaimedEffect, TickMetrics, TickReport
from shared.domain.states import BeadStatus
from shared.domain.tick import Envelope, TickInput
from shared.domain.times import from_text
from shared.engine import alerts, apply, drain, invariants, reconcile
from shared.events import episodes
from shared.town import archive, inbox
from shared.town.reading import TownReader
from shared.town.town import Town
from shared.town.writing import merge_claims

_FOR_PEOPLE: Final = frozenset({"invariant_violation", "event_poisoned", "forge_token"})


@dataclass(slots=True)
class Pass:
    """The state that the phases of one tick pass on to each other."""

    town: Town
    given: TickInput
    previous_tick_at: datetime | None
    drained: drain.Drained = field(default_factory=drain.Drained)
    decisions: reconcile.Decisions = field(default_factory=reconcile.Decisions)
    applied: apply.AppliedActions = field(default_factory=apply.AppliedActions)
    checked: invariants.CheckedInvariants = field(default_factory=invariants.CheckedInvariants)
    claimed: tuple[ClaimedEffect, ...] = ()
    effects_due: datetime | None = None
    pending_before: int = 0
    expired: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    leaving: archive.Leaving | None = None
    conflicting_events: list[Envelope] = field(default_factory=list)


def in_progress(reader: TownReader) -> bool:
    """Whether an agent is working or stalled or an MR is in progress: such a town is watched."""
    return any(agent.status.busy for agent in reader.agents) or any(
        review.status is BeadStatus.IN_PROGRESS for review in reader.reviews
    )


def report(state: Pass, reader: TownReader, *, quiet: bool) -> TickReport:
    """Everything that the tick decided."""
    town = state.town
    pending_after = inbox.pending_count(town)
    waiting = state.given.waiting
    return TickReport(
        town_id=town.tick.town_id,
        input=state.given,
        quiet=quiet,
        events=(*state.drained.events, *_conflicts(state)),
        actions=tuple(state.applied.actions),
        effects=state.claimed,
        violations=tuple(state.checked.open),
        metrics=_metrics(state, pending_after + waiting),
        next_due=_next_due(state, reader, pending_after),
        business_events=(*town.business_events, *_told(state)),
        alerts=tuple(_alerts(state)),
        pending_before=state.pending_before + waiting,
        pending_after=pending_after + waiting,
        oldest_pending=_oldest_pending(state, pending_after),
    )


def _oldest_pending(state: Pass, pending_after: int) -> datetime | None:
    """When the oldest event was received that still waits, in the town or in its inbox; None if none does."""
    stored = inbox.oldest_pending(state.town) if pending_after else None
    known = [at for at in (stored, state.given.waiting_since) if at is not None]
    return min(known) if known else None


def _conflicts(state: Pass) -> list[AppliedEvent]:
    return [AppliedEvent(event.event_id, event.event_type, CONFLICT) for event in state.conflicting_events]


def _metrics(state: Pass, pending_after: int) -> TickMetrics:
    by_type: dict[str, int] = {}
    for judged in state.applied.actions:
        by_type[judged.action["type"]] = by_type.get(judged.action["type"], 0) + 1
    return TickMetrics(
        events_drained=state.drained.processed,
        actions_emitted=len(state.applied.actions),
        actions_by_type=by_type,
        invariant_violations=len(state.checked.open),
        pending_event_count=pending_after,
        events_poisoned=state.drained.poisoned,
        merges_unproven=sum(event.name == merge_claims.UNPROVEN for event in state.town.business_events),
        actions_skipped=state.applied.skipped,
        circuit_breaker_open=int(state.town.tick.breaker.open),
        tick_lag_ms=_lag(state),
        agent_tokens=state.town.used.tokens,
        agent_cost_micros=state.town.used.cost_micros,
    )


def _lag(state: Pass) -> int:
    """Milliseconds between the time at which this tick was due and its `now`."""
    wanted = [at for at in (state.given.due_at,) if at is not None]
    wanted += [from_text(envelope.received_at) for envelope in state.given.new_events]
    if not wanted or state.previous_tick_at is None:
        return 0
    return max((state.town.tick.now - max(state.previous_tick_at, min(wanted))) // MILLISECOND, 0)


def _next_due(state: Pass, reader: TownReader, pending_after: int) -> datetime | None:
    """The earliest time at which a tick can have something to do (spec/tick.md section 6); None if only an event can cause one."""
    # Every reason for another tick gives a time, and the earliest one wins; it is never before `now`. A time that is too early
    # costs a quiet tick, but one that is too late would delay the town. Example: A2 must run at 12:01:30.001, an agent is
    # working (watch again at 12:00:30), and no event is pending: the next tick is due at 12:00:30. In a town
    # without work and without waits the list is empty: only an event causes a tick, and until then the town costs nothing.
    now = state.town.tick.now
    candidates = [state.decisions.due, state.checked.due, state.effects_due]
    if state.given.more_waiting or state.applied.applied or state.town.config_changed or state.expired:
        candidates.append(now)
    if pending_after or state.applied.failed or state.decisions.failed_rules or state.problems:
        candidates.append(now + limits.FAILED_EVENT_RETRY)
    drain = state.town.keys.drain
    candidates += [None if drain is None else drain.ends_at, state.town.keys.settling_until]
    if in_progress(reader):
        candidates.append(now + limits.WATCH_INTERVAL)
    idle = state.town.tick.config.alarm_interval_idle
    if idle is not None and (reader.issues or reader.reviews or reader.convoys or reader.mail):
        candidates.append(now + timedelta(seconds=idle))
    known = [at for at in candidates if at is not None]
    return max(min(known), now) if known else None


def _failures(state: Pass) -> list[tuple[str, str, str]]:
    """What failed in this tick and was left out, as (kind, name, error)."""
    return [
        (kind, name, text)
        for kind, failed in (
            ("rule_failed", state.decisions.failed_rules),
            ("action_failed", state.applied.failed),
            ("step_failed", state.problems),
            ("check_failed", state.checked.failed),
        )
        for name, text in failed
    ]


def _told(state: Pass) -> list[BusinessEvent]:
    """The failures with their texts, for the journal, because alerts carry none. Those of actions stand beside the actions."""
    return [
        BusinessEvent(f"tick.{kind}", {"name": name, "error": text})
        for kind, name, text in _failures(state)
        if kind != "action_failed"
    ]


def for_people(state: Pass) -> list[Alert]:
    """The alerts of which people are told on the town's channels: each is raised once, or once an hour."""
    return [alert for alert in _alerts(state) if alert.kind in _FOR_PEOPLE]


def _alerts(state: Pass) -> list[Alert]:
    tick = state.town.tick
    raised = list(state.drained.alerts)
    raised += alerts.conflicting_events(tick, state.conflicting_events)
    raised += [alerts.problem(tick, kind, name, text) for kind, name, text in _failures(state)]
    raised += [alerts.conflicting_actions(tick, *conflict) for conflict in state.applied.conflicts]
    raised += [
        alerts.platform_trouble(tick, event.data)
        for event in state.town.business_events
        if event.name == episodes.PLATFORM_TROUBLE
    ]
    raised += [alerts.violation(tick, violation) for violation in state.checked.open if violation.captured]
    return raised
