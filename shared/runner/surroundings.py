"""The surroundings of a town: its store, the clock, the adapters that effects call, and where alerts and figures go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.domain import limits
from shared.ports.alerts import Alerts
from shared.ports.clock import Clock
from shared.ports.metrics import Metrics
from shared.ports.steps import Call, Steps
from shared.ports.town_store import TownStore
from shared.runner.clock_guard import ClockGuard
from shared.runner.life import Life
from shared.runner.perform import Outside


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything outside a town that a run needs."""

    store: TownStore
    clock: Clock
    outside: Outside = field(default_factory=Outside)
    alerts: Alerts | None = None
    metrics: Metrics | None = None
    restore_window: timedelta = limits.RESTORE_WINDOW
    settings: Mapping[str, object] = field(default_factory=dict)
    self_check_share: float = limits.SELF_CHECK_SHARE
    """The share of the committed ticks that are run again from their record: 0 is none, 1 is all."""
    life: Life | None = None
    """When the process ends: no commit or effect is begun that could be cut off. None: it has no fixed end."""
    guard: ClockGuard | None = None
    """Compares the clock with the store's before something is done. None where the clock is not real time."""
    has_larger_workers: bool = False
    """Whether workers with more memory take a town whose image this process has no room for. Then the town has not failed."""
    fleet_channels: tuple[str, ...] = ()
    """The channels on which people are told of every town here (`shared.adapters.notices`)."""
    own_clock: bool = False
    """Whether the clock is not real time, but that of these towns, which only it may tick."""
    real: Clock | None = None
    """Real time, where the clock is not."""

    def time(self) -> Steps[datetime]:
        """The time at which something is done. Raises ClocksDisagree if the clock is not to be trusted."""
        if self.guard is not None:
            return (yield from self.guard.time())
        now: datetime = yield Call("clock", self.clock.now)
        return now

    def real_time(self) -> Steps[datetime]:
        """The time that processes tell each other, whatever the clock of these towns shows. Raises ClocksDisagree."""
        if self.real is None:
            return (yield from self.time())
        now: datetime = yield Call("clock", self.real.now)
        return now

    def real_stamp(self) -> Steps[datetime]:
        """As `stamp`, in the time that processes tell each other."""
        return (yield from (self.stamp() if self.real is None else self.real_time()))

    def stamp(self) -> Steps[datetime]:
        """The time of what has already happened and must be told; the store's if the clock disagrees with it."""
        return (yield from (self.time() if self.guard is None else self.guard.stamp()))
