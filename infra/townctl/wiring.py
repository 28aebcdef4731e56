"""The composition root of a deployment on one machine: the store, its clock, and the surroundings of a run.

The store is a data directory or a bucket.

<data>/towns, <data>/due      the objects that a bucket would hold
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from infra.buckets import Bucket
from shared.adapters import clock as clocks
from shared.adapters import ids
from shared.domain.errors import Refused, TownError
from shared.ports.clock import Clock
from shared.ports.forge import MergeProver, SourceForge
from shared.ports.object_store import ObjectStore
from shared.ports.runtime import AgentRuntime
from shared.ports.steps import Steps, drive
from shared.ports.waiting_room import DueMarker
from shared.runner.perform import Outside
from shared.runner.surroundings import Surroundings
from shared.storage import keys
from shared.storage.probe import prove_conditional_writes
from shared.storage.towns import ObjectTownStore
from shared.telemetry.alert_log import AlertLog

LocalClock = clocks.SystemClock | clocks.ScaledClock


class SomeTowns(ObjectTownStore):
    """A town store limited to some towns: no other is due or listed, so no other is ticked, swept or subject to retention."""

    def __init__(self, objects: ObjectStore, towns: frozenset[str]) -> None:
        super().__init__(objects)
        self._towns = towns

    def due(self, now: Any) -> Steps[tuple[DueMarker, ...]]:
        """The due markers of these towns."""
        markers = yield from super().due(now)
        return tuple(marker for marker in markers if marker.town_id in self._towns)

    def towns(self, *, after: str = "", limit: int | None = None, prefix: str = "") -> Steps[tuple[str, ...]]:
        """Those of these towns that exist, in the order of their keys."""
        found = yield from super().towns(prefix=prefix)
        ours = sorted(self._towns.intersection(found), key=keys.town)
        behind = [town for town in ours if not after or keys.town(town) > keys.town(after)]
        return tuple(behind[:limit])


def open_store(objects: ObjectStore, *, towns: Sequence[str] = ()) -> ObjectTownStore:
    """The towns in these objects; with `towns`, only those are due or listed."""
    return SomeTowns(objects, frozenset(towns)) if towns else ObjectTownStore(objects)


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
    write_line: Callable[[str], object],
) -> Surroundings:
    """Everything outside a town that a run on one machine needs. Alerts become lines."""
    outside = Outside(runtime=runtime, forge=forge, prover=prover)
    return Surroundings(store=store, clock=clock, outside=outside, alerts=AlertLog(write_line, clock))


def clock_for(store: ObjectTownStore, towns: Sequence[str], *, speed: float) -> LocalClock:
    """The clock of a loop. If an earlier, faster clock left a town in the future, it starts at that time. Raises Refused."""
    if not 0 < speed < float("inf"):
        problem = f"--speed must be a number above 0, not {speed:g}"
        raise Refused(problem, status=400, path="speed", hint="use 1 for real time")
    started = clocks.ScaledClock.starting_now(speed=speed)
    newest = started.epoch
    for town_id in towns:
        try:
            newest = max(newest, drive(store.load(town_id)).facts.time)
        except TownError:
            continue  # the loop reports the town
    if newest > started.epoch + timedelta(seconds=1):
        return clocks.ScaledClock(epoch=newest, wall_epoch=started.wall_epoch, speed=speed)
    return clocks.SystemClock() if speed == 1 else started
