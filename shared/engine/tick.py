"""The tick: `(image, input) -> (image', report)`, a pure function (spec/tick.md).

Read `run` from top to bottom: open the pass, drain the events, run the safety nets, judge the breaker, reconcile and apply,
delete old rows, check the invariants, claim effects, write the journal. Nothing here reads a clock, draws a random id or
calls the outside. The caller decides what happens to the image: the worker commits it, a dry run drops it, a replay
compares it.
"""

from dataclasses import replace

from shared.domain import canonical, limits
from shared.domain.config import TownConfig
from shared.domain.ids import IdMaker
from shared.domain.report import AppliedEvent, TickReport
from shared.domain.states import Role
from shared.domain.tick import Tick, TickInput
from shared.engine import alerts, apply, drain, effects, invariants, one_pass, reconcile, row_retention
from shared.engine.drain import error_text
from shared.engine.one_pass import Pass
from shared.events import containers
from shared.events.brake import TownPaused
from shared.rules import breaker
from shared.town import archive, database, inbox, journal, migrations
from shared.town.database import Database
from shared.town.no_room import require_room
from shared.town.reading import TownReader
from shared.town.town import Town
from shared.town.town_keys import OWN_CLOCK
from shared.town.writing import agents, notices


def run(sql: Database, given: TickInput, *, town_id: str) -> TickReport:
    """Run one tick on an open image and leave the result in it. A quiet tick changes nothing.

    If this raises, the tick did not happen and the image is unchanged. Raises NoRoomLeft if the disk or the memory is full.
    """
    database.begin(sql)
    try:
        written = database.changes(sql)
        state = _open_pass(sql, given, town_id)
        state.drained = drain.pending_events(state.town, previous_tick_at=state.previous_tick_at)
        _brake(state)
        _safety_nets(state)
        _judge_breaker(state)
        reader = _reconcile_and_apply(state)
        state.problems += row_retention.forget_old_rows(
            state.town, published_to=given.journal_published_to, more_waiting=given.more_waiting
        )
        state.problems += row_retention.remove_archived(state.town, state.leaving)
        state.checked = invariants.check(state.town, reader, error_text=error_text)
        _tell_people(state)
        _claim_effects(state)
        report = one_pass.report(state, reader, quiet=not _worth_a_commit(sql, state, reader, written))
        if report.quiet:
            database.rollback(sql)
            return report
        report = alerts.limit_repeats(state.town, report)
        journal.record(state.town, report)
        database.commit(sql)
    except BaseException as error:
        database.rollback(sql)
        require_room(error)
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
    return tuple(drain.pending_events(state.town, previous_tick_at=state.previous_tick_at).events)


def _open_pass(sql: Database, given: TickInput, town_id: str) -> Pass:
    """Phase 4: set up the tick; store the signs of life, then the new events, then the observations."""
    migrations.apply_pending(sql)
    town = _town(sql, given, town_id)
    town.next_event_seq = town.keys.next_seq
    town.next_audit_seq = town.keys.next_audit_seq
    town.next_effect_seq = town.next_free_effect_seq()
    state = Pass(
        town=town,
        given=given,
        previous_tick_at=town.keys.last_tick_at,
    )
    state.leaving = archive.leaving(town, given.archived, judged_at=state.previous_tick_at)
    archive.put_back(sql, given.returned)
    _begin_settling(state)
    if given.own_clock:
        town.keys.clock = OWN_CLOCK
    if given.tick_no == 1:
        agents.get_or_create(town, Role.MAYOR, None)
    containers.hear(town, given.observations.agents)
    state.conflicting_events += inbox.store_all(town, given.new_events)
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
        fleet_channels=given.fleet_channels,
    )
    town = Town(sql=sql, tick=tick)
    config = TownConfig.model_validate(town.keys.config)
    town.tick = replace(tick, config=config, paused=town.keys.paused)
    return town


def _begin_settling(state: Pass) -> None:
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


def _brake(state: Pass) -> None:
    """A pause holds from the tick that applies it; a start only from the next one, which is settling."""
    if any(event.event_type == TownPaused.event_type for event in state.drained.events) and state.town.keys.paused:
        state.town.tick = replace(state.town.tick, paused=True)


def _safety_nets(state: Pass) -> None:
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
    # What the tick leaves in the inbox may be the heartbeats of agents that only seem to be silent.
    settling = settling_until is not None or state.given.more_waiting
    town.tick = replace(town.tick, draining=drain is not None, settling=settling)
    state.expired = effects.expire(town)


def _judge_breaker(state: Pass) -> None:
    """Phase 7: count the failed starts once; every rule of the pass uses the result."""
    town = state.town
    town.tick = replace(town.tick, breaker=town.keys.breaker)
    try:
        judged = breaker.count_failures(_reader(state), town.tick)
    except Exception as error:  # noqa: BLE001 - the breaker keeps its last state; the problem is counted and alerted
        require_room(error)
        state.problems.append(("breaker", error_text(error)))
        return
    if judged.turned:
        town.keys.breaker = judged
    town.tick = replace(town.tick, breaker=judged)


def _reconcile_and_apply(state: Pass) -> TownReader:
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


def _tell_people(state: Pass) -> None:
    """Request the notices of what this tick alerts of, on the channels that the town has."""
    for alert in one_pass.for_people(state):
        about = canonical.digest(list(alert.fingerprint))[:12]
        notices.tell(state.town, "alert", alert.message, severity="high", about=about)


def _claim_effects(state: Pass) -> None:
    """Phase 12: claim what this worker will start after the commit; a paused town only stops what runs."""
    state.claimed, state.effects_due = effects.claim(state.town, only_stops=state.town.tick.paused)


def _reader(state: Pass) -> TownReader:
    return TownReader(state.town.sql, state.town.tick.config, state.town.unreadable)


def _changed(sql: Database, written: int) -> bool:
    return database.changes(sql) != written


def _worth_a_commit(sql: Database, state: Pass, reader: TownReader, written: int) -> bool:
    """Whether anything happened; a quiet tick is not committed (spec/tick.md section 1)."""
    return (
        bool(state.given.new_events)
        or _changed(sql, written)
        or bool(state.applied.failed or state.decisions.failed_rules or state.problems or state.checked.failed)
        or state.given.tick_no == 1
        or one_pass.in_progress(reader)
    )
