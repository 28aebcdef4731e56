"""The town at the end of a replay: its agents, beads, convoys and backlog, and what the next tick would do."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain.limits import just_after
from shared.domain.report import JudgedAction
from shared.domain.shapes import Time, answer
from shared.domain.tick import Observations, TickInput
from shared.engine import tick
from shared.history.rerun import Rerun
from shared.images import summary
from shared.questions import overview, status
from shared.questions.overview import BeadLine, ConvoyLine, EffectLine
from shared.questions.status import AgentLine
from shared.runner.code_version import code_version
from shared.town import database, migrations

BEADS_SHOWN: Final = 5_000


@answer
class AsOf:
    """The state that an answer is about: its commit, its last tick (`time` is null before the first), and the versions in use."""

    txid: int
    tick: int
    time: Time | None
    sqlite_version: str
    code_version: str


@answer
class Backlog:
    """The backlog: the numbers of pending and of poisoned events, and the unfinished effects."""

    pending_events: int
    poisoned_events: int
    effects: tuple[EffectLine, ...]


@answer
class StateSnapshot:
    """A town after a tick."""

    agents: tuple[AgentLine, ...]
    non_terminal_beads: tuple[BeadLine, ...]
    non_terminal_beads_omitted: int
    convoys: tuple[ConvoyLine, ...]
    queue: Backlog
    draining: bool
    settling: bool
    paused: bool
    breaker_open: bool
    next_due_at: Time | None


@dataclass(frozen=True, slots=True)
class TownState:
    """A town after a tick, and which tick that was."""

    as_of: AsOf
    snapshot: StateSnapshot


def town_state(running: Rerun, at: datetime) -> TownState:
    """The state after the last tick of a rerun, as seen at the time `at`."""
    with migrations.newest_schema(running.sql):
        return _state(running, at)


def _state(running: Rerun, at: datetime) -> TownState:
    about = summary.before_tick(running.sql)
    reader, moment = tick.current_state(running.sql, given_at(running, at), town_id=running.town_id)
    beads = overview.live_beads(running.sql)
    return TownState(
        as_of(running.txid, running.tick_no, about.last_tick_at),
        StateSnapshot(
            agents=status.agent_lines(running.sql, reader),
            non_terminal_beads=beads[:BEADS_SHOWN],
            non_terminal_beads_omitted=max(len(beads) - BEADS_SHOWN, 0),
            convoys=overview.convoys(running.sql, limit=status.CONVOYS_SHOWN),
            queue=_backlog(running.sql),
            draining=moment.draining,
            settling=moment.settling,
            paused=moment.paused,
            breaker_open=moment.breaker.open,
            next_due_at=about.next_due,
        ),
    )


def as_of(txid: int, tick_no: int, time: datetime | None) -> AsOf:
    """The state after this commit and tick, seen with the installed code."""
    return AsOf(txid, tick_no, time, sqlite_version=database.SQLITE_VERSION, code_version=code_version())


def _backlog(sql: database.Database) -> Backlog:
    return Backlog(
        pending_events=overview.count_events(sql, "pending"),
        poisoned_events=overview.count_events(sql, "poisoned"),
        effects=overview.unfinished_effects(sql),
    )


def next_actions(running: Rerun, at: datetime) -> tuple[JudgedAction, ...]:
    """The actions of a tick at the time `at`, without new events and without observing any process."""
    with database.opened(running.image) as copy:
        report = tick.run(copy, given_at(running, at), town_id=running.town_id)
    return report.actions


def given_at(running: Rerun, at: datetime) -> TickInput:
    """The input of a tick at the time `at`, or just after the last tick if `at` is not later. It has no new events."""
    return next_input(running.sql, running.tick_no, running.digest, at=at)


def next_input(sql: database.Database, tick_no: int, digest: str, *, at: datetime) -> TickInput:
    """The same for an image whose last tick has this number."""
    about = summary.before_tick(sql)
    last = about.last_tick_at
    return TickInput(
        tick_no=tick_no + 1,
        tick_id=f"{tick_no + 1}-next",
        now=at if last is None else max(at, just_after(last)),
        code_version=code_version(),
        sqlite_version=database.SQLITE_VERSION,
        config_digest="",
        prev_image_digest=digest,
        observations=Observations(asked=False),
        due_at=about.next_due,
    )
