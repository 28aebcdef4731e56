"""`townctl town archive`, `archived`, `bring-back` and `delete`: what to do with a town that nobody wants any more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from infra.townctl.arguments import TownName
from infra.townctl.context import TheContext
from infra.townctl.output import Answer, table
from infra.townctl.people import when
from infra.townctl.place import ThePlace
from infra.townctl.wording import quantity
from shared.domain.errors import Refused
from shared.domain.times import to_text

if TYPE_CHECKING:
    from infra.townctl.away import AwayTowns
    from infra.townctl.context import Context
    from shared.storage.deletion import DeletedTown
    from shared.storage.put_away import PutAway

Yes = Annotated[
    bool, Parameter(negative="", help="Do not ask. Needed where nobody can be asked, in a script for example.")
]
Reason = Annotated[str | None, Parameter(help="Why, in one line; it is kept with the town.")]
_TO_DELETE = "to be deleted for good"


def archive(
    town_id: TownName, /, *, reason: Reason = None, yes: Yes = False, place: ThePlace, context: TheContext
) -> Answer:
    """Put a paused town away: it is not run or listed any more, and `townctl town bring-back` makes it a town again."""
    place.require(town_id)
    _ask(context, town_id, f"archive town {town_id}: it takes no events until it is brought back", yes=yes)
    note = place.away().archive(town_id, reason)
    return Answer(note, (_archived(note), f"to bring it back: townctl town bring-back {town_id}"))


def bring_back(town_id: TownName, /, *, place: ThePlace) -> Answer:
    """Make an archived town a town again, as it was; it is still paused."""
    note = place.away().bring_back(town_id)
    start = f"it is paused, as it was; to start it: townctl start {town_id}"
    return Answer(note, (f"town {town_id} is back as of commit {note.txid}", start))


def archived(*, place: ThePlace, context: TheContext) -> Answer:
    """List the archived towns, with who archived them and why, and until when they are certainly kept."""
    found = place.away().archived()
    now = context.clock.now()
    if not found.towns:
        return Answer(found, (f"no town is archived in {place.name}",))
    rows = [
        (
            each.town_id,
            when(each.at, now),
            each.by,
            each.reason or "",
            _kept(each, when(each.kept_until, now)),
            each.txid,
        )
        for each in found.towns
    ]
    return Answer(found, (table("town", "archived", "by", "why", "kept until", "commit", rows=rows),))


def delete(
    town_id: TownName,
    /,
    *,
    now: Annotated[
        bool, Parameter(negative="", help="Delete an archived town for good although its 30 days are not over.")
    ] = False,
    reason: Reason = None,
    yes: Yes = False,
    place: ThePlace,
    context: TheContext,
) -> Answer:
    """Archive a paused town; or delete one for good, with its whole past, that has been archived for 30 days."""
    away = place.away()
    if town_id in place.town_ids():
        if now:
            hint = f"archive it first: `townctl town archive {town_id}`"
            raise Refused(f"town {town_id} is not archived, so --now is refused", status=409, path="now", hint=hint)
        _ask(context, town_id, f"archive town {town_id}, to delete it for good in 30 days or later", yes=yes)
        note = away.archive(town_id, reason or _TO_DELETE)
        kept = f"it can be brought back: townctl town bring-back {town_id}"
        later = f"from {to_text(note.kept_until)} on, repeat this command to delete it for good"
        return Answer(note, (_archived(note), kept, later))
    if reason is not None:
        hint = "leave --reason out: nothing of the town is left that could keep it"
        raise Refused("a deletion for good keeps no reason", status=400, path="reason", hint=hint)
    _ask(context, town_id, f"delete town {town_id} with its whole past, for good", yes=yes)
    gone = _deleted(away, town_id, now=now)
    shown = f"deleted town {town_id} for good ({quantity(gone.objects, 'object')})"
    return Answer(gone, (shown, f"its tokens are left: townctl secret remove {town_id} github"))


def _deleted(away: AwayTowns, town_id: str, *, now: bool) -> DeletedTown:
    """All of it, in as many calls as that takes."""
    from dataclasses import replace

    gone = part = away.delete(town_id, now=now)
    while part.left:
        part = away.delete(town_id, now=now)
        gone = replace(part, objects=gone.objects + part.objects)
    return gone


def _kept(note: PutAway, until: object) -> object:
    return "being deleted" if note.deleting else until


def _archived(note: PutAway) -> str:
    return f"archived town {note.town_id} as of commit {note.txid}, {to_text(note.at)}"


def _ask(context: Context, town_id: str, what: str, *, yes: bool) -> None:
    """Let a person at a terminal confirm it by the town's name. Raises Refused."""
    if yes:
        return
    if not sys.stdin.isatty():
        hint = "add --yes"
        raise Refused(f"this would {what}, and nobody can be asked", status=400, path="yes", hint=hint)
    context.talk(f"This will {what}. Type its name to go on:")
    if sys.stdin.readline().strip() != town_id:
        raise Refused(
            "that is not the name of the town: nothing was changed", status=400, path="yes", hint="repeat the command"
        )
