"""A town of thousands of live beads, in convoys whose beads wait for each other."""

from datetime import datetime, timedelta
from typing import Final

from shared.domain.times import to_text
from tests.towns import TownBuilder, a_town

CONVOY: Final = 50


def a_large_town(beads: int, *, at: datetime, town_id: str = "large") -> TownBuilder:
    """So many live beads: each convoy is one of CONVOY beads, in chains of five."""
    town = a_town(town_id).config(max_polecats_per_rig=10)
    ids = [f"bead-{number:05}" for number in range(beads)]
    for number, bead in enumerate(ids):
        town.bead(bead, title=f"Write part {number} of the system")
    for number, bead in enumerate(ids):
        if number % 5:
            town.edge(bead, ids[number - 1])
    for start in range(0, beads, CONVOY):
        town.convoy(
            f"convoy-{start:05}", tracked=ids[start : start + CONVOY], title=f"Part {start // CONVOY} of the system"
        )
    town.key("next_due_at", to_text(at + timedelta(seconds=30)))
    return town
