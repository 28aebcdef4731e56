"""Thieves: a town may have one who holds the token of one generation of an agent, and says all that it can be told to say.

It sends the forgeries of devstack's evil agent, through the way in that real requests take. What must be refused and is not is
a problem at once; what is accepted is judged in every tick by the town's ledger (`walls`).
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from infra.devstack.evil_agent.forgeries import Forgery, Known, escalations, farewell, forgeries
from shared.domain.senders import Sender
from shared.intake import ingest
from shared.ports.steps import Call, Steps
from tests.simulation.agents import Life, SimulatedRuntime
from tests.simulation.ground import Ground
from tests.simulation.people import RIG
from tests.simulation.processes import Ending
from tests.simulation.scheduler import MINUTE, SECOND, SkewedClock
from tests.simulation.walls import STOLEN

SHARE: Final = 0.2
"""The share of the seeds whose towns have a thief."""

_OFTEN: Final = 8
_AT_ONCE: Final = 12
_ATTACKS: Final = 30
_FLOODS: Final = (3, 4)


class Thief:
    """Somebody who obeys strangers, in one town. He steals the token of the first generation that he meets, and keeps it."""

    def __init__(self, ground: Ground, runtime: SimulatedRuntime, town_id: str, seed: int) -> None:
        self._ground = ground
        self._runtime = runtime
        self._town = town_id
        self._random = Random(f"{seed} thief of {town_id}")
        self._clock = SkewedClock(ground.scheduler, 0)
        self._token: Sender | None = None
        self._life: Life | None = None
        self._turn = 0
        self._planned: list[Forgery] = []
        self.calm = False

    @property
    def robbed(self) -> str | None:
        """The bead on which the agent works whose token he has: its end is his to report."""
        return None if self._life is None else self._life.bead.id

    def begin(self) -> None:
        """From now on he waits for somebody to rob."""
        self._again()

    def calm_down(self) -> None:
        """He gives up."""
        self.calm = True

    def _again(self) -> None:
        self._ground.scheduler.after(self._random.randrange(5 * SECOND, MINUTE), self._act)

    def _act(self) -> None:
        if self.calm or self._turn >= _ATTACKS:
            return
        if self._token is None:
            self._steal()
        else:
            self._attack(self._token)
        self._again()

    def _steal(self) -> None:
        lives = [
            life
            for (town, _), those in sorted(self._runtime.lives.items())
            if town == self._town
            for life in those
            if life.alive and not life.mayor and life.work.role == "polecat"
        ]
        if lives:
            self._life = life = self._random.choice(lives)
            self._token = Sender(
                "agent", life.agent_id, life.generation, key=STOLEN, token=f"stolen-{self._town}", request="none"
            )
            self._ground.checks.ledgers[self._town].walls.robbed(self._token, life.bead.id)
            self._ground.checks.figures["tokens stolen"] += 1

    def _attack(self, token: Sender) -> None:
        """Some forgeries at once; now and then a flood, and sometimes the end of the generation whose token it is."""
        self._turn += 1
        known = self._known(token)
        if not self._planned:
            self._planned = list(forgeries(known, self._turn))
            self._random.shuffle(self._planned)
        chosen = [self._planned.pop() for _ in range(min(_AT_ONCE, len(self._planned)))]
        if self._turn in _FLOODS:
            chosen.append(escalations(known, self._turn))
        if self._random.randrange(_OFTEN) == 0:
            chosen.append(farewell(known, self._turn))
        for number, forgery in enumerate(chosen):
            self._post(forgery, token, f"evil-{self._town}-{self._turn}-{number}")

    def _known(self, token: Sender) -> Known:
        """All that he could know: the ids of everybody, and the number of the newest tick."""
        assert token.agent is not None
        assert token.generation is not None
        assert self._life is not None
        ledger = self._ground.checks.ledgers[self._town]
        others = sorted(agent for town, agent in self._runtime.lives if town == self._town and agent != token.agent)
        beads = sorted(
            bead for bead, (kind, _) in ledger.statuses.items() if kind != "agent" and bead != self._life.bead.id
        )
        return Known(
            self._town,
            token.agent,
            token.generation,
            bead_id=self._life.bead.id,
            branch=self._life.work.branch or "gt/evil/bead",
            rig_id=RIG,
            agents=tuple(self._some(others)) or ("nobody-1",),
            beads=tuple(self._some(beads)) or ("bead-1",),
            tick=ledger.manifest.tick_no + 1,
        )

    def _some(self, ids: Sequence[str]) -> list[str]:
        return self._random.sample(ids, min(2, len(ids)))

    def _post(self, forgery: Forgery, token: Sender, batch_id: str) -> None:
        ground = self._ground

        def ended(ending: Ending) -> None:
            if ending.crashed or ending.error is not None:
                return
            if forgery.refused:
                ground.checks.fail(
                    "wall", f"{self._town}: {forgery.wall}, {forgery.name}: was accepted: {forgery.body[:300]!r}"
                )
            ground.checks.acknowledged(self._town, ending.result.envelopes)
            ground.checks.figures["forgeries accepted"] += 1

        ground.checks.figures["forgeries"] += 1
        ground.driver.start(f"evil {forgery.name}", self._posting(forgery, token, batch_id), ended, town=self._town)

    def _posting(self, forgery: Forgery, token: Sender, batch_id: str) -> Steps[ingest.AcceptedBatch]:
        now = yield Call("clock", self._clock.now)
        batch = ingest.accept(forgery.body, received_at=now, sent_by=token)
        self._ground.checks.offered(self._town, batch.envelopes)
        wake = not batch.transient_only
        yield from self._ground.store.post(self._town, batch.body, received_at=now, batch_id=batch_id, wake=wake)
        return batch


def let_thieves_in(ground: Ground, runtime: SimulatedRuntime, towns: Sequence[str], seed: int) -> list[Thief]:
    """A thief in one town of a share of the seeds."""
    random = Random(f"{seed} evil")
    return [Thief(ground, runtime, random.choice(towns), seed)] if random.random() < SHARE else []
