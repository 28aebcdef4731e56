"""The status report: what a town is doing, and for each waiting bead why, since when, and until when or for whom it waits.

It is computed from the committed image (spec/tick.md section 13), with the readers and functions that the next tick uses.
Nothing is written, and neither runtime nor forge is called.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.domain import shapes
from shared.domain.brake import Brake
from shared.domain.limits import MILLISECOND
from shared.domain.report import TickMetrics
from shared.domain.restores import InPlaceRestore
from shared.domain.shapes import Time, answer
from shared.domain.states import AgentStatus, BeadStatus, Role
from shared.domain.tick import Tick, TickInput
from shared.domain.times import from_text, to_text
from shared.engine import tick
from shared.images import summary
from shared.ports.steps import Steps
from shared.ports.town_store import TownImage
from shared.questions import activity, alarms, attention, failures, mailbox, overview, spend
from shared.questions.activity import LastHour
from shared.questions.alarms import AlarmState
from shared.questions.attention import Attention
from shared.questions.beside import Beside, Unread, beside_the_image, present_input, unread_of
from shared.questions.failures import FailedLine, OpenLogs, OpenPast
from shared.questions.mailbox import Saying, Told, UnreadMail
from shared.questions.next_due import next_due
from shared.questions.overview import AbandonedLine, BeadLine, ConvoyLine, ForgeLine, OpenViolation
from shared.questions.spend import DaySpend, Spend
from shared.questions.waiting import Waiting
from shared.questions.waits import Waits
from shared.runner.clock_guard import lead_of
from shared.runner.neighbours import is_set_aside
from shared.runner.surroundings import Surroundings
from shared.town import database, journal, migrations
from shared.town.reading import TownReader

CONVOYS_SHOWN: Final = 50
FAILED_SHOWN: Final = 20
ABANDONED_SHOWN: Final = 50
FAILED_SHOWN_FOR: Final = timedelta(hours=24)
SAID_SHOWN: Final = 20


@answer
class AgentLine:
    """An agent. `says` is its status message while it works, otherwise null."""

    agent_id: str
    identity: str
    role: Role
    status: AgentStatus
    hook: str | None
    generation: int
    last_activity_at: Time | None
    says: str | None
    used: Spend | None


@answer
class Commit:
    """The commit that an answer is about; `time` is the time of the commit."""

    txid: int
    tick: int
    time: Time


@answer
class BreakerState:
    """The breaker that pauses dispatching when too many starts fail."""

    open: bool
    since: Time | None
    failures: int


@answer
class UnreadableRow:
    """A row that cannot be read."""

    table: str
    key: str
    problem: str


@answer
class EventCounts:
    """The numbers of pending and poisoned events. Pending are those that wait in the inbox too."""

    pending: int
    poisoned: int
    oldest_pending_since: Time | None


@answer
class LastTick:
    """The newest tick of the journal."""

    tick: int
    time: Time
    metrics: TickMetrics


@answer
class BeadSummary:
    """The number of live beads, in total and by status."""

    live: int
    by_status: dict[BeadStatus, int]


@answer
class SetAsideSince:
    """A town that is not run, because so many of its runs ended the process that made them; `since` the first of them."""

    deaths: int
    since: Time


@answer
class TownStatus:
    """The status of a town at one time.

    `nextDueAt` is null if only an event can cause the next tick, and `lastTick` before the first tick. `waitingSummary` counts
    live beads by waiting reason. `unreadMail` are the messages whose delivery is not confirmed, `mayorSaid` what the mayor said
    in the last 24 hours. `spend` is what the town used on the last days, `used` what the newest generation of an agent used.
    `lastHour` is how much it did in the last hour.
    `aheadSeconds` is null unless the newest commit is from the future; until that time, the town does nothing. `ownClock`: the
    town runs on a clock of its own, which may be ahead.
    `attention` is everything that needs attention, `mayorTold` what the mayor was told last.
    `brake` says who paused the town and when; null if it runs, or has been paused since it was created or imported.
    `setAside` is null unless the town is not run until somebody resumes it. `lastRestore` is the newest restore in place.
    """

    town_id: str
    as_of: Commit
    now: Time
    next_due_at: Time | None
    only_an_event_wakes_it: bool
    ahead_seconds: int | None
    own_clock: bool
    paused: bool
    draining: bool
    settling: bool
    breaker: BreakerState
    agents: tuple[AgentLine, ...]
    beads: tuple[BeadLine, ...]
    waiting: tuple[Waiting, ...]
    failed: tuple[FailedLine, ...]
    refused_by_forge: tuple[ForgeLine, ...]
    abandoned: tuple[AbandonedLine, ...]
    convoys: tuple[ConvoyLine, ...]
    violations: tuple[OpenViolation, ...]
    unreadable: tuple[UnreadableRow, ...]
    inbox_batches: int
    events: EventCounts
    last_tick: LastTick | None
    alarms: tuple[AlarmState, ...]
    bead_summary: BeadSummary
    waiting_summary: dict[str, int]
    unread_mail: tuple[UnreadMail, ...]
    mayor_said: tuple[Saying, ...]
    merges_unproven: int
    spend: tuple[DaySpend, ...]
    last_hour: LastHour
    attention: tuple[Attention, ...] = ()
    mayor_told: Told | None = None
    last_restore: InPlaceRestore | None = None
    brake: Brake | None = None
    set_aside: SetAsideSince | None = None


def status(
    town_id: str, around: Surroundings, logs: OpenLogs | None = None, past: OpenPast | None = None
) -> Steps[TownStatus]:
    """The present state of a town, with what `logs` and `past` say of its failed beads. Raises the errors of loading it."""
    image = yield from around.store.load(town_id)
    found = yield from status_of(image, around)
    told = yield from failures.told(town_id, found.failed, logs, past, last_tick=found.as_of.tick)
    return replace(found, failed=told)


def status_of(image: TownImage, around: Surroundings) -> Steps[TownStatus]:
    """The same for an image."""
    beside = yield from beside_the_image(image.town_id, around)
    with migrations.readable(image.image) as sql:
        database.check_identity(sql, image.town_id)
        found, _ = seen(sql, image, beside, present_input(sql, image, around, beside.now))
    return found


def seen(sql: database.Database, image: TownImage, beside: Beside, given: TickInput) -> tuple[TownStatus, Waits]:
    """The status as a tick with this input would see the town, and why each of its rows waits."""
    own = summary.before_tick(sql).own_clock
    _, moment = tick.current_state(sql, given, town_id=image.town_id)
    waits = Waits(sql, given, town_id=image.town_id)
    found = _status(
        sql,
        image,
        waits,
        moment,
        due=next_due(image, given),
        unread=unread_of(sql, beside),
        lead=None if own else lead_of(image.facts.time, now=beside.now),
        own=own,
    )
    apart = beside.apart
    if apart and is_set_aside(apart):
        found = replace(found, set_aside=SetAsideSince(apart.deaths, apart.since))
    return replace(found, attention=tuple(_attention(found))), waits


def _attention(found: TownStatus) -> Iterator[Attention]:
    """Everything that needs attention, the worst first."""
    yield from (Attention("violation", each.subject, each.opened_at) for each in found.violations)
    yield from (Attention("unreadable", each.key, None) for each in found.unreadable)
    if found.set_aside is not None:
        yield Attention("set_aside", None, found.set_aside.since)
    if found.events.poisoned:
        yield Attention("poisoned", None, None)
    yield from attention.of_failed(found.failed)
    yield from attention.of_waits(found.waiting, found.beads)
    mayors = (each.agent_id for each in found.agents if each.role is Role.MAYOR and each.status is AgentStatus.WAITING)
    yield from attention.of_mayor(next(mayors, None), found.mayor_said)


def _status(
    sql: database.Database,
    image: TownImage,
    waits: Waits,
    moment: Tick,
    *,
    due: datetime | None,
    unread: Unread,
    lead: timedelta | None,
    own: bool,
) -> TownStatus:
    facts = image.facts
    beads = overview.live_beads(sql)
    violations = overview.open_violations(sql)
    events = _events(sql, unread)
    last = last_tick(sql)
    breaker = moment.breaker
    return TownStatus(
        town_id=image.town_id,
        as_of=Commit(image.txid, facts.tick_no, facts.time),
        now=moment.now,
        next_due_at=due,
        only_an_event_wakes_it=due is None and not unread.batches,
        ahead_seconds=None if lead is None else lead // timedelta(seconds=1),
        own_clock=own,
        paused=moment.paused,
        draining=moment.draining,
        settling=moment.settling,
        breaker=BreakerState(breaker.open, breaker.since, breaker.failures),
        agents=agent_lines(sql, waits.town),
        beads=beads,
        waiting=tuple(waits.of_beads.values()),
        failed=failures.failed_beads(
            sql,
            waits.town,
            since=to_text(moment.now - FAILED_SHOWN_FOR),
            limit=FAILED_SHOWN,
            holding=failures.held_back(waits.of_beads.values()),
        ),
        refused_by_forge=overview.forge_answers(sql),
        abandoned=overview.abandoned_pull_requests(sql, limit=ABANDONED_SHOWN),
        convoys=overview.convoys(sql, limit=CONVOYS_SHOWN),
        violations=violations,
        unreadable=tuple(UnreadableRow(*place, why) for place, why in sorted(waits.town.unreadable.items())),
        inbox_batches=unread.batches,
        events=events,
        last_tick=last,
        alarms=_alarms(image, moment, len(violations), events, last),
        bead_summary=BeadSummary(len(beads), dict(sorted(Counter(bead.status for bead in beads).items()))),
        waiting_summary=waits.counts(),
        unread_mail=mailbox.unread_mail(sql, waits.town),
        mayor_said=mailbox.sayings(sql, since=moment.now - mailbox.SAID_SHOWN_FOR, limit=SAID_SHOWN),
        mayor_told=mailbox.told(sql),
        merges_unproven=waits.town.keys.merges_unproven,
        spend=spend.days(sql, moment.now),
        last_hour=activity.last_hour(sql, moment.now),
        last_restore=next(reversed(waits.town.keys.restores), None),
        brake=waits.town.keys.brake,
    )


def last_tick(sql: database.Database) -> LastTick | None:
    """Number, time and metrics of the newest journal row; None before the first tick."""
    rows = journal.rows(sql, limit=1)
    if not rows:
        return None
    [row] = rows
    return LastTick(row["tick_no"], from_text(row["now"]), shapes.read(TickMetrics, row["outputs"]["metrics"]))


def _events(sql: database.Database, unread: Unread) -> EventCounts:
    since = [at for at in (overview.oldest_pending(sql), unread.since) if at is not None]
    return EventCounts(
        pending=overview.count_events(sql, "pending") + unread.events,
        poisoned=overview.count_events(sql, "poisoned"),
        oldest_pending_since=min(since, default=None),
    )


def _alarms(
    image: TownImage, moment: Tick, violations: int, events: EventCounts, last: LastTick | None
) -> tuple[AlarmState, ...]:
    """The alarms that one town can raise, evaluated for this town alone."""
    oldest = events.oldest_pending_since or moment.now
    return alarms.judged(
        {
            "invariant-violated": violations,
            "events-pile-up": events.pending,
            "event-waits-long": max(moment.now - oldest, timedelta(0)) // MILLISECOND,
            "event-poisoned": 0 if last is None else last.metrics.events_poisoned,
            "breaker-open": int(moment.breaker.open),
            "image-large": image.size,
        }
    )


def agent_lines(sql: database.Database, reader: TownReader) -> tuple[AgentLine, ...]:
    """Every agent, in order of id."""
    says, used = overview.agent_messages(sql), spend.of_agents(sql)
    return tuple(
        AgentLine(
            agent_id=agent.id,
            identity=agent.identity,
            role=agent.role,
            status=agent.status,
            hook=agent.hook,
            generation=agent.generation,
            last_activity_at=agent.last_activity_at,
            says=says.get(agent.id) if agent.status.busy else None,
            used=used.get(agent.id),
        )
        for agent in reader.agents
    )
