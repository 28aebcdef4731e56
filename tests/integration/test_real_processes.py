"""Six processes work on one town, die at random calls, and lose and repeat nothing: on a directory and on SeaweedFS."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.buckets import Bucket
from infra.devstack.s3_servers import REGION, S3Server
from infra.ops.litestream import config as litestream
from infra.townctl.litestream_check import litestream_program
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.s3_objects import S3Objects
from shared.ports.steps import drive
from shared.storage import head, keys, ltx
from shared.storage.towns import ObjectTownStore
from tests.integration import town_writers
from tests.stores import BUCKET, Store
from tests.unit.storage.images import an_image, facts, operations_in

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(params=["directory", "seaweedfs"])
def place(request: pytest.FixtureRequest, tmp_path: Path, as_owner: None) -> tuple[str, Store]:
    if request.param == "directory":
        return str(tmp_path / "data"), DirectoryObjects(tmp_path / "data")
    server: S3Server = request.getfixturevalue("seaweedfs")
    server.empty(BUCKET)
    return f"{BUCKET}@{server.endpoint_url}", S3Objects(BUCKET, endpoint_url=server.endpoint_url)


@pytest.mark.long
@pytest.mark.parametrize(("operations", "deaths_per_call"), [(40, 0.01), (15, 0.0)], ids=["dying", "contending"])
def test_each_increment_of_six_processes_happens_once(
    place: tuple[str, Store], tmp_path: Path, operations: int, deaths_per_call: float
) -> None:
    where, objects = place
    store = ObjectTownStore(objects)
    drive(store.create("demo", an_image(), facts("0-x")))
    program = [sys.executable, "-m", "tests.integration.town_writers"]
    run = subprocess.run(
        [*program, where, str(tmp_path / "acknowledged"), str(operations), str(deaths_per_call)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    happened = json.loads(run.stdout)
    assert (happened["deaths"] > 0) == (deaths_per_call > 0)
    assert happened["lost"] > 0

    everything = {f"{writer}-{number}" for writer in range(town_writers.WRITERS) for number in range(operations)}
    commits = 1 + len(everything)
    town = drive(store.load("demo"))
    assert set(operations_in(town.image)) == everything
    assert (len(operations_in(town.image)), town.txid) == (len(everything), commits)

    acknowledged = set((tmp_path / "acknowledged").read_text().split())
    waiting = {batch.body.decode() for batch in drive(store.read_inbox("demo", limit=1000)).objects}
    assert acknowledged <= waiting == everything
    assert _committed(objects) == list(range(commits, 0, -1))
    _every_snapshot_is_the_image_of_its_commit(objects)
    _litestream_restores_what_was_published(where, objects, tmp_path / "restored")


def _committed(objects: Store) -> list[int]:
    """The TXIDs of all heads that ever stood, newest first."""
    key = keys.head("demo")
    found = []
    for version in objects.versions(key):
        stored = objects.get_version(key, version.version_id)
        assert stored is not None
        found.append(head.decode(stored.body, key=key, town_id="demo").manifest.txid)
    return found


def _every_snapshot_is_the_image_of_its_commit(objects: Store) -> None:
    """Each commit adds one operation, so a snapshot after TXID n holds n - 1."""
    written = [key for key in objects.list(keys.ltx_prefix("demo")).keys if "/0009/" in key]
    assert written
    for key in written:
        stored = objects.get(key)
        assert stored is not None
        file = ltx.decode(stored.body, key)
        image = b"".join(file.pages[number] for number in range(1, file.header.pages + 1))
        assert len(operations_in(image)) == file.header.max_txid - 1


def _litestream_restores_what_was_published(where: str, objects: Store, files: Path) -> None:
    """The real Litestream brings back some eight of the published commits and the newest; each holds an operation for each commit
    before it. So a file between two of them is needed for the later one. Commits whose changes fit into patches publish no such
    file, so the number of files depends on how the writers met.
    """
    files.mkdir()
    bucket, at, endpoint = where.partition("@")
    named = Bucket(bucket, endpoint, REGION) if at else None
    (files / "litestream.yml").write_text(litestream.for_place(named, Path(where).resolve(), ["demo"], files=files))
    published = {int(key[-20:-4], 16) for key in objects.list(keys.ltx_prefix("demo")).keys}
    program = litestream_program()
    assert program is not None

    def operations_after(txid: int) -> int:
        target = files / f"{txid}.db"
        config = ["-config", str(files / "litestream.yml")]
        subprocess.run(
            [program, "restore", *config, "-txid", f"{txid:016x}", "-o", str(target), str(files / "demo.db")],
            env={name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"},
            capture_output=True,
            check=True,
        )
        return len(operations_in(target.read_bytes()))

    assert len(published) > 2
    with ThreadPoolExecutor(2) as two_at_once:
        wanted = sorted({*sorted(published)[:: len(published) // 8 + 1], max(published)})
        restored = dict(zip(wanted, two_at_once.map(operations_after, wanted), strict=True))
    assert restored == {txid: txid - 1 for txid in wanted}
