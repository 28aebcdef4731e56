"""`townctl town`: create and start towns, list them, and show the work, the waiting beads and the settings of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.arguments import TownName, content_of, json_of
from infra.townctl.output import FOUND, OK, Answer, plain, table, time_text
from infra.townctl.place import ThePlace
from shared.domain.errors import Refused

if TYPE_CHECKING:
    from shared.questions.rosters import Setting, TownSettings


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
            help="Create the town paused: it applies events, but no rule acts until `townctl town start`.",
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


def start(town_id: TownName, /, *, place: ThePlace) -> Answer:
    """Start a paused town: post the event town_started, which its next tick applies.

    `townctl dry-run TOWN` shows beforehand what the rules will do. Time-based recovery begins 90 s after the start.
    """
    from infra.townctl import events

    return events.post(town_id, event_type="town_started", place=place)


def list_(*, place: ThePlace) -> Answer:
    """List the towns with their latest ticks. Exit code 1 if a town cannot be read."""
    found = place.towns()
    if not found.towns:
        hint = f"there are no towns in {place.name} yet; create one: townctl town create TOWN"
        return Answer(found, (hint,))
    rows = [(t.town_id, t.tick, time_text(t.time), time_text(t.next_due_at), t.problem) for t in found.towns]
    code = FOUND if any(town.problem for town in found.towns) else OK
    return Answer(found, (table("town", "tick", "at", "next due", "problem", rows=rows),), code)


def status(town_id: TownName, /, *, place: ThePlace) -> Answer:
    """Show what a town is doing and, for every waiting bead, why and until when it waits.

    Exit code 1 if an invariant is violated or a row cannot be read.
    """
    from infra.townctl.status_view import status_view

    report = place.status(town_id)
    code = FOUND if report.violations or report.unreadable else OK
    return Answer(report, status_view(report), code)


def config(town_id: TownName, /, *, place: ThePlace) -> Answer:
    """Show the settings of a town: the effective values, which of them are defaults, and the overrides of rigs."""
    found = place.settings(town_id)
    return Answer(found, _settings_view(found))


def _settings_view(found: TownSettings) -> Iterator[RenderableType]:
    yield Text(f"{found.town_id} as of tick {found.tick}" + (", paused" if found.paused else ""))
    yield table(
        "setting", "value", "", rows=[(s.name, _value(s), "" if s.stored else "default") for s in found.settings]
    )
    for rig in found.rigs:
        yield Text(plain(f"rig {rig.rig_id} ({rig.name}): {rig.git_url}, branch {rig.default_branch}"))
        if rig.overrides:
            yield table("setting", "value", rows=[(setting.name, _value(setting)) for setting in rig.overrides])


def _value(setting: Setting) -> str:
    return setting.value if isinstance(setting.value, str) else json.dumps(setting.value)
