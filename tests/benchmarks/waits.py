"""What it costs to say why every bead of a town waits: `python -m tests.benchmarks.waits [BEADS]`."""

import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta

from shared.domain.times import to_text
from shared.ports.steps import drive
from shared.questions.status import status
from tests.benchmarks.towns import an_aged_town
from tests.towns import T, TownBuilder, ago
from tests.worlds import a_world

_KINDS = ("ready", "blocked", "backoff", "held", "review", "polled", "lost")


def a_waiting_town(beads: int, *, live_agents: int = 100) -> TownBuilder:
    """A town of so many live beads: 100 with an agent, the others waiting for everything that beads wait for."""
    town = an_aged_town(2 * live_agents, live=live_agents).config(max_polecats_per_rig=50)
    town.sql.execute("BEGIN")
    for number in range(beads - live_agents):
        kind, name, at = (
            _KINDS[number % len(_KINDS)],
            f"w-{number:05}",
            ago(hours=1) + number * timedelta(milliseconds=7),
        )
        if kind == "blocked":
            town.bead(name, created_at=at).edge(name, f"w-{number - 1:05}")
        elif kind == "backoff":
            town.bead(
                name, created_at=at, dispatch_attempts=3, last_dispatch_attempt_at=T - timedelta(milliseconds=number)
            )
        elif kind == "review":
            town.bead(name, status="in_review", created_at=at).review(f"{name}-m", of=name, created_at=at)
        elif kind == "polled":
            polled = {"last_poll_at": to_text(T - timedelta(milliseconds=10 * number))}
            town.review(name, "in_progress", pr_url=f"https://x.example/{number}", created_at=at, metadata=polled)
        elif kind == "lost":
            town.bead(name, status="in_progress", created_at=at, updated_at=T - timedelta(milliseconds=9 * number))
        else:
            town.bead(name, created_at=at, labels=["gt:held"] if kind == "held" else [])
    town.sql.execute("COMMIT")
    return town


def _median_ms(asked: Callable[[], object], rounds: int = 3) -> float:
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        asked()
        taken.append((time.process_time() - start) * 1000)
    return statistics.median(taken)


def main(words: list[str]) -> None:
    """Print the figures; CPU time of this process in milliseconds."""
    beads = int(words[0]) if words else 1_000
    town = a_waiting_town(beads)
    world = a_world(town)
    print(f"{beads} live beads, 100 live agents: {len(town.waits())} beads wait")
    print(f"why they all wait: {_median_ms(town.waits):7.1f} ms")
    print(f"status of the town: {_median_ms(lambda: drive(status(town.town_id, world.around))):7.1f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
