"""The town at the end of a replay: its agents, beads, convoys and backlog, and what the next tick would do."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from shared.domain.answers import ActionAnswer
from shared.domain.limits import just_after
from shared.domain.tick import Observations, TickInput
from shared.domain.times import text_or_none
from shared.engine import tick
from shared.history.rerun import Rerun
from shared.images import summary
from shared.questions import overview, status
from shared.questions.answers import AsOf, StateSnapshot
from shared.questions.overview import BeadLine, ConvoyLine
from shared.questions.status import AgentLine
from shared.runner.code_version import code_version
from shared.town import database, outbox
from shared.town.outbox import EffectLine

BEADS_SHOWN: Final = 5_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """The backlog: the numbers of pending and of poisoned events, and the unfinished effects."""

    pending_events: int
    poisoned_events: int
    effects: tuple[EffectLine, ...]


@dataclass(frozen=True, slots=True)
class TownState:
    """The state of a town after a tick."""

    tick_no: int
    txid: int
    at: datetime | None
    agents: tuple[AgentLine, ...]
    beads: tuple[BeadLine, ...]
    convoys: tuple[ConvoyLine, ...]
    queue: Backlog
    draining: bool
    settling: bool
    paused: bool
    breaker_open: bool
    next_due: datetime | None

    def as_json(self) -> StateSnapshot:
        """The state as answers show it."""
        return {
            "agents": [asdict(agent) for agent in self.agents],
            "nonTerminalBeads": [asdict(bead) for bead in self.beads[:BEADS_SHOWN]],
            "nonTerminalBeadsOmitted": max(len(self.beads) - BEADS_SHOWN, 0),
            "convoys": [asdict(status.with_state(convoy)) for convoy in self.convoys],
            "queue": {
                "pendingEvents": self.queue.pending_events,
                "poisonedEvents": self.queue.poisoned_events,
                "effects": [asdict(effect) for effect in self.queue.effects],
            },
            "draining": self.draining,
            "settling": self.settling,
            "paused": self.paused,
            "breakerOpen": self.breaker_open,
            "nextDueAt": text_or_none(self.next_due),
        }

    def as_of(self) -> AsOf:
        """The commit, tick and versions that identify this state."""
        return {
            "txid": self.txid,
            "tick": self.tick_no,
            "time": text_or_none(self.at),
            "sqliteVersion": database.SQLITE_VERSION,
            "codeVersion": code_version(),
        }


def town_state(running: Rerun, at: datetime) -> TownState:
    """The state after the last tick of a rerun, as seen at the time `at`."""
    about = summary.before_tick(running.sql)
    reader, moment = tick.current_state(running.sql, given_at(running, at), town_id=running.town_id)
    return TownState(
        tick_no=running.tick_no,
        txid=running.txid,
        at=about.last_tick_at,
        agents=status.agent_lines(running.sql, reader),
        beads=tuple(overview.live_beads(running.sql)),
        convoys=tuple(overview.convoys(running.sql, limit=status.CONVOYS_SHOWN)),
        queue=Backlog(
            overview.count_events(running.sql, "pending"),
            overview.count_events(running.sql, "poisoned"),
            tuple(outbox.unfinished_lines(running.sql)),
        ),
        draining=moment.draining,
        settling=moment.settling,
        paused=moment.paused,
        breaker_open=moment.breaker.open,
        next_due=about.next_due,
    )


def next_actions(running: Rerun, at: datetime) -> tuple[ActionAnswer, ...]:
    """The actions of a tick at the time `at`, without new events and without observing any process."""
    with database.opened(running.image) as copy:
        report = tick.run(copy, given_at(running, at), town_id=running.town_id)
    return tuple(action.as_json() for action in report.actions)


def given_at(running: Rerun, at: datetime) -> TickInput:
    """The input of a tick at the time `at`, or just after the last tick if `at` is not later. It has no new events."""
    about = summary.before_tick(running.sql)
    last = about.last_tick_at
    return TickInput(
        tick_no=running.tick_no + 1,
        tick_id=f"{running.tick_no + 1}-next",
        now=at if last is None else max(at, just_after(last)),
        code_version=code_version(),
        sqlite_version=database.SQLITE_VERSION,
        config_digest="",
        prev_image_digest=running.digest,
        observations=Observations(asked=False),
        due_at=about.next_due,
    )
