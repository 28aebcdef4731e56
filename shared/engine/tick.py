"""The tick: `(image, input) -> (image', report)`, a pure function (spec/tick.md).

Read `run` from top to bottom: open the pass, drain the events, run the safety nets, judge the breaker, reconcile and apply,
delete old rows, check the invariants, claim effects, write the journal. Nothing here reads a clock, draws a random id or
calls the outside. The caller decides what happens to the image: the worker commits it, a dry run drops it, a replay
compares it.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.domain import limits
from shared.domain.alert import Alert
from shared.domain.config import TownConfig
from shared.domain.ids import IdMaker
from shared.domain.limits import MILLISECOND
from shared.domain.report import CONFLICT, AppliedEvent, BusinessEvent, ClaimedEffect, TickMetrics, TickReport
from shared.domain.states import BeadStatus, Role
from shared.domain.tick import Envelope, Tick, TickInput
from shared.domain.times import from_text
from shared.engine import alerts, apply, drain, effects, invariants, reconcile, row_retention
from shared.engine.drain import error_text
from shared.events import containers, episodes
from shared.rules import breaker
from shared.town import database, inbox, journal, migrations
from shared.town.database import Database
from shared.town.reading import TownReader
from shared.town.town import Town
from shared.town.writing import agents, merge_claims


@dataclass(slots=True)
class _Pass:
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
    conflicting_events: list[Envelope] = field(default_factory=list)


def run(sql: Database, given: TickInput, *, town_id: str) -> TickReport:
    """Run one tick on an open image and leave the result in it. A quiet tick changes nothing.

    If this raises, the tick did not happen and the image is unchanged.
    """
    database.begin(sql)
    try:
        written = database.changes(sql)
        state = _open_pass(sql, given, town_id)
        state.drained = drain.pending_events(state.town)
        _safety_nets(state)
        _judge_breaker(state)
        reader = _reconcile_and_apply(state)
        state.problems += row_retention.forget_old_rows(state.town, published_to=given.journal_published_to)
        state.checked = invariants.check(state.town, reader, error_text=error_text)
        _claim_effects(state)
        report = _report(state, reader, quiet=not _worth_a_commit(sql, state, reader, written))
        if report.quiet:
            database.rollback(sql)
            return report
        report = alerts.limit_repeats(state.town, report)
        journal.record(state.town, report)
        database.commit(sql)
    except BaseException:
        database.rollback(sql)
        raise
    return report


def current_state(sql: Database, given: TickInput, *, town_id: str) -> tuple[TownReader, Tick]:
    """The current state and a tick that sees it, for questions that change nothing (status, the dry run of a paused town)."""
    town = _town(sql, given, town_id)
    settling_until = town.keys.settling_until
    town.tick = replace(
        town.tick,
        draining=town.keys.drain is not None,
        settling=settling_until is not None and town.tick.now < settling_until,
        breaker=town.keys.breaker,
    )
    reader = TownReader(sql, town.tick.config, {})
    return reader, replace(town.tick, breaker=breaker.count_failures(reader, town.tick))


def apply_events(sql: Database, given: TickInput, *, town_id: str) -> tuple[AppliedEvent, ...]:
    """Phases 4 and 5 only: store the new events and drain them, without running any rule."""
    state = _open_pass(sql, given, town_id)
    return tuple(drain.pending_events(state.town).events)


def _open_pass(sql: Database, given: TickInput, town_id: str) -> _Pass:
    """Phase 4: set up the tick; store the new events, then the observations."""
    migrations.apply_pending(sql)
    town = _town(sql, given, town_id)
    town.next_event_seq = town.keys.next_seq
    town.next_audit_seq = town.keys.next_audit_seq
    town.next_effect_seq = town.next_free_effect_seq()
    state = _Pass(
        town=town,
        given=given,
        previous_tick_at=town.keys.last_tick_at,
    )
    _begin_settling(state)
    if given.tick_no == 1:
        agents.get_or_create(town, Role.MAYOR, None)
    for envelope in given.new_events:
        if inbox.store(town, envelope) == "conflict":
            state.conflicting_events.append(envelope)
    if state.conflicting_events:
        town.keys.count(conflicts=len(state.conflicting_events))
    containers.observe(town, given.observations.agents)
    state.pending_before = inbox.pending_count(town)
    return state


def _town(sql: Database, given: TickInput, town_id: str) -> Town:
    tick = Tick(
        town_id=town_id,
        number=given.tick_no,
        id=given.tick_id,
        now=given.now,
        config=TownConfig(),
        ids=IdMaker(town_id, given.tick_no),
        restore_window=given.restore_window,
        container=given.observations.container,
    )
    town = Town(sql=sql, tick=tick)
    config = TownConfig.model_validate(town.keys.config)
    town.tick = replace(tick, config=config, paused=town.keys.paused)
    return town


def _begin_settling(state: _Pass) -> None:
    """After an outage, time-based recovery waits until heartbeats and observations are current (spec/tick.md section 9)."""
    # Without this, an outage of our own would look like the death of every agent. Example: no tick ran from 12:00 to 12:10,
    # all heartbeats in the image are ten minutes old, and A2 would declare all agents lost although their heartbeats wait
    # in the inbox or are on the way. So for SETTLE_FOR after a gap of more than SETTLE_GAP, rules that act on silence do
    # nothing. Settling starts only if there is work that could be lost; a new gap during settling starts it again.
    town = state.town
    if state.previous_tick_at is None or town.tick.now - state.previous_tick_at <= limits.SETTLE_GAP:
        return
    if town.has_work_in_progress():
        town.keys.settling_until = town.tick.now + limits.SETTLE_FOR


def _safety_nets(state: _Pass) -> None:
    """Phase 6: a drain times out, settling ends, effects expire."""
    town = state.town
    drain = town.keys.drain
    if drain is not None and town.tick.now > drain.last_moment:
        town.keys.drain = None
        drain = None
    settling_until = town.keys.settling_until
    if settling_until is not None and town.tick.now >= settling_until:
        town.keys.settling_until = None
        settling_until = None
    town.tick = replace(town.tick, draining=drain is not None, settling=settling_until is not None)
    state.expired = effects.expire(town)


def _judge_breaker(state: _Pass) -> None:
    """Phase 7: count the failed starts once; every rule of the pass uses the result."""
    town = state.town
    town.tick = replace(town.tick, breaker=town.keys.breaker)
    try:
        judged = breaker.count_failures(_reader(state), town.tick)
    except Exception as error:  # noqa: BLE001 - the breaker keeps its last state; the problem is counted and alerted
        state.problems.append(("breaker", error_text(error)))
        return
    if judged.turned:
        town.keys.breaker = judged
    town.tick = replace(town.tick, breaker=judged)


def _reconcile_and_apply(state: _Pass) -> TownReader:
    """Phases 8 and 9; returns a reader of the resulting state. In a paused town the rules do not run.

    If no action changed anything, the rules' own reader is still correct and is returned. Housekeeping, which comes next,
    deletes nothing that a reader shows.
    """
    town = state.town
    reader, written = _reader(state), database.changes(town.sql)
    if not town.tick.paused:
        state.decisions = reconcile.decide(reader, town.tick)
    state.applied = apply.all_intents(town, [*state.drained.returned, *state.decisions.intents])
    return _reader(state) if _changed(town.sql, written) else reader


def _claim_effects(state: _Pass) -> None:
    """Phase 12: claim what this worker will start after the commit; a paused town starts nothing."""
    if state.town.tick.paused:
        state.effects_due = None
    else:
        state.claimed, state.effects_due = effects.claim(state.town)


def _reader(state: _Pass) -> TownReader:
    return TownReader(state.town.sql, state.town.tick.config, state.town.unreadable)


def _changed(sql: Database, written: int) -> bool:
    return database.changes(sql) != written


def _worth_a_commit(sql: Database, state: _Pass, reader: TownReader, written: int) -> bool:
    """Whether anything happened; a quiet tick is not committed (spec/tick.md section 1)."""
    return (
        bool(state.given.new_events)
        or _changed(sql, written)
        or bool(state.applied.failed or state.decisions.failed_rules or state.problems or state.checked.failed)
        or state.given.tick_no == 1
        or in_progress(reader)
    )


def in_progress(reader: TownReader) -> bool:
    """Whether an agent is working or stalled or an MR is in progress: such a town is watched."""
    return any(agent.status.busy for agent in reader.agents) or any(
        review.status is BeadStatus.IN_PROGRESS for review in reader.reviews
    )


def _report(state: _Pass, reader: TownReader, *, quiet: bool) -> TickReport:
    town = state.town
    pending_after = inbox.pending_count(town)
    return TickReport(
        town_id=town.tick.town_id,
        input=state.given,
        quiet=quiet,
        events=(*state.drained.events, *_conflicts(state)),
        actions=tuple(state.applied.actions),
        effects=state.claimed,
        violations=tuple(state.checked.open),
        metrics=_metrics(state, pending_after),
        next_due=_next_due(state, reader, pending_after),
        business_events=(*town.business_events, *_told(state)),
        alerts=tuple(_alerts(state)),
        pending_before=state.pending_before,
        pending_after=pending_after,
        oldest_pending=inbox.oldest_pending(town) if pending_after else None,
    )


def _conflicts(state: _Pass) -> list[AppliedEvent]:
    return [AppliedEvent(event.event_id, event.event_type, CONFLICT) for event in state.conflicting_events]


def _metrics(state: _Pass, pending_after: int) -> TickMetrics:
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
    )


def _lag(state: _Pass) -> int:
    """Milliseconds between the time at which this tick was due and its `now`."""
    wanted = [at for at in (state.given.due_at,) if at is not None]
    wanted += [from_text(envelope.received_at) for envelope in state.given.new_events]
    if not wanted or state.previous_tick_at is None:
        return 0
    return max((state.town.tick.now - max(state.previous_tick_at, min(wanted))) // MILLISECOND, 0)


def _next_due(state: _Pass, reader: TownReader, pending_after: int) -> datetime | None:
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


def _failures(state: _Pass) -> list[tuple[str, str, str]]:
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


def _told(state: _Pass) -> list[BusinessEvent]:
    """The failures with their texts, for the journal, because alerts carry none. Those of actions stand beside the actions."""
    return [
        BusinessEvent(f"tick.{kind}", {"name": name, "error": text})
        for kind, name, text in _failures(state)
        if kind != "action_failed"
    ]


def _alerts(state: _Pass) -> list[Alert]:
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
