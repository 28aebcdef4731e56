"""One world from one seed: it is set up, lives under faults for some time, becomes calm, and must come to an end."""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from shared.intake import ingest
from shared.moving.transfer import import_town
from shared.ports.steps import drive
from shared.runner.founding import found_town
from shared.runner.surroundings import Surroundings
from shared.storage.towns import IN_FILES_ABOVE
from tests.simulation.agents import SimulatedRuntime
from tests.simulation.checks import Checks
from tests.simulation.endings import unfinished, unsettled
from tests.simulation.evil import Thief, let_thieves_in
from tests.simulation.faults import Plan, Swarm
from tests.simulation.fleet import Fleet
from tests.simulation.forge import SimulatedForge
from tests.simulation.ground import Ground, Post, Skew, WatchedObjects
from tests.simulation.ledger import Reading, read_only
from tests.simulation.people import RIG, People
from tests.simulation.processes import Driver
from tests.simulation.scales import Scale
from tests.simulation.scheduler import HOUR, MINUTE, SECOND, Scheduler, SkewedClock
from tests.simulation.shared_work import OpenImages, thrift
from tests.simulation.strange_town import strange_town

_CALM_AT_MOST: Final = 6 * HOUR
_SETTLES: Final = 30 * SECOND
_TICKS_AT_LEAST: Final = 45
_ASKED_EVERY: Final = 5
_IDLE: Final = 5 * MINUTE
_REPLAYED_WHOLE: Final = 8
"""In every eighth world each tick is run again from its record; in the others a share."""
_REPLAYED_ELSE: Final = 0.1
_HOSTS_OF_THEIR_OWN: Final = 4
"""In every fourth world each host opens its images itself, and keeps them open as in production."""
_RESTORES: Final = 0.2
_PAUSED: Final = 0.1
"""The share of the towns that are founded paused, and started later."""
_IMPORTED: Final = 0.15
"""The share of the worlds whose first town comes from an export with rows that no event leads to."""
_TOWNS: Final = (1, 1, 1, 1, 1, 1, 2, 2, 3, 4)


@dataclass
class Outcome:
    """What became of a world. `problems` is empty if nothing was seen that must not be."""

    seed: int
    problems: list[str]
    ticks: int
    simulated_minutes: float
    calls: int
    faults: Counter[str]
    figures: Counter[str]
    rules: Counter[str]
    reasons: Counter[str]
    trace: list[str] = field(default_factory=list)

    def told(self) -> str:
        """The failure as a person wants to read it."""
        return "\n".join(
            (
                f"seed {self.seed}: {len(self.problems)} problems",
                *(f"  {problem}" for problem in self.problems[:10]),
                "the last calls:",
                *(f"  {line}" for line in self.trace),
                f"again: python -m tests.simulation --seeds 1 --start {self.seed}",
            )
        )


