"""The composition root of a deployment on one machine: the store, its clock, and the surroundings of a run.

The store is a data directory or a bucket.

<data>/towns, <data>/due      the objects that a bucket would hold
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from infra.buckets import Bucket
from shared.adapters import clock as clocks
from shared.adapters import ids
from shared.ports.alerts import Alerts
from shared.ports.clock import Clock
from shared.ports.forge import MergeProver, SourceForge
from shared.ports.notices import Notices
from shared.ports.object_store import ObjectStore
from shared.ports.runtime import AgentRuntime
from shared.ports.steps import Steps, drive
from shared.ports.waiting_room import DueMarker
from shared.runner.clock_guard import ClockGuard
from shared.runner.perform import Outside
from shared.runner.surroundings import Surroundings
from shared.storage import keys
from shared.storage.probe import prove_conditional_writes
from shared.storage.towns import ObjectTownStore
from shared.telemetry.alert_log import AlertLog

LocalClock = clocks.SystemClock | clocks.ScaledClock


class SomeTowns(ObjectTownStore):
    """A town store limited to some towns: no other is due or listed, so no other is ticked, swept or subject to retention.

    These are `towns`, or if there are none, all but `others`.
    """

    def __init__(self, objects: ObjectStore, towns: frozenset[str], *, others: frozenset[str] = frozenset()) -> None:
        super().__init__(objects)
        self._towns = towns
        self._others = others

    def due(self, now: Any) -> Steps[tuple[DueMarker, ...]]:
        """The due markers of these towns."""
        markers = yield from super().due(now)
        return tuple(marker for marker in markers if self._holds(marker.town_id))

    def towns(self, *, after: str = "", limit: int | None = None, prefix: str = "") -> Steps[tuple[str, ...]]:
        """Those of these towns that exist, in the order of their keys."""
        found = yield from super().towns(prefix=prefix)
        ours = sorted(filter(self._holds, found), key=keys.town)
        behind = [town for town in ours if not after or keys.town(town) > keys.town(after)]
        return tuple(behind[:limit])

    def _holds(self, town_id: str) -> bool:
        return town_id in self._towns if self._towns else town_id not in self._others


def open_store(objects: ObjectStore, *, towns: Sequence[str] = (), others: Sequence[str] = ()) -> ObjectTownStore:
    """The towns in these objects; with `towns`, only those are due or listed, and with `others`, all but those."""
    return (
        SomeTowns(objects, frozenset(towns), others=frozenset(others)) if towns or others else ObjectTownStore(objects)
    )


_PROVEN: Final[set[Bucket]] = set()


def prove(bucket: Bucket) -> None:
    """Check, once per process, that a bucket honours conditional writes. Raises StoreIncapable."""
    if bucket not in _PROVEN:
        drive(prove_conditional_writes(bucket.objects(), ids.batch_id()))
        _PROVEN.add(bucket)


def surroundings(
    store: ObjectTownStore,
    *,
    clock: Clock,
    runtime: AgentRuntime | None,
    forge: SourceForge | None = None,
    prover: MergeProver | None = None,
    notices: Notices | None = None,
    fleet_channels: tuple[str, ...] = (),
    write_line: Callable[[str], object],
) -> Surroundings:
    """Everything outside a town that a run on one machine needs. Alerts become lines."""
    outside = Outside(runtime=runtime, forge=forge, prover=prover, notices=notices)
    alerts = AlertLog(write_line, clock)
    own_clock = isinstance(clock, clocks.ScaledClock)
    guard = None if own_clock else clock_guard(store, clock, alerts=alerts)
    return Surroundings(
        store=store,
        clock=clock,
        outside=outside,
        alerts=alerts,
        guard=guard,
        own_clock=own_clock,
        real=clocks.SystemClock() if own_clock else None,
        fleet_channels=fleet_channels,
    )


def clock_guard(store: ObjectTownStore, clock: Clock, *, alerts: Alerts | None = None) -> ClockGuard:
    """Compares this machine's clock with the store's."""
    return ClockGuard(clock, store.store_time, clocks.monotonic_seconds, alerts=alerts)


def checked_time(store: ObjectTownStore, clock: LocalClock) -> datetime:
    """The time of a clock. If it is this machine's, it must agree with the store's: else raises ClocksDisagree."""
    return clock.now() if isinstance(clock, clocks.ScaledClock) else drive(clock_guard(store, clock).time())
