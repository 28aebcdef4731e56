"""`townctl town archive`, `archived`, `bring-back` and `delete`: what to do with a town that nobody wants any more."""

from __future__ import annotations

import sys
from getpass import getuser
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from infra.townctl.arguments import TownName
from infra.townctl.context import TheContext
from infra.townctl.output import Answer, table
from infra.townctl.people import when
from infra.townctl.wording import quantity
from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.ports.steps import drive

if TYPE_CHECKING:
    from infra.townctl.context import Context
    from shared.storage.put_away import PutAway

Yes = Annotated[
    bool, Parameter(negative="", help="Do not ask. Needed where nobody can be asked, in a script for example.")
]


def archive(town_id: TownName, /, *, yes: Yes = False, context: TheContext) -> Answer:
    """Put a paused town away: it is not run or listed any more, and `townctl town bring-back` makes it a town again."""
    context.require_towns(context.store(), town_id)
    _ask(context, town_id, f"archive town {town_id}: it takes no events until it is brought back", yes=yes)
    note = _put_away(context, town_id)
    return Answer(note, (_archived(note), f"to bring it back: townctl town bring-back {town_id}"))


def bring_back(town_id: TownName, /, *, context: TheContext) -> Answer:
    """Make an archived town a town again, as it was; it is still paused."""
    from shared.storage.put_away import bring_back as bringing

    store = context.store()
    note = drive(bringing(store, context.kept_past(town_id), now=context.checked_time(store)))
    start = f"it is paused, as it was; to start it: townctl start {town_id}"
    return Answer(note, (f"town {town_id} is back as of commit {note.txid}", start))


def archived(*, context: TheContext) -> Answer:
    """List the archived towns, with who archived them, and until when they are certainly kept."""
    from shared.storage.put_away import ArchivedTowns, all_put_away

    found = drive(all_put_away(context.store(), context.kept_past))
    now = context.clock.now()
    rows = [(each.town_id, when(each.at, now), each.by, when(each.kept_until, now), each.txid) for each in found]
    if not rows:
        return Answer(ArchivedTowns(found), (f"no town is archived in {context.place}",))
    return Answer(ArchivedTowns(found), (table("town", "archived", "by", "kept until", "commit", rows=rows),))


def delete(
    town_id: TownName,
    /,
    *,
    now: Annotated[
        bool, Parameter(negative="", help="Delete an archived town for good although its 30 days are not over.")
    ] = False,
    yes: Yes = False,
    context: TheContext,
) -> Answer:
    """Archive a paused town; or delete one for good, with its whole past, that has been archived for 30 days."""
    from shared.storage.put_away import delete as deleting

    store = context.store()
    if town_id in drive(store.towns()):
        if now:
            hint = f"archive it first: `townctl town archive {town_id}`"
            raise Refused(f"town {town_id} is not archived, so --now is refused", status=409, path="now", hint=hint)
        _ask(context, town_id, f"archive town {town_id}, to delete it for good in 30 days or later", yes=yes)
        note = _put_away(context, town_id)
        kept = f"it can be brought back: townctl town bring-back {town_id}"
        later = f"from {to_text(note.kept_until)} on, repeat this command to delete it for good"
        return Answer(note, (_archived(note), kept, later))
    _ask(context, town_id, f"delete town {town_id} with its whole past, for good", yes=yes)
    gone = drive(deleting(context.kept_past(town_id), now=context.checked_time(store), insist=now))
    shown = f"deleted town {town_id} for good ({quantity(gone.objects, 'object')})"
    return Answer(gone, (shown, f"its tokens are left: townctl secret remove {town_id} github"))


def _put_away(context: Context, town_id: str) -> PutAway:
    from shared.storage.put_away import put_away

    store = context.store()
    return drive(put_away(store, context.kept_past(town_id), by=getuser(), now=context.checked_time(store)))


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
