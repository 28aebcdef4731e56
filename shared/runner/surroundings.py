"""What is around a town: its store, the clock, whom effects call, who hears of alerts and figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.domain import limits
from shared.ports.alerts import Alerts
from shared.ports.clock import Clock
from shared.ports.metrics import Metrics
from shared.ports.town_store import TownStore
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
    settings: Mapping[str, Any] = field(default_factory=dict)
    self_check_share: float = limits.SELF_CHECK_SHARE
    """Which part of the committed ticks is run again from its record: 0 none, 1 all."""
    commit_until: datetime | None = None
    """No commit is begun after it: the last seconds of a Lambda's life are for ending. None = the process is its own."""
    effects_until: datetime | None = None
    """No effect is begun whose time-out would end after it, and no tick is committed that claims such a one. None = the
    process is its own.
    """