class World:
    """Everything of one seed."""

    def __init__(
        self,
        seed: int,
        plan: Plan,
        *,
        skew: Skew | None = None,
        scale: Scale | None = None,
        reading: Reading = read_only,
    ) -> None:
        self.seed = seed
        self.random = Random(f"{seed} world")
        self.plan = plan
        self.scheduler = Scheduler()
        self.skew = skew or Skew.of(seed)
        self.scale = scale or Scale()
        replays = 1.0 if seed % _REPLAYED_WHOLE == 0 else _REPLAYED_ELSE
        self.checks = Checks(self.scheduler, clocks_differ_by=self.skew.at_most, replays=replays, reading=reading)
        # in every second world a table keeps what waits
        objects = WatchedObjects(self.checks, self.scheduler, table=seed % 2 == 1)
        driver = Driver(self.scheduler, plan, Random(f"{seed} driver"), self.checks)
        large_above = IN_FILES_ABOVE if _has_small_images(seed) else 0
        self.ground = Ground(self.scheduler, plan, self.checks, driver, objects, self.random, self.skew, large_above)
        self.post = Post(self.ground)
        self.forge = SimulatedForge(self.ground)
        self.runtime = SimulatedRuntime(self.ground, self.post, self.forge)
        self.fleet = Fleet(self.ground, self.post, self.runtime, self.forge, keep=self.scale.keep)
        self.people: list[People] = []
        self.thieves: list[Thief] = []

    # set-up

    def found(
        self,
        town_id: str,
        config: dict[str, Any],
        *,
        rig: dict[str, Any] | None = None,
        paused: bool = False,
        imported: bool = False,
    ) -> People:
        """A town with one rig, before anything can go wrong. One that is `imported` is paused, as every import is."""
        clock = SkewedClock(self.scheduler, 0)
        around = Surroundings(self.ground.store, clock)
        if imported:
            drive(import_town(town_id, strange_town(town_id, config), around, worker_id="founder"))
            self.checks.ledgers[town_id].is_imported = True
            self.checks.figures["towns imported"] += 1
        else:
            drive(found_town(town_id, around, worker_id="founder", config=config, paused=paused))
        payload = {"rig_id": RIG, "name": "main", "git_url": f"https://github.com/acme/{town_id}.git", **(rig or {})}
        event = {"event_id": f"rig-of-{town_id}", "event_type": "rig_registered", "payload": payload}
        batch = ingest.batch_of([event], received_at=clock.now())
        self.checks.offered(town_id, batch.envelopes)
        drive(self.ground.store.post(town_id, batch.body, received_at=clock.now(), batch_id="b0", wake=True))
        self.checks.acknowledged(town_id, batch.envelopes)
        people = People(self.ground, self.post, self.runtime, town_id)
        people.paused = paused or imported
        people.imported = imported
        self.people.append(people)
        return people

    # phases

    def live(self, *, until: int) -> None:
        """Let the world go on until that time, or until something is wrong."""
        self.scheduler.run(until=until, enough=lambda: bool(self.checks.problems))

    def calm_down(self) -> None:
        """Nothing goes wrong any more, and everybody does what he should."""
        if isinstance(self.plan, Swarm):
            self.plan.calm_down()
        self.skew.calm_down()
        self.fleet.calm_down()
        self.runtime.calm_down()
        self.forge.calm_down()
        for people in self.people:
            people.calm_down()
        for thief in self.thieves:
            thief.calm_down()

    def recover(self) -> None:
        """What was on its way arrives, and one sweep finds what fell through; from then on nothing may fall through."""
        arrived = max(self.scheduler.now, self.ground.driver.answered_by, self.ground.arrives_until)
        self.live(until=arrived + _SETTLES)
        self.fleet.sweep()
        self.live(until=self.scheduler.now + MINUTE)
        self.checks.markers_may_be_missing = False

    def come_to_an_end(self, *, at_most: int) -> None:
        """Live until everything is over or waits for a person; then nothing may be missing, and idle must mean idle."""
        limit, minute, ticks, asked_at = self.scheduler.now + at_most, 0, -1, -1
        while self.scheduler.now < limit and not self.checks.problems:
            # to ask why beads wait takes as long as some ticks: it is asked when nothing ticks any more, and now and then
            stands_still = ticks == self.checks.figures["ticks"] != asked_at
            if stands_still or minute % _ASKED_EVERY == 0:
                asked_at = self.checks.figures["ticks"]
                if not unsettled(self.ground, self.runtime):
                    break
                for people in self.people:
                    people.look_again()
            minute, ticks = minute + 1, self.checks.figures["ticks"]
            self.live(until=min(self.scheduler.now + MINUTE, limit))
        if not self.checks.problems:
            for problem in unfinished(self.ground, self.runtime):
                self.checks.fail("liveness", problem)

    def idle(self, *, span: int = _IDLE) -> None:
        """Towns that wait for nothing but an event cost nothing but the listing of due markers, and a sweep now and then."""
        objects, ledgers = self.ground.objects, self.checks.ledgers.values()
        if self.checks.problems or any(ledger.manifest.next_due is not None for ledger in ledgers):
            return
        self.live(until=self.scheduler.now + 10 * SECOND)  # the last markers
        if any(objects.markers(town) or objects.inbox(town) for town in self.checks.ledgers):
            return
        before = objects.seen.copy()
        self.live(until=self.scheduler.now + span)
        seen = objects.seen - before
        sweeps = seen.pop("sweeps", 0)
        self.checks.figures["idle worlds"] += 1
        looked_at = seen.pop("list inbox", 0) + seen.pop("get head", 0)
        for markers in ("list due", "list towns"):
            seen.pop(markers, None)
        if seen or looked_at > 2 * len(ledgers) * sweeps:
            more = f"{looked_at} looks at towns, {dict(seen)}, and {sweeps} sweeps of {len(ledgers)} towns"
            self.checks.fail("idle", f"beside the listing of markers in {span // MINUTE} min: {more}")

    def close(self) -> None:
        """The end of the world: everything that is open is closed."""
        self.ground.driver.close()
        for ledger in self.checks.ledgers.values():
            ledger.close()

    def outcome(self) -> Outcome:
        """What came of it."""
        rules: Counter[str] = Counter()
        for ledger in self.checks.ledgers.values():
            rules.update(ledger.rules)
        figures = self.checks.figures
        figures["agents started"] = self.runtime.started
        figures[f"seeds with {self.skew.kind} skew"] = 1
        return Outcome(
            seed=self.seed,
            problems=self.checks.problems,
            ticks=figures["ticks"],
            simulated_minutes=self.scheduler.now / MINUTE,
            calls=self.ground.driver.calls,
            faults=self.plan.counts,
            figures=figures,
            rules=rules,
            reasons=self.checks.reasons,
            trace=[
                f"{at / SECOND:10.3f} {who}: {what}" + (f"   <- {fault}" if fault else "")
                for at, who, what, fault in self.ground.driver.trace
            ],
        )


