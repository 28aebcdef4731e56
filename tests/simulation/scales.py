"""The limits under which a world lives. What takes a town months to reach, a share of the worlds reaches in minutes.

`small`: so little fits into a head, a journal, a tick and a store that spills, snapshots, journal objects, retention and ticks that
leave events for the next one happen all the time. `hurried`: what takes hours or days by itself takes minutes, so that a world
sees agents that stall, escalations that nobody reads and pull requests that are given up. All other limits are those of production:
claims, heartbeats and everything else that keeps two workers or two agents apart.

`stumbling`: some events fail once or twice before they can be applied, as they do when a handler has a bug. Which ones depends on
their ids and on how often they failed, so that a replay sees the same.

`restoring`: now and then an operator restores a town in place.

`archiving`: beads leave for the archive minutes after their end.
"""

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, Final
from unittest.mock import patch

from shared.domain import limits
from shared.events import fence
from shared.runner import passes
from shared.storage import layers
from shared.storage.retention import Keep
from tests.simulation.faults import WorldFault
from tests.simulation.ground import Skew

_MINUTE: Final = timedelta(minutes=1)

KEEP: Final = Keep(
    commits=4 * _MINUTE, spills=8 * _MINUTE, snapshots=16 * _MINUTE, logs=16 * _MINUTE, window=6 * _MINUTE
)
"""What the retention of a small world leaves."""

_SMALL: Final[tuple[tuple[Any, str, Any], ...]] = (
    (layers, "WHOLE_UP_TO", 16 * 1024),
    (layers, "PATCH_FILE_ABOVE", 4 * 1024),
    (layers, "PATCH_FILES", 3),
    (layers, "LARGE_ABOVE", 64 * 1024),
    (layers, "SNAPSHOT_EVERY", 5 * _MINUTE),
    (limits, "JOURNAL_WINDOW_ROWS", 8),
    (limits, "EVENTS_PER_TICK", limits.EVENTS_PER_BATCH),  # no less: a tick must be able to take a whole batch
    (limits, "RETENTION_ROWS_PER_TICK", 20),
    (limits, "FINISHED_READS_KEPT", 2 * _MINUTE),
    (passes, "TIDY_EVERY", 3 * _MINUTE),
    (passes, "Keep", partial(Keep, KEEP.commits, KEEP.spills, KEEP.snapshots, KEEP.logs)),
)
_MINUTES_OF_HURRIED: Final = {
    "GUPP_WARN_AFTER": 1,
    "GUPP_ESCALATE_AFTER": 2,
    "GUPP_FORCE_STOP_AFTER": 4,
    "STALLED_IDLE_AFTER": 1,
    "NUDGE_LIFE": 2,
    "NUDGE_WINDOW": 2,
    "AGENT_FORGET_AFTER": 15,
    "ATTEMPTS_COOL_DOWN": 5,
    "REVIEW_STUCK_AFTER": 4,
    "OBSTACLE_VOICED_AFTER": 5,
    "ESCALATION_BUMP": 5,
    "FORGE_EPISODE_VOICED_AFTER": 3,
    "FORGE_EPISODE_ENDS_REVIEW_AFTER": 40,
    "BREAKER_WINDOW": 10,
    "TOKEN_REFRESH": 10,
    "MERGE_RETRY_AFTER": 10,
    "MERGE_LOOK_AT_MOST": 3,
    "PR_QUIET_AFTER": 10,
    "PRIORITY_RISES_EVERY": 10,
    "USAGE_REPORTS_KEPT": 10,
}
_HURRIED: Final[tuple[tuple[Any, str, Any], ...]] = (
    *((limits, name, minutes * _MINUTE) for name, minutes in _MINUTES_OF_HURRIED.items()),
    (limits, "BREAKER_THRESHOLD", 3),
    (limits, "LANDING_ATTEMPTS", 2),
)


_ARCHIVING: Final[tuple[tuple[Any, str, Any], ...]] = (
    (limits, "ARCHIVE_BEADS", 2),
    (limits, "ARCHIVE_LATEST", _MINUTE),
    (limits, "ARCHIVE_LOOK_EVERY", 2),
    (limits, "ARCHIVE_LOOK_IF_RARE", _MINUTE),
)
_FORGETFUL: Final[tuple[tuple[Any, str, Any], ...]] = (
    (limits, "EVENT_RETENTION", 12 * _MINUTE),
    (limits, "EVENT_ROWS_KEPT", 12 * _MINUTE),
)
"""Of small worlds with good clocks: where one is an hour behind, what it receives would count as too old at once."""

_STUMBLES: Final = 12  # one event of so many
_stopped = fence.stopped


def _stumble(event: Any, fact: Any, town: Any) -> Any:
    drawn = zlib.crc32(fact.event_id.encode())
    if drawn % _STUMBLES == 0 and fact.retry_count <= (drawn // _STUMBLES) % 2:
        raise RuntimeError("it cannot be applied yet (injected)")
    return _stopped(event, fact, town)


_STUMBLING: Final[tuple[tuple[Any, str, Any], ...]] = ((fence, "stopped", _stumble),)


@dataclass(frozen=True)
class Scale:
    """Which limits of a world are its own."""

    small: bool = False
    forgetful: bool = False
    hurried: bool = False
    stumbling: bool = False
    restoring: bool = False
    archiving: bool = False

    @classmethod
    def of(cls, seed: int) -> "Scale":
        """The scale of a seed: every third world is small, some are hurried, and in some events stumble."""
        random, small = Random(f"{seed} scale"), seed % 3 == 2
        hurried, stumbling = random.random() < 0.4, random.random() < 0.25
        clocks_are_good = (
            Skew.of(seed).kind != "hour"
        )  # a restore by a clock that is an hour behind takes the town there
        restoring = clocks_are_good and random.random() < 0.3
        archiving = random.random() < 0.3
        return cls(small, small and clocks_are_good, hurried, stumbling, restoring, archiving)

    @property
    def keep(self) -> Keep:
        """What retention leaves; its window is the restore window of the towns."""
        return KEEP if self.small else Keep()

    @property
    def config(self) -> dict[str, Any]:
        """What the towns of such a world are configured as, beside what a seed draws."""
        return {"archive": {"closed_after_minutes": 2, "failed_after_minutes": 4}} if self.archiving else {}

    @property
    def often(self) -> tuple[WorldFault, ...]:
        """What goes wrong often: what a hurried one hurries begins with an agent that hangs."""
        return ("agent_hangs",) if self.hurried else ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of what is special here."""
        return tuple(name for name, has in vars(self).items() if has)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """These limits hold for all code as long as the block lasts."""
        with ExitStack() as stack:
            for has, instead in (
                (self.small, _SMALL),
                (self.forgetful, _FORGETFUL),
                (self.hurried, _HURRIED),
                (self.stumbling, _STUMBLING),
                (self.archiving, _ARCHIVING),
            ):
                for target, name, value in instead if has else ():
                    stack.enter_context(patch.object(target, name, value))
            yield
