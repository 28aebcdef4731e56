"""`townctl pause` and `townctl start`: the brake of one town, or of all. Each gets an event, which its next tick applies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from infra.townctl.arguments import TownName
from infra.townctl.output import FOUND, OK, Answer, plain
from infra.townctl.place import Place, ThePlace, posted
from shared.domain.errors import Refused, TownError
from shared.questions.receipts import BrakedTown, BrakedTowns

By = Annotated[str | None, Parameter(help="Who asks for it, for the town's status.")]


def pause(
    town_id: TownName | None = None,
    /,
    *,
    all_: Annotated[
        bool, Parameter(name="--all", negative="", help="All towns of this place, instead of one.")
    ] = False,
    stop_agents: Annotated[
        bool, Parameter(negative="", help="Also stop the running agents, and give their beads back.")
    ] = False,
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Pause a town, or all: no rule acts, and nothing is started, until `townctl start`. Events are stored and applied.

    Agents that run go on with their work and report it, unless --stop-agents is given. Exit code 1 if a town could not be reached.
    """
    payload = {"by": by, "stop_agents": stop_agents or None}
    return _braked(place, "town_paused", payload, _named(place, town_id, every=all_))


def start(
    town_id: TownName | None = None,
    /,
    *,
    all_: Annotated[
        bool,
        Parameter(
            name="--all",
            negative="",
            help="All towns of this place but those that were created or imported paused and have never run here.",
        ),
    ] = False,
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Start a paused town, or all that were paused by `townctl pause`.

    `townctl dry-run TOWN` shows beforehand what the rules will do. Time-based recovery begins 90 s after the start. Exit code 1
    if a town could not be reached.
    """
    towns = _named(place, town_id, every=all_)
    return _braked(place, "town_started", {"by": by}, towns, skip=_never_ran if all_ else None)


def _named(place: Place, town_id: str | None, *, every: bool) -> tuple[str, ...]:
    if every == (town_id is not None):
        hint = "give a town, or --all; `townctl town list` shows the towns"
        raise Refused("name either one town or --all", status=400, path="town", hint=hint)
    return place.town_ids() if town_id is None else (town_id,)


def _never_ran(place: Place, town_id: str) -> str | None:
    status = place.status(town_id)
    if status.paused and status.brake is None:
        return f"it was created or imported paused and has not run here: `townctl start {town_id}` starts it"
    return None


def _braked(
    place: Place,
    event_type: str,
    payload: dict[str, Any],
    towns: tuple[str, ...],
    *,
    skip: Callable[[Place, str], str | None] | None = None,
) -> Answer:
    """Post the event to each town. With one town, an error is the command's; with several, the others still get theirs."""
    given = {name: value for name, value in payload.items() if value is not None}
    done: list[BrakedTown] = []
    for town_id in towns:
        try:
            left = None if skip is None else skip(place, town_id)
            accepted = None if left is not None else posted(place, town_id, event_type, given).accepted[0]
            done.append(BrakedTown(town_id, accepted, left=left, problem=None))
        except TownError as error:
            if len(towns) == 1:
                raise
            done.append(BrakedTown(town_id, None, left=None, problem=error.message))
    code = FOUND if any(each.problem for each in done) else OK
    return Answer(BrakedTowns(tuple(done)), tuple(_shown(event_type, done)), code)


def _shown(event_type: str, done: list[BrakedTown]) -> Iterator[Text]:
    if not done:
        yield Text("there are no towns here")
    what = "to be paused" if event_type == "town_paused" else "to be started"
    for town in done:
        if town.problem is not None:
            yield Text(plain(f"{town.town_id}: not reached: {town.problem}"), style="red")
        elif town.left is not None:
            yield Text(plain(f"{town.town_id}: left as it is: {town.left}"))
        else:
            yield Text(
                f"{town.town_id}: {what} by its next tick: townctl event list {town.town_id} --type {event_type}"
            )
