"""The ticks that only the changed town has: those at which it was due between two ticks of history.

Example: in history an agent crashed, and the town had nothing to do for 13 minutes. In the changed town that agent is not known to
have crashed. It sends no heartbeat, so rule A2 must look at it after 90 s, at a time when history had no tick.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.domain.limits import ACTIVE_INTERVAL, SETTLE_GAP
from shared.engine import tick
from shared.history.rerun import Rerun
from shared.questions import snapshot
from shared.town import database

FIRST_NUMBER: Final = 1_000_000_000
"""The number of the first such tick. Ids are made of tick numbers, and those of history must stay free for its ticks."""
_LOOKS_AT_MOST: Final = 200


class HistoryLooks:
    """When history looked at its town between two of its ticks: a tick that changed nothing is not recorded."""

    def __init__(self, history: Rerun, due: datetime | None, *, before: datetime) -> None:
        """`due` is when the last tick made history due; `before` is the time of its next tick, or the end of the window."""
        self.due = due
        """When the town was due for its next tick; None if only an event could cause it."""
        self.until = before
        """Up to when somebody ran the town. An outage of history is one of the changed town too."""
        for _ in range(_LOOKS_AT_MOST):
            if self.due is None or before - self.due <= SETTLE_GAP:
                return
            after = _due_after_a_quiet_tick(history, self.due)
            if after is not None and after == self.due:
                self.until = self.due
                return
            self.due = after


def _due_after_a_quiet_tick(history: Rerun, at: datetime) -> datetime | None:
    """When the town is due after a tick at `at` that changes nothing; `at` if the tick would have changed something."""
    given = replace(snapshot.given_at(history, at), now=at)
    with database.opened(history.image) as copy:
        report = tick.run(copy, given, town_id=history.town_id)
    return report.next_due if report.quiet else at


def own_time(
    due: datetime | None,
    woken: datetime | None,
    looks: HistoryLooks,
    *,
    last: datetime,
    before: datetime,
    shift: timedelta,
) -> datetime | None:
    """The next time at which the changed town ticks by itself before `before`; None if history's next tick comes first.

    `due` is when its last tick made it due, `woken` when an event of its own wakes it. As live towns do, it leaves at least the
    interval between two ticks; so a tick of history that follows within it is the answer.
    """
    own = None if due is not None and due - shift == looks.due else due
    first = min((each for each in (own, woken) if each is not None), default=None)
    if first is None:
        return None
    at = max(first, last + ACTIVE_INTERVAL)
    return at if at + ACTIVE_INTERVAL <= before and at - shift < looks.until else None
