"""`townctl bead`, `agent` and `convoy`: lists of what is in a town, including closed beads, and one bead in full."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl import people
from infra.townctl.arguments import BeadId, TownName, require_limit
from infra.townctl.output import Answer, plain, table, time_text
from infra.townctl.paging import (
    LONGEST_ID,
    LONGEST_TEXT,
    CursorOption,
    LimitOption,
    listed,
    present,
    require_filter,
    the_one,
)
from infra.townctl.people import state, waits_for, when
from infra.townctl.place import ThePlace
from infra.ui.short_ids import short
from shared.domain.times import to_text
from shared.questions.filters import LIMIT_AT_MOST, BeadFilter, StatusFilter, TypeFilter
from shared.questions.spend import spend_words

if TYPE_CHECKING:
    from shared.questions.bead_view import WholeBead
    from shared.questions.waiting import Waiting


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of the list of beads."""

    status: Annotated[
        StatusFilter | None, Parameter(help="Only beads with this status; live: neither closed nor failed.")
    ] = None
    type: Annotated[TypeFilter | None, Parameter(help="Only beads of this type.")] = None
    convoy: Annotated[str | None, Parameter(help="Only beads of this convoy (its full id).")] = None
    rig: Annotated[str | None, Parameter(help="Only beads of this rig.")] = None
    label: Annotated[str | None, Parameter(help="Only beads with this label.")] = None
    text: Annotated[str | None, Parameter(help="Only beads with this text in their id, title or body.")] = None


def list_(
    town_id: TownName,
    /,
    *,
    filters: Filters | None = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    place: ThePlace,
) -> Answer:
    """List the beads of a town, including closed ones, newest first."""
    require_limit(limit, LIMIT_AT_MOST)
    wanted = BeadFilter() if filters is None else BeadFilter(**asdict(filters))
    for name, value in (("convoy", wanted.convoy), ("rig", wanted.rig)):
        require_filter(name, value, at_most=LONGEST_ID)
    for name, value in (("label", wanted.label), ("text", wanted.text)):
        require_filter(name, value, at_most=LONGEST_TEXT)
    found = place.beads(town_id, wanted, limit=limit, cursor=cursor)
    now, names = present(place, town_id), {bead.bead_id: bead.title for bead in found.beads}
    waits = {each.bead_id: each for each in found.waiting}
    rows = [
        (
            bead.title,
            state(bead.status, people.BEADS),
            *_why(waits.get(bead.bead_id), town_id, names, now),
            short(bead.bead_id),
            when(bead.created_at, now),
            people.kind(bead.type),
            bead.rig_id,
            spend_words(bead.used),
        )
        for bead in found.beads
    ]
    columns = ("title", "state", "why it waits", "since", "until", "bead", "created", "type", "rig", "used")
    return listed(
        found,
        *columns,
        rows=rows,
        now=now,
        none=f"town {town_id} has no matching beads",
        after=found.next,
        total=found.total,
    )


def _why(waiting: Waiting | None, town_id: str, names: Mapping[str, str], now: datetime) -> tuple[object, ...]:
    """Why, since when and until when a bead waits, as three cells."""
    if waiting is None:
        return None, None, None
    return waits_for(waiting, town_id, names), when(waiting.since, now), people.until(waiting, now)


def show(
    town_id: TownName,
    bead_id: BeadId,
    /,
    *,
    place: ThePlace,
) -> Answer:
    """Show one bead in full: its rows, its dependencies and its audit trail. `townctl explain bead` says why it waits."""
    found = place.bead(town_id, the_one(place, town_id, "bead", bead_id))
    return Answer(found, _bead_view(found.town_id, found.bead, archived=found.archived))


def agents(town_id: TownName, /, *, place: ThePlace) -> Answer:
    """List the agents of a town with what they work on."""
    found = place.agents(town_id)
    now = present(place, town_id)
    rows = [
        (
            people.agent_name(a.identity),
            state(a.status, people.AGENTS),
            short(a.hook),
            a.says,
            None if a.last_activity_at is None else when(a.last_activity_at, now),
            short(a.agent_id),
            a.role,
            spend_words(a.used),
        )
        for a in sorted(found.agents, key=lambda each: (each.status == "idle", each.identity))
    ]
    columns = ("name", "state", "works on", "says", "seen", "agent", "role", "used")
    return listed(found, *columns, rows=rows, now=now, none=f"town {town_id} has no agents")


def convoys(town_id: TownName, /, *, limit: LimitOption = 50, cursor: CursorOption = None, place: ThePlace) -> Answer:
    """List the convoys of a town, including landed ones, newest first."""
    require_limit(limit, LIMIT_AT_MOST)
    found = place.convoys(town_id, limit=limit, cursor=cursor)
    now = present(place, town_id)
    rows = [
        (
            each.title,
            state(each.state, people.CONVOYS),
            f"{each.done} of {each.total}",
            short(each.bead_id),
            None if each.landed_at is None else when(each.landed_at, now),
            spend_words(each.used),
        )
        for each in found.convoys
    ]
    columns = ("title", "state", "done", "convoy", "landed", "used")
    return listed(
        found, *columns, rows=rows, now=now, none=f"town {town_id} has no convoys", after=found.next, total=found.total
    )


def _bead_view(town_id: str, bead: WholeBead, *, archived: bool) -> Iterator[RenderableType]:
    """A bead for people: the fields that are set, then its dependencies and its audit trail."""
    yield Text(plain(f"{bead.type} {bead.bead_id} of {town_id}: {bead.title}"), style="bold")
    if archived:
        yield Text("it ended long ago and is in the town's archive")
    yield table("what", "details", rows=list(_facts(bead)))
    for title, edges in (("depends on", bead.depends_on), ("dependents", bead.dependents)):
        if edges:
            rows = [(short(edge.bead_id), edge.type, edge.status) for edge in edges]
            yield table(title, "as", "status", rows=rows)
    if bead.audit:
        audit = [
            (
                time_text(line.created_at),
                line.event_type,
                short(line.agent_id),
                line.old_value,
                line.new_value,
                line.said_by,
            )
            for line in bead.audit
        ]
        yield table("at", "change", "agent", "from", "to", "said by", rows=audit)


def _facts(bead: WholeBead) -> Iterator[tuple[str, str]]:
    yield from _set(bead, leave_out=("bead_id", "type", "title"))
    used = spend_words(bead.used)
    if used is not None:
        yield "used", used
    for part in (bead.agent, bead.review, bead.convoy, bead.escalation):
        if part is not None:
            yield from _set(part)


def _set(part: object, leave_out: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """The fields of a part that have a value and are not parts themselves."""
    for field in fields(part):  # type: ignore[arg-type] # every part is a dataclass
        value = getattr(part, field.name)
        if field.name in leave_out or value is None or is_dataclass(value) or isinstance(value, tuple):
            continue
        if isinstance(value, datetime):
            yield field.name, to_text(value)
        elif value not in ({}, []):
            yield field.name, value if isinstance(value, str) else json.dumps(value)
