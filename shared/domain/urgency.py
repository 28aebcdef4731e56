"""Which of several waiting beads comes first (spec/rules.md section 3, B1)."""

from datetime import datetime, timedelta
from typing import Final

from shared.domain import limits
from shared.domain.states import Priority

_LEVELS: Final = tuple(reversed(Priority))

Place = tuple[int, datetime, str]
"""The sort key of a waiting bead: its level (0 is the most urgent), its creation, its id."""


def place(priority: Priority, created_at: datetime, bead_id: str, *, now: datetime) -> Place:
    """Where a bead stands among those that wait for the same place.

    Each full PRIORITY_RISES_EVERY since its creation raises it by one level, so that no bead waits for ever behind newer ones
    that are more urgent. Creation is the only start of waiting that is stored for every bead and never moves: a bead that is
    tried again, or whose blocker has ended, keeps the age that it has.
    """
    waited = max(now - created_at, timedelta(0)) // limits.PRIORITY_RISES_EVERY
    return max(_LEVELS.index(priority) - waited, 0), created_at, bead_id
