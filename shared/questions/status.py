"""The status report: what a town is doing, and for each waiting bead why, since when, and until when or for whom it waits.

It is computed from the committed image (spec/tick.md section 13), with the readers and functions that the next tick uses.
Nothing is written, and neither runtime nor forge is called.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from typing_extensions import TypedDict

from shared.domain import limits
from shared.domain.answers import FieldsOf
from shared.domain.shapes import document
from shared.domain.states import BeadStatus
from shared.domain.tick import Breaker, Observations, Tick
from shared.domain.times import text_or_none, to_text
from shared.engine import tick
from shared.images import summary
from shared.ports.steps import Call, Steps
from shared.ports.town_store import TownImage
from shared.questions import overview
from shared.questions.overview import BeadLine, ConvoyLine, FailedLine, ForgeLine, OpenViolation
from shared.questions.waiting import Waiting
from shared.questions.waits import Waits
from shared.runner.inputs import Reading, fix_input
from shared.runner.surroundings import Surroundings
from shared.town import database
from shared.town.reading import TownReader

CONVOYS_SHOWN: Final = 50
FAILED_SHOWN: Final = 20
FAILED_SHOWN_FOR: Final = timedelta(hours=24)
_NOTHING_NEW: Final = Reading((), (), more=False)

ConvoyState = Literal["failed", "landed", "staged", "active"]


@dataclass(frozen=True, slots=True)
class AgentLine:
    """An agent, for lists. `says` is its last status message."""

    agent_id: str
    identity: str
    role: str
    status: str
    hook: str | None
    generation: int
    last_activity_at: str | None
    says: str | None


@dataclass(frozen=True, slots=True)
class ConvoyStanding(ConvoyLine):
    """A convoy, for lists, with its state."""

    state: ConvoyState


class CommittedAnswer(TypedDict):
    """The commit that an answer is about; `time` is the time of the commit."""

    txid: int
    tick: int
    time: str


class BreakerAnswer(TypedDict):
    """The breaker that pauses dispatching when too many starts fail."""

    open: bool
    since: str | None
    failures: int


class UnreadableAnswer(TypedDict):
    """A row that cannot be read."""

    table: str
    key: str
    problem: str


class EventCounts(TypedDict):
    """The numbers of pending and poisoned events."""

    pending: int
    poisoned: int
    oldestPendingSince: str | None


class StatusAnswer(TypedDict):
    """The status of a town at one time."""

    townId: str
    asOf: CommittedAnswer
    now: str
    nextDueAt: str | None
    onlyAnEventWakesIt: bool
    paused: bool
    draining: bool
    settling: bool
    breaker: BreakerAnswer
    agents: list[Annotated[dict[str, Any], FieldsOf(AgentLine)]]
    beads: list[Annotated[dict[str, Any], FieldsOf(BeadLine)]]
    waiting: list[Waiting]
    failed: list[Annotated[dict[str, Any], FieldsOf(FailedLine)]]
    refusedByForge: list[Annotated[dict[str, Any], FieldsOf(ForgeLine)]]
    convoys: list[Annotated[dict[str, Any], FieldsOf(ConvoyStanding)]]
    violations: list[Annotated[dict[str, Any], FieldsOf(OpenViolation)]]
    unreadable: list[UnreadableAnswer]
    inboxBatches: int
    events: EventCounts


@dataclass(frozen=True, slots=True)
class TownStatus:
    """The status of a town at one time. `next_due` is None if only an event can cause the next tick."""

    base: TownImage
    now: datetime
    next_due: datetime | None
    paused: bool
    draining: bool
    settling: bool
    breaker: Breaker
    agents: tuple[AgentLine, ...]
    beads: tuple[BeadLine, ...]
    waiting: tuple[Waiting, ...]
    failed: tuple[FailedLine, ...]
    refused: tuple[ForgeLine, ...]
    convoys: tuple[ConvoyLine, ...]
    violations: tuple[OpenViolation, ...]
    unreadable: tuple[tuple[str, str, str], ...]
    inbox_batches: int
    pending_events: int
    poisoned_events: int
    oldest_pending: str | None = None

    def as_json(self) -> StatusAnswer:
        """The report as answers show it."""
        facts = self.base.facts
        return {
            "townId": self.base.town_id,
            "asOf": {"txid": self.base.txid, "tick": facts.tick_no, "time": to_text(facts.time)},
            "now": to_text(self.now),
            "nextDueAt": text_or_none(self.next_due),
            "onlyAnEventWakesIt": self.next_due is None and not self.inbox_batches,
            "paused": self.paused,
            "draining": self.draining,
            "settling": self.settling,
            "breaker": {
                "open": self.breaker.open,
                "since": text_or_none(self.breaker.since),
                "failures": self.breaker.failures,
            },
            "agents": [asdict(agent) for agent in self.agents],
            "beads": [asdict(bead) for bead in self.beads],
            "waiting": [document(each) for each in self.waiting],
            "failed": [asdict(bead) for bead in self.failed],
            "refusedByForge": [asdict(line) for line in self.refused],
            "convoys": [asdict(with_state(convoy)) for convoy in self.convoys],
            "violations": [asdict(violation) for violation in self.violations],
            "unreadable": [{"table": table, "key": key, "problem": why} for table, key, why in self.unreadable],
            "inboxBatches": self.inbox_batches,
            "events": {
                "pending": self.pending_events,
                "poisoned": self.poisoned_events,
                "oldestPendingSince": self.oldest_pending,
            },
        }


def convoy_state(convoy: ConvoyLine) -> ConvoyState:
    """The state that is shown: failed, landed (closed), staged or active."""
    if convoy.status == BeadStatus.FAILED:
        return "failed"
    if convoy.status == BeadStatus.CLOSED:
        return "landed"
    return "staged" if convoy.staged else "active"


def with_state(convoy: ConvoyLine) -> ConvoyStanding:
    """The convoy with its state."""
    return ConvoyStanding(**asdict(convoy), state=convoy_state(convoy))


def status(town_id: str, around: Surroundings) -> Steps[TownStatus]:
    """Report on the present state of a town. Raises the errors of loading it."""
    image = yield from around.store.load(town_id)
    batches = yield from around.store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)
    now: datetime = yield Call("clock", around.clock.now)
    with database.opened(image.image) as sql:
        database.check_identity(sql, town_id)
        about = summary.before_tick(sql)
        given = fix_input(
            around,
            image,
            about,
            now=now,
            worker_id="status",
            reading=_NOTHING_NEW,
            observations=Observations(asked=False),
        )
        reader, moment = tick.current_state(sql, given, town_id=town_id)
        waits = Waits(sql, given, town_id=town_id)
        return _status(sql, image, reader, moment, waits, next_due=about.next_due, batches=len(batches.objects))


def _status(
    sql: database.Database,
    image: TownImage,
    reader: TownReader,
    moment: Tick,
    waits: Waits,
    *,
    next_due: datetime | None,
    batches: int,
) -> TownStatus:
    unread = tuple((table, key, why) for (table, key), why in sorted(reader.unreadable.items()))
    return TownStatus(
        base=image,
        now=moment.now,
        next_due=image.facts.time if image.facts.tick_no == 0 else next_due,
        paused=moment.paused,
        draining=moment.draining,
        settling=moment.settling,
        breaker=moment.breaker,
        agents=agent_lines(sql, reader),
        beads=tuple(overview.live_beads(sql)),
        waiting=tuple(waits.of_beads.values()),
        failed=tuple(overview.failed_beads(sql, since=to_text(moment.now - FAILED_SHOWN_FOR), limit=FAILED_SHOWN)),
        refused=tuple(overview.forge_answers(sql)),
        convoys=tuple(overview.convoys(sql, limit=CONVOYS_SHOWN)),
        violations=tuple(overview.open_violations(sql)),
        unreadable=unread,
        inbox_batches=batches,
        pending_events=overview.count_events(sql, "pending"),
        poisoned_events=overview.count_events(sql, "poisoned"),
        oldest_pending=overview.oldest_pending(sql),
    )


def agent_lines(sql: database.Database, reader: TownReader) -> tuple[AgentLine, ...]:
    """Every agent, in order of id."""
    says = overview.agent_messages(sql)
    return tuple(
        AgentLine(
            agent_id=agent.id,
            identity=agent.identity,
            role=agent.role.value,
            status=agent.status.value,
            hook=agent.hook,
            generation=agent.generation,
            last_activity_at=text_or_none(agent.last_activity_at),
            says=says.get(agent.id) if agent.status.busy else None,
        )
        for agent in reader.agents
    )
