"""Which clock ticks which towns: real time, or a clock of their own, such as a faster one (`townctl run --speed`).

A town that was ever ticked by a clock of its own says so in its image. Its time may be far ahead of real time, so real time
does not tick it, and its clock ticks no other town.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from infra.townctl.wiring import LocalClock
from infra.townctl.wording import quantity
from shared.adapters import clock as clocks
from shared.domain.errors import Refused, TownError
from shared.images import summary
from shared.ports.steps import drive
from shared.storage.towns import ObjectTownStore

_AHEAD: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class LoopTowns:
    """The towns of one loop, which share a clock.

    `only` are the towns that it ticks; if there are none, it ticks every town, also those that are created later, except
    `others`.
    """

    only: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def towns_of_a_loop(
    store: ObjectTownStore, known: Sequence[str], *, wanted: Sequence[str] = (), speed: float = 1
) -> LoopTowns:
    """The towns that a loop at this speed ticks, of all that are `known`; `wanted` are those that the user has named.

    A speed other than 1 moves only towns that were named, or that run on their own clock. Raises Refused for a speed that no clock
    has, if it is unclear which towns are meant, and if the named ones need different clocks.
    """
    _require_speed(speed)
    own = own_times(store, wanted or known)
    ahead = tuple(town for town in own if _is_ahead(own[town]))
    if wanted:
        real = sorted(set(wanted) - set(own))
        if ahead and real:
            raise Refused(
                f"{_named(sorted(own))} and {_named(real)} cannot share a clock; ahead of real time: {', '.join(sorted(ahead))}",
                status=409,
                path="towns",
                hint="run them by two commands, each with its own --towns",
            )
        return LoopTowns(only=tuple(wanted))
    if speed == 1:
        return LoopTowns() if len(ahead) == len(known) else LoopTowns(others=ahead)
    if len(own) == len(known):
        return LoopTowns()
    if own or len(known) == 1:
        return LoopTowns(only=tuple(own or known))
    raise Refused(
        f"--speed {speed:g} would move {quantity(len(known), 'town')} away from real time: {', '.join(sorted(known)[:10])}",
        status=409,
        path="towns",
        hint="name those that may leave real time for good: `townctl run --speed N --towns TOWN`",
    )


def clock_for(store: ObjectTownStore, towns: Sequence[str], *, speed: float) -> LocalClock:
    """The clock of these towns. If one of them runs on its own clock and is in the future, it starts at that time.

    A town in the future that runs on real time got there by mistake, and does not move a clock of speed 1; at any other speed,
    it is on its own clock from now on. Raises Refused for a speed that no clock has.
    """
    _require_speed(speed)
    started = clocks.ScaledClock.starting_now(speed=speed)
    newest = max(own_times(store, towns, all_of_them=speed != 1).values(), default=started.epoch)
    if newest > started.epoch + _AHEAD:
        return clocks.ScaledClock(epoch=newest, wall_epoch=started.wall_epoch, speed=speed)
    return clocks.SystemClock() if speed == 1 else started


def own_times(store: ObjectTownStore, towns: Sequence[str], *, all_of_them: bool = False) -> dict[str, datetime]:
    """Those of these towns that run on their own clocks, or all of them, each with the time of its newest commit."""
    found: dict[str, datetime] = {}
    for town_id in towns:
        try:
            image = drive(store.load(town_id))
            if all_of_them or summary.has_own_clock(image.content):
                found[town_id] = image.facts.time
        except TownError:
            continue  # who ticks or reads the town reports it
    return found


def _require_speed(speed: float) -> None:
    if not 0 < speed < float("inf"):
        problem = f"--speed must be a number above 0, not {speed:g}"
        raise Refused(problem, status=400, path="speed", hint="use 1 for real time")


def _is_ahead(at: datetime) -> bool:
    return at > clocks.SystemClock().now() + _AHEAD


def _named(towns: Sequence[str]) -> str:
    return f"{'town' if len(towns) == 1 else 'towns'} {', '.join(towns)}"
