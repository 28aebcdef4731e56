"""Six hours of 20 agents, observed every 5 s: what is recorded is what happened, and nothing else.

The town is ticked directly, in memory; its effects are performed on a runtime with a state, so that an agent that exits
is dispatched again, as a new generation, when its backoff is over.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from shared.domain import canonical
from shared.domain.processes import ProcessStatus
from shared.domain.report import TickReport
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from shared.ports.steps import Steps
from shared.runner.perform import Outside, perform
from shared.runner.result_events import ResultEvent
from tests.fakes import FakeClock, FakeRuntime, plain_time
from tests.towns import T, TownBuilder, a_town, ago
from tests.worlds import in_order

AGENTS = [f"p{number:02}" for number in range(20)]
TICKS = 6 * 60 * 12
PACE = timedelta(seconds=5)

EXITS_A_TICK = 1 / 480  # of each process: every 40 minutes
SLOW_ANSWERS = 1 / 500  # of the runtime, which are `unknown` to the town
STARTING_FOR = timedelta(seconds=10)


@dataclass
class Hours:
    """The town, its runtime, and what really happened."""

    town: TownBuilder
    runtime: FakeRuntime = field(default_factory=FakeRuntime)
    chance: random.Random = field(default_factory=lambda: random.Random(20260110))
    started: dict[str, datetime] = field(default_factory=dict)
    exits: list[tuple[str, int]] = field(default_factory=list)
    results: list[Envelope] = field(default_factory=list)
    observations: int = 0

    def live(self) -> None:
        """All ticks of these hours."""
        for number in range(TICKS):
            now = T + number * PACE
            running = self._exit_some()
            beats = [_beat(agent, generation, now) for agent, generation in running.items() if number % 6 == 0]
            told, self.results = (*self.results, *beats), []
            report = self.town.tick(*told, at=now, seen=self._seen(now), published_to=max(0, number - 100))
            self.town.reports.clear()
            self._perform(report, now)

    def _exit_some(self) -> dict[str, int]:
        """Let processes die; generation of those that go on, by agent."""
        for agent, generation in self.runtime.running().items():
            if self.chance.random() < EXITS_A_TICK:
                self.runtime.exits(agent, reason=self.chance.choice(["out of memory", "finished its turn", None]))
                self.exits.append((agent, generation))
        return self.runtime.running()

    def _seen(self, now: datetime) -> dict[str, ProcessStatus]:
        """What the runtime says of the agents that the town asks for: those in working."""
        watched = [row[0] for row in self.town.rows("SELECT bead_id FROM agent_metadata WHERE status = 'working'")]
        self.observations += len(watched)
        return {agent: self._status(agent, now) for agent in watched}

    def _status(self, agent: str, now: datetime) -> ProcessStatus:
        truth = self.runtime.status("t1", agent)
        if self.chance.random() < SLOW_ANSWERS:
            return ProcessStatus("unknown")
        if truth.status == "running" and now < self.started.get(agent, T) + STARTING_FOR:
            return ProcessStatus("starting", None, truth.generation)
        return truth

    def _perform(self, report: TickReport, now: datetime) -> None:
        """Effects as the worker performs them; their results are events of the next tick."""
        if not report.effects:
            return
        for effect in report.effects:
            if effect.kind == "dispatch_agent":
                self.started[effect.subject] = now
        outside, clock = Outside(runtime=self.runtime), FakeClock(now)
        in_order(perform(report.effects, outside, time=plain_time(clock), claimed_at=now, post=self._take))

    def _take(self, results: tuple[ResultEvent, ...]) -> Steps[None]:
        yield from ()
        self.results += [_result(result) for result in results]


def _beat(agent: str, generation: int, now: datetime) -> Envelope:
    payload = canonical.dumps({"generation": generation, "last_event_at": to_text(now)})
    return Envelope(
        f"beat-{agent}-{to_text(now)}", "agent_heartbeat", agent, None, payload, "ingest", to_text(now), to_text(now)
    )


def _result(result: ResultEvent) -> Envelope:
    return Envelope(
        result["event_id"],
        result["event_type"],
        result.get("agent_id"),
        result.get("bead_id"),
        canonical.dumps(result["payload"]),
        "effect",
        to_text(T),
        to_text(T),
    )


def twenty_agents_at_work() -> TownBuilder:
    town = a_town().config(max_dispatch_attempts=10_000)
    for agent in AGENTS:
        town.bead(f"bead-of-{agent}", assignee_agent_bead_id=agent)
        town.agent(
            agent, hook=f"bead-of-{agent}", generation=0, last_dispatch_outcome=None, last_activity_at=ago(hours=1)
        )
    return town


@pytest.mark.slow
def test_hours_of_observations_record_exits_once_and_nothing_that_runs() -> None:
    hours = Hours(twenty_agents_at_work())

    hours.live()

    rows = hours.town.rows("SELECT outcome FROM town_events WHERE event_type = 'container_status' ORDER BY seq")
    payloads = hours.town.heard("container_status")
    recorded = Counter(payload["status"] for _, payload in payloads)
    assert {outcome for (outcome,) in rows} == {"applied"}
    assert set(recorded) == {"exited", "starting", "unknown"}
    assert hours.observations > 50_000
    assert len(rows) <= hours.observations / 50
    seen = Counter((agent, payload["generation"]) for agent, payload in payloads if payload["status"] == "exited")
    assert len(hours.exits) > 100
    assert seen == Counter(hours.exits)