def simulate(seed: int, *, minutes: float | None = None) -> Outcome:
    """Everything that this seed stands for. `minutes` is the length of the phase with faults; else the seed draws it."""
    scale = Scale.of(seed)
    with ExitStack() as stack:
        stack.enter_context(scale.installed())
        stack.enter_context(thrift())
        images = OpenImages()
        stack.enter_context(images.shared(by_hosts=_has_small_images(seed) and seed % _HOSTS_OF_THEIR_OWN != 0))
        return _simulate(seed, scale, minutes, images.reading)


def _simulate(seed: int, scale: Scale, minutes: float | None, reading: Reading) -> Outcome:
    plan = Swarm(seed, often=scale.often)
    world = World(seed, plan, scale=scale, reading=reading)
    for kind in scale.kinds:
        world.checks.figures[f"seeds that are {kind}"] = 1
    random = Random(f"{seed} set-up")
    world.checks.markers_may_be_missing = "late" in plan.call_rates
    for number in range(random.choice(_TOWNS)):
        config = {**_config(random), **scale.config}
        paused, imported = random.random() < _PAUSED, number == 0 and random.random() < _IMPORTED
        world.found(f"town-{number + 1}", config, paused=paused, imported=imported)
    troubled = bool(plan.call_rates)
    world.fleet.begin()
    for people in world.people:
        people.begin()
    if not scale.restoring:  # what a thief may do in all is not what he may do after his deeds are undone
        world.thieves = let_thieves_in(world.ground, world.runtime, tuple(world.checks.ledgers), seed)
    for thief in world.thieves:
        thief.begin()
    _ask_now_and_then(world, plan, random)
    _live_under_faults(world, int((minutes or _length(random, towns=len(world.people))) * MINUTE))
    world.calm_down()
    if troubled:
        world.recover()
    world.come_to_an_end(at_most=_CALM_AT_MOST)
    for town_id in world.checks.ledgers:
        world.fleet.rush(town_id)
        world.live(until=world.scheduler.now + MINUTE)
    world.come_to_an_end(at_most=_CALM_AT_MOST)
    world.idle()
    for ledger in world.checks.ledgers.values():
        ledger.past.judge(ledger.image)
    _keep_towns_apart(world)
    world.close()
    return world.outcome()


def _has_small_images(seed: int) -> bool:
    """In every sixth world all images lie in files, each of which a host opens itself."""
    return seed % 6 != 1


def _length(random: Random, *, towns: int) -> float:
    """Minutes with faults, fewer for more towns. Now and then so many that an agent which hangs meets all that awaits it."""
    if random.random() < 0.03:
        return random.uniform(150, 200) / towns
    return random.uniform(5, 15) * 2 / (1 + towns)


def _live_under_faults(world: World, span: int) -> None:
    """For that time, and longer if hardly anything happened (a clock that was an hour ahead holds a town up)."""
    world.live(until=span)
    while world.checks.figures["ticks"] < _TICKS_AT_LEAST and world.scheduler.now < span + 2 * HOUR:
        if world.checks.problems:
            return
        world.live(until=world.scheduler.now + MINUTE)


def _config(random: Random) -> dict[str, Any]:
    places = {"max_polecats_per_rig": 1} if random.random() < 0.2 else {}
    if random.random() < 0.4:
        return {"merge_strategy": "direct", "staged_convoys_default": False, **places}
    return {
        "merge_strategy": "pr",
        **places,
        "refinery": {
            "code_review": random.random() < 0.85,
            "auto_merge_delay_minutes": random.choice((None, 0, 0, 1, 5)),
            "auto_resolve_pr_feedback": random.random() < 0.6,
            "trusted_authors": ["the-town"] if random.random() < 0.3 else [],
        },
    }


def _ask_now_and_then(world: World, plan: Swarm, random: Random) -> None:
    """An operator asks for a dry run at any time, or for a tick; and now and then much happens at once."""

    def ask() -> None:
        if world.plan.happens("rush"):
            world.fleet.rush(f"town-{random.randrange(len(world.people)) + 1}")
        drawn = random.random()
        do = world.fleet.dry_run if drawn < 0.6 else world.fleet.tick_now if drawn < 0.85 else world.fleet.tidy
        if world.scale.restoring and not plan.calm and random.random() < _RESTORES:
            do = world.fleet.restore
        do(f"town-{random.randrange(len(world.people)) + 1}")
        world.scheduler.after(random.randrange(30 * SECOND, 10 * MINUTE) * (3 if plan.calm else 1), ask)

    world.scheduler.after(random.randrange(MINUTE), ask)


def _keep_towns_apart(world: World) -> None:
    for town_id, ledger in world.checks.ledgers.items():
        for other in world.checks.ledgers:
            if other != town_id and f"canary of {other}".encode() in ledger.image:
                world.checks.fail("isolation", f"{town_id} holds what belongs to {other}")
