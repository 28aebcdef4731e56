"""A town that lives: it plays the steps of a history, tick after tick, and has every tick checked.

The engine is driven directly: `tick.run` on an open image, no store, no worker. Nothing here is left to chance: the same
start and the same steps give the same images.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from shared.domain import canonical, limits
from shared.domain.processes import ProcessStatus
from shared.domain.report import ClaimedEffect, TickReport
from shared.domain.tick import Envelope, Observations, TickInput, config_digest
from shared.domain.times import from_text, to_text
from shared.engine import tick
from shared.town import database
from tests.properties import facts, outside
from tests.properties.facts import Fact
from tests.properties.outside import Answers
from tests.properties.steps import Answer, Gap, Live, Post, PostAgain, PostPoison, Step
from tests.properties.views import View
from tests.towns import MS, TOWN, T, TownBuilder, event

Check = Callable[["Life", "Ticked"], None]

_MOVES: Final = {
    "5s": timedelta(seconds=5),
    "ms": MS,
    "30s": timedelta(seconds=30),
    "5min": timedelta(minutes=5),
}


@dataclass(frozen=True)
class Ticked:
    """One tick: the image before, the report, the image after."""

    before: bytes
    report: TickReport
    after: bytes


@dataclass
class Life:
    """A town, its time, and what is on its way to it."""

    town: TownBuilder
    now: datetime = T
    next_due: datetime | None = None
    count: int = 0
    posted: dict[str, Envelope] = field(default_factory=dict)
    waiting: list[Envelope] = field(default_factory=list)
    coming: list[tuple[datetime, Envelope]] = field(default_factory=list)
    container: str = "running"
    checks: tuple[Check, ...] = ()
    ticked: list[TickReport] = field(default_factory=list)

    # playing ----------------------------------------------------------------------------------------

    def play(self, *steps: Step) -> "Life":
        """Play steps in order."""
        for step in steps:
            self._play(step)
        return self

    def _play(self, step: Step) -> None:
        match step:
            case Post():
                self.post(step.type, facts.FACTS[step.type](self.view(), step.pick, step.variant))
            case PostPoison():
                event_type, payload, agent, bead = facts.POISON[step.pick]
                self._send(replace(self._envelope(event_type, Fact({}, agent, bead)), payload=payload))
            case PostAgain():
                self._post_again(step)
            case Answer():
                self._answer(step)
            case Live():
                self._live(step)
            case Gap():
                self._gap(step)

    def _post_again(self, step: PostAgain) -> None:
        if self.posted:
            known = list(self.posted.values())[step.pick % len(self.posted)]
            again = replace(known, received_at=to_text(self.now))
            self.waiting.append(replace(again, payload='{"other":"content"}') if step.changed else again)

    def _answer(self, step: Answer) -> None:
        effect = self.view().an_effect(step.pick)
        answer = None if effect is None else step.answers.to(effect, self.view())
        if answer is not None:
            _, event_type, fact = answer
            self.post(event_type, fact, source="effect")

    def _live(self, step: Live) -> None:
        self.container = step.container
        for _ in range(step.ticks):
            self.move(step.move)
            self._report(step.agents)
            report = self.tick(seen=outside.seen_of(step.agents, self.view()))
            for effect in report.effects:
                self._perform(effect, step.answers)

    def _gap(self, step: Gap) -> None:
        self.now += step.ms * MS
        self._report(step.agents)
        self.tick(seen=outside.seen_of(step.agents, self.view()))

    def _report(self, behaviour: str) -> None:
        for event_type, fact in outside.facts_of(behaviour, self.view()):
            self.post(event_type, fact)

    def _perform(self, effect: ClaimedEffect, answers: Answers) -> None:
        answer = answers.to(effect, self.view())
        if answer is not None:
            delay, event_type, fact = answer
            arrives = self.now + delay
            envelope = self._envelope(event_type, fact, source="effect", at=arrives)
            self.coming.append((arrives, replace(envelope, event_id=f"res-{effect.effect_id}-{effect.attempt}")))

    # time ---------------------------------------------------------------------------------------------

    def move(self, how: str) -> None:
        """Let time go on: a fixed span, or to the next due time (at least 5 s, as ticks of a town are spaced)."""
        if how in _MOVES:
            self.now += _MOVES[how]
            return
        wanted = [] if self.next_due is None else [self.next_due]
        wanted += [at for at, _ in self.coming]
        self.now = max(min(wanted, default=self.now), self.now + limits.ACTIVE_INTERVAL)

    # events -------------------------------------------------------------------------------------------

    def post(self, event_type: str, fact: Fact, *, source: str = "ingest") -> str:
        """Put a fact into the inbox; its event id."""
        return self._send(self._envelope(event_type, fact, source=source))

    def _send(self, envelope: Envelope) -> str:
        self.posted[envelope.event_id] = envelope
        self.waiting.append(envelope)
        return envelope.event_id

    def _envelope(self, event_type: str, fact: Fact, *, source: str = "ingest", at: datetime | None = None) -> Envelope:
        self.count += 1
        return event(
            event_type,
            fact.payload,
            event_id=f"fact-{self.count:06}",
            agent=fact.agent,
            bead=fact.bead,
            at=at or self.now,
            source=source,
        )

    # ticks --------------------------------------------------------------------------------------------

    def tick(self, *, seen: dict[str, ProcessStatus] | None = None) -> TickReport:
        """Run the next tick with everything that has arrived by now, and check it."""
        before = self.town.image()
        report = self.run(self.town.sql, self.input(seen))
        for envelope in self.waiting:
            self.posted.setdefault(envelope.event_id, envelope)
        self.waiting = []
        self.next_due = report.next_due
        self.ticked.append(report)
        ticked = Ticked(before, report, before if report.quiet else self.town.image())
        for check in self.checks:
            check(self, ticked)
        return report

    def input(self, seen: dict[str, ProcessStatus] | None = None) -> TickInput:
        """What the next tick is given: time only moves forward, answers arrive when they are there."""
        last = self.town.value("last_tick_at")
        if last is not None:
            self.now = max(self.now, from_text(last) + MS)
        arrived = [envelope for at, envelope in self.coming if at <= self.now]
        self.coming = [(at, envelope) for at, envelope in self.coming if at > self.now]
        for envelope in arrived:
            self._send(envelope)
        number = self.town.value("tick_no") + 1
        return TickInput(
            tick_no=number,
            tick_id=f"{number}-life",
            now=self.now,
            code_version="test",
            sqlite_version=database.SQLITE_VERSION,
            config_digest=config_digest(self.town.value("config")),
            prev_image_digest=canonical.digest(number),
            new_events=tuple(self.waiting),
            observations=Observations(agents=tuple(sorted((seen or {}).items())), container=self.container),
        )

    def run(self, sql: database.Database, given: TickInput) -> TickReport:
        """The engine's tick, and nothing else."""
        return tick.run(sql, given, town_id=TOWN)

    # copies -------------------------------------------------------------------------------------------

    @contextmanager
    def copied(self) -> Iterator["Life"]:
        """The same life in an independent town, as long as the block lasts; nothing is checked there."""
        copy = replace(
            self,
            town=self.town.copy(),
            posted=dict(self.posted),
            waiting=list(self.waiting),
            coming=list(self.coming),
            checks=(),
            ticked=[],
        )
        try:
            yield copy
        finally:
            copy.close()

    def close(self) -> None:
        """The end of this life."""
        database.close(self.town.sql)

    def view(self) -> View:
        """Questions about the town as it is now."""
        return View(self.town, self.now, self.count)
