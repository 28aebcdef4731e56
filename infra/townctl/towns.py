"""`townctl town`: create towns, resume and list them, and show the work and the waiting beads of one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from infra.townctl.arguments import TownName, content_of, json_of
from infra.townctl.output import FOUND, OK, Answer, plain, table
from infra.townctl.paging import ahead_of_this_machine
from infra.townctl.people import span, when
from infra.townctl.place import ThePlace
from shared.adapters.clock import SystemClock
from shared.domain.errors import Refused


def create(
    town_id: TownName,
    /,
    *,
    config: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="A file with a JSON object of the settings that differ from the defaults; `-` is standard input.",
        ),
    ] = None,
    paused: Annotated[
        bool,
        Parameter(
            negative="",
            help="Create the town paused: it applies events, but no rule acts until `townctl start`.",
        ),
    ] = False,
    place: ThePlace,
) -> Answer:
    """Create a town. Its first tick is due at once."""
    settings = {} if config is None else json_of(content_of(config, what="config"), what="config")
    if not isinstance(settings, dict):
        hint = 'give a JSON object of settings, for example {"merge_strategy": "direct"}'
        raise Refused(f"the configuration of town {town_id} is not a JSON object", status=400, path="config", hint=hint)
    created = place.create(town_id, settings, paused=paused)
    shown = f"created town {town_id} in {place.name}; register a rig next: townctl event post {town_id} --help"
    return Answer(created, (shown,))


def resume(town_id: TownName, /, *, place: ThePlace) -> Answer:
    """Run a town again that was set aside because its runs ended their processes."""
    done = place.resume(town_id)
    was = "runs again; its next run is due now" if done.resumed else "was not set aside; nothing was changed"
    return Answer(done, (f"town {town_id} {was}",))


def list_(*, place: ThePlace) -> Answer:
    """List the towns with their latest ticks. Exit code 1 if a town cannot be read."""
    found = place.towns()
    if not found.towns:
        hint = f"there are no towns in {place.name} yet; create one: townctl town create TOWN"
        return Answer(found, (hint,))
    now = SystemClock().now()
    rows = [
        (
            t.town_id,
            Text(plain(t.problem), style="red") if t.problem else None,
            t.tick,
            None if t.time is None else when(t.time, max(now, t.time)),
            "only an event" if t.next_due_at is None else when(t.next_due_at, max(now, t.time or now)),
            _lead(t.time),
        )
        for t in found.towns
    ]
    code = FOUND if any(town.problem for town in found.towns) else OK
    return Answer(
        found, (table("town", "problem", "tick", "last tick", "next due", "clock ahead by", rows=rows),), code
    )


def status(
    town_id: TownName,
    /,
    *,
    watch: Annotated[bool, Parameter(negative="", help="Show it live until Ctrl-C, as `townctl watch` does.")] = False,
    place: ThePlace,
) -> Answer:
    """Show what a town is doing and, for every waiting bead, why and until when it waits.

    Exit code 1 if something needs attention: a bead has failed, a person has to decide or to mend something, the mayor waits for an
    answer, an invariant is violated. A bead that somebody holds back or has cancelled needs none.
    """
    if watch:
        from infra.townctl import watch as live

        return live.watch(town_id, place=place)
    from infra.townctl.status_view import status_view

    report = place.status(town_id)
    return Answer(report, status_view(report), FOUND if report.attention else OK)


def _lead(at: datetime | None) -> str | None:
    """How far a town is ahead of this machine, because it has a clock of its own; None if it is not."""
    ahead = None if at is None else ahead_of_this_machine(at)
    return None if ahead is None else span(ahead)
