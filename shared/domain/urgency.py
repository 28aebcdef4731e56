"""Which of several waiting beads comes first (spec/rules.md section 3, B1)."""

from datetime import datetime, timedelta
from typing import Final, Protocol

from shared.domain import limits
from shared.domain.states import Priority

_LEVELS: Final = tuple(reversed(Priority))

Place = tuple[int, datetime, str]
"""The sort key of a waiting bead: its level (0 is the most urgent), since when it is queued, its id."""


class Waiting(Protocol):
    """A bead that waits for a place."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def priority(self) -> Priority:
        """Its priority."""
        ...

    @property
    def created_at(self) -> datetime:
        """Its creation."""
        ...

    @property
    def queued_at(self) -> datetime:
        """Since when it is queued: its creation, or the attempt after which it went to the end of its level."""
        ...


def place(bead: Waiting, *, now: datetime) -> Place:
    """Where a bead stands among those that wait for the same place: by its level, then by when it was queued.

    Each full PRIORITY_RISES_EVERY since its creation raises it by one level, so that no bead waits for ever behind newer ones
    that are more urgent. Creation is the only start of waiting that is stored for every bead and never moves, so it decides the
    level, also of a bead that is tried again or whose blocker has ended.
    """
    waited = max(now - bead.created_at, timedelta(0)) // limits.PRIORITY_RISES_EVERY
    return max(_LEVELS.index(bead.priority) - waited, 0), bead.queued_at, bead.id
