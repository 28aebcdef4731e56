"""`townctl restore`, `flush` and `retention`: restore, publish and delete past commits of a town."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from infra.townctl import bucket_rules
from infra.townctl.arguments import Force, TownName, past_time_of, require_new, write_whole
from infra.townctl.context import Context, TheContext
from infra.townctl.output import FOUND, OK, Answer, plain
from infra.townctl.wording import quantity
from shared.adapters import ids
from shared.domain.errors import Refused, Terminal
from shared.domain.shapes import answer, document
from shared.domain.times import to_text
from shared.ports.steps import drive
from shared.ports.town_store import TownImage
from shared.questions.left_behind import NAMED, LeftBehind, left_behind
from shared.storage import in_place, publishing
from shared.storage import retention as forgetting
from shared.storage.restore import KeptPast, Restored, RestorePoint

_InPlace = Annotated[bool, Parameter(negative="", help="Make it the town's newest commit; you can undo this.")]
_Verify = Annotated[
    bool, Parameter(negative="", help="Also restore the commit with the real Litestream, and compare the bytes.")
]
_BEADS_SHOWN: Final = 20
_Days = Annotated[int, Parameter(validator=Number(gte=1, lte=3650))]


@answer
class RestoredTown:
    """The commit that was restored: to a file, or in place as the new commit `txid`.

    `litestream_agrees` says whether Litestream restores the same bytes; None if it was not asked.
    """

    town_id: str
    restored: RestorePoint
    to: str | None
    txid: int | None
    litestream_agrees: bool | None
    left: LeftBehind | None = None
    """What the restored commit does not have; None if the newest commit cannot be read."""


@answer
class Published:
    """The newest commit of a town, and the key under which it was published."""

    town_id: str
    txid: int
    key: str


def restore(
    town_id: TownName,
    /,
    *,
    at: Annotated[
        str | None, Parameter(help="A time, or how long ago, as `1h`: restore the newest commit at or before it.")
    ] = None,
    txid: Annotated[int | None, Parameter(help="The number of a commit, as `townctl points` shows it.")] = None,
    to: Annotated[Path | None, Parameter(help="Write the database to this file; the town does not change.")] = None,
    in_place: _InPlace = False,
    verify_with_litestream: _Verify = False,
    force: Force = False,
    context: TheContext,
) -> Answer:
    """Restore a town as it was, to a file or as a new commit.

    In place, the town forgets what came after the restored commit: beads that were filed later are gone, and settings go back.
    Both are named, with --to too, so look there first. `townctl points TOWN --before EVENT` finds the commit from before a
    change. Exit code 1 if Litestream restores different bytes.
    """
    if (to is None) == (not in_place):
        hint = "give either --to FILE or --in-place"
        raise Refused("restore needs exactly one of --to and --in-place", status=400, path="to", hint=hint)
    if to is not None:
        require_new(to, force=force, what="to")
    past = context.kept_past(town_id)
    moment = None if at is None else past_time_of(at, what="at", now=lambda: _now(context, town_id))
    old = _restored(past, at=moment, txid=txid)
    left = _left(context, town_id, old)
    agrees = _litestream_agrees(context, town_id, old) if verify_with_litestream else None
    committed = None
    if to is not None:
        write_whole(to, old.image, what="to")
    else:
        committed = _in_place(context, past, old).txid
    restored = RestoredTown(town_id, old.point, None if to is None else str(to), committed, agrees, left)
    return Answer(restored, tuple(_restored_view(restored, len(old.image))), FOUND if agrees is False else OK)


def _left(context: Context, town_id: str, old: Restored) -> LeftBehind | None:
    try:
        newest = drive(context.store().load(town_id))
        return left_behind(newest.image, old.image)
    except Terminal:  # whatever is wrong with the newest commit: a restore is the way back from it
        return None


def _litestream_agrees(context: Context, town_id: str, old: Restored) -> bool:
    from infra.townctl.litestream_check import litestream_agrees

    return litestream_agrees(context, town_id, old)


def _restored_view(restored: RestoredTown, size: int) -> Iterator[str]:
    town_id, point = restored.town_id, restored.restored
    yield f"restored town {town_id} as of commit {point.txid}, {to_text(point.time)}"
    if restored.litestream_agrees is not None:
        agrees = restored.litestream_agrees
        yield "Litestream restores the same bytes" if agrees else "LITESTREAM RESTORES DIFFERENT BYTES"
    if restored.txid is None:
        yield f"written to {restored.to} ({quantity(size, 'byte')}); open it with: sqlite3 {restored.to}"
    else:
        undo = f"townctl restore {town_id} --in-place --txid {restored.txid - 1}"
        yield f"it is now the newest commit, {restored.txid}; to undo this: {undo}"
    if restored.left is not None:
        yield from _left_view(restored.left, in_place=restored.txid is not None)


def _left_view(left: LeftBehind, *, in_place: bool) -> Iterator[str]:
    count, beads = left.bead_count, left.beads[:_BEADS_SHOWN]
    verb = "is" if count == 1 else "are"
    where = f"{verb} gone from the town" if in_place else f"{verb} not in it"
    if count:
        yield plain(f"{quantity(count, 'bead')} filed later {where}:")
        yield from (plain(f"  {each.bead_id}  {each.title} ({each.type}, {each.status})") for each in beads)
        if count > len(beads):
            yield f"  and {count - len(beads)} more; --json names up to {NAMED}"
    for change in left.settings:
        yield plain(f"setting {'is back' if in_place else 'differs'}: {change.words}")


def _now(context: Context, town_id: str) -> datetime:
    return context.clock_of(context.store(), town_id).now()


def _restored(past: KeptPast, *, at: datetime | None, txid: int | None) -> Restored:
    """The commit that exactly one of the options names. Raises Refused."""
    if txid is not None and at is None:
        return drive(past.at_txid(txid))
    if txid is None and at is not None:
        return drive(past.at_time(at))
    hint = "give either --at TIME or --txid N; `townctl points TOWN` lists the commits"
    raise Refused("restore needs exactly one of --at and --txid", status=400, path="at", hint=hint)


def _in_place(context: Context, past: KeptPast, old: Restored) -> TownImage:
    store = context.store()
    now = context.checked_time(store)  # not the clock of the town, which may be ahead: a restore brings time back
    return drive(in_place.restore_in_place(store, past, old, now=now, worker_id=ids.worker_id()))


def flush(town_id: TownName, /, *, context: TheContext) -> Answer:
    """Publish the newest commit as a file that Litestream can read."""
    past = context.kept_past(town_id)
    image = drive(context.store().load(town_id))
    key = drive(publishing.flush(past.objects, image))
    return Answer(
        document(Published(town_id, image.txid, key)), (f"published commit {image.txid} of town {town_id} as {key}",)
    )


def retention(
    town_id: TownName,
    /,
    *,
    carry_out: Annotated[bool, Parameter(negative="", help="Delete the objects instead of only listing them.")] = False,
    restore_window_days: Annotated[_Days, Parameter(help="Days for which every instant can be replayed.")] = 7,
    spill_days: Annotated[_Days, Parameter(help="Days for which the ends of spills are restore points.")] = 7,
    snapshot_days: Annotated[_Days, Parameter(help="Days for which snapshots are restore points.")] = 30,
    head_version_days: Annotated[_Days, Parameter(help="Days for which every commit is a restore point.")] = 1,
    context: TheContext,
) -> Answer:
    """Show which objects no restore point needs any more, or delete them.

    For the bucket of a deployed stack, give the days of the stack's parameters with the same names.
    """
    past = context.kept_past(town_id)
    store = context.store()
    keep = forgetting.Keep(
        commits=timedelta(days=head_version_days),
        spills=timedelta(days=spill_days),
        snapshots=timedelta(days=snapshot_days),
        window=timedelta(days=restore_window_days),
    )
    what = forgetting.forget if carry_out else forgetting.plan
    plan = drive(what(past, keep, now=context.checked_time(store)))
    doomed, kept = (
        f"{quantity(objects, 'object')} ({quantity(size, 'byte')})"
        for objects, size in ((len(plan.doomed), plan.freed_bytes), (plan.kept_objects, plan.kept_bytes))
    )
    line = f"deleted {doomed}" if carry_out else f"no longer needed: {doomed}; to delete them, add --carry-out"
    return Answer(plan, (f"{line}; kept: {kept}", *bucket_rules.after_deletion(context.bucket)))
