"""The export of a town whose rows no events lead to: what other programs wrote, older releases left, or people changed by hand.

An import takes it as it is. The rules that repair such rows act nowhere else.
"""

from collections.abc import Mapping
from typing import Any, Final

from tests.towns import a_town, ago

_UNPROVEN = {"unproven": 1}
"""Nobody in this world has merged these reviews."""


DEAD_REFINERY: Final = "dead-refinery"
"""While it is not reset, the town waits for an operator: it takes no review."""


def strange_town(town_id: str, config: Mapping[str, Any]) -> bytes:
    """An SQLite file. Its rig is the one of every simulated town."""
    town = (
        a_town(town_id)
        .config(**config)
        .update("rigs", "rig-1", name="main", git_url=f"https://github.com/acme/{town_id}.git")
        .bead("waits")
        .bead("counted-wrong", status="closed")
        .convoy("wrong", tracked=["counted-wrong"], mode="review-and-merge", branch=None)
        .bead("landed-task", status="closed")
        .convoy("landed", tracked=["landed-task"], closed=1, metadata={"ready_to_land": 1})
        .review("landing", "closed", of="landed", created_by="system", metadata=_UNPROVEN)
        .bead("unreviewed", status="in_review", updated_at=ago(minutes=6))
        .review("review-over", "failed", of="unreviewed")
        .bead("lost", status="in_progress", updated_at=ago(minutes=6))
        .bead("reviewed", status="in_review", updated_at=ago(minutes=6))
        .review("stuck", "in_progress", of="reviewed", branch="gt/dead/1", updated_at=ago(minutes=31))
        .bead("reviewed-too", status="in_review", updated_at=ago(minutes=6))
        .review("abandoned", "in_progress", of="reviewed-too", branch="gt/dead/2", updated_at=ago(minutes=31))
        .bead("held-by-dead", status="in_progress")
        .bead("over", status="closed")
        .bead("over-too", status="failed")
        .agent(DEAD_REFINERY, "refinery", "dead", hook="stuck", last_activity_at=ago(minutes=31))
        .agent("dead-polecat", "polecat", "dead", hook="held-by-dead", last_activity_at=ago(minutes=3))
        .agent("finished", "polecat", "idle", hook="over")
        .agent("unaware", "polecat", "working", hook="over-too", last_activity_at=ago(minutes=-10))
        .agent("hookless", "polecat", "working", generation=2, last_activity_at=ago(minutes=-10))
        .agent("unheard", "polecat", "working", hook="waits", last_activity_at=None, last_dispatch_outcome="pending")
    )
    return town.image()
