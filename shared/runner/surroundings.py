"""The surroundings of a town: its store, the clock, the adapters that effects call, and where alerts and figures go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from shared.domain import limits
from shared.ports.alerts import Alerts
from shared.ports.clock import Clock
from shared.ports.metrics import Metrics
from shared.ports.town_store import TownStore
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
