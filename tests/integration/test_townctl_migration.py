"""townctl takes a town from one place to another: export, import, look at what starting will do, start."""

import json
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from infra.townctl import main
from tests.integration.townctl_calls import Townctl


@pytest.fixture
def old(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    """A town with a rig, an agent at work and nothing unread."""
    townctl = Townctl(tmp_path / "old", capsys).with_work()
    townctl.document("tick", "alpha", "--force")
    townctl.document("tick", "alpha", "--force")
    return townctl


@pytest.fixture
def new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    return Townctl(tmp_path / "new", capsys)


@pytest.fixture
def file(old: Townctl, tmp_path: Path) -> Path:
    written = tmp_path / "alpha.jsonl"
    old.document("export", "alpha", str(written))
    return written


def rows_of(file: Path, table: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    return [line["row"] for line in lines if line["table"] == table]


def test_a_town_moves_waits_shows_what_it_will_do_and_starts(old: Townctl, new: Townctl, file: Path) -> None:
    made = new.document("import", str(file), "alpha")
    assert (made["kind"], made["notRead"], made["rows"]["beads"]) == ("json lines", [], 3)
    status = new.document("town", "status", "alpha")
    assert status["paused"] is True
    assert new("doctor").code == 0

    new.document("run", "--once")
    assert new.document("ticks", "alpha")["ticks"] == [] or all(
        each["row"]["outputs"]["actions"] == [] for each in new.document("ticks", "alpha")["ticks"]
    )
    wanted = new.document("dry-run", "alpha", "--now", "2199-01-01T00:00:00Z")
    assert [each for each in wanted["ifStarted"] if each["action"]["type"]] != []
    assert wanted["actions"] == []

    new.document("start", "alpha")
    new.document("tick", "alpha", "--force")
    assert new.document("town", "status", "alpha")["paused"] is False
    assert new.document("dry-run", "alpha")["ifStarted"] == []
    assert old.document("town", "status", "alpha")["paused"] is False


def test_a_town_that_is_imported_is_exported_and_imported_as_it_is(new: Townctl, file: Path, tmp_path: Path) -> None:
    new.document("import", str(file), "alpha")
    new.document("export", "alpha", str(tmp_path / "again.jsonl"))
    new.document("import", str(tmp_path / "again.jsonl"), "beta")
    new.document("export", "beta", str(tmp_path / "third.jsonl"))
    for table in ("beads", "bead_events", "rigs", "town_events", "bead_dependencies"):
        assert rows_of(tmp_path / "again.jsonl", table) == rows_of(file, table)
    again, third = ((tmp_path / name).read_text() for name in ("again.jsonl", "third.jsonl"))
    changed = [
        (one, other) for one, other in zip(again.splitlines()[1:], third.splitlines()[1:], strict=True) if one != other
    ]
    assert [json.loads(line)["row"] for pair in changed for line in pair] == [
        {"key": "id", "value": '"alpha"'},
        {"key": "id", "value": '"beta"'},
    ]


def test_a_town_comes_from_a_sqlite_file_too(old: Townctl, new: Townctl, tmp_path: Path) -> None:
    database = tmp_path / "alpha.db"
    newest = old.document("points", "alpha")["points"][0]["txid"]
    old.document("restore", "alpha", "--txid", str(newest), "--to", str(database))
    made = new.document("import", str(database), "beta")
    assert (made["kind"], made["notRead"], made["journalRowsLeftOut"]) == ("sqlite", [], 2)
    assert new.document("town", "status", "beta")["paused"] is True


def test_a_sqlite_file_with_newer_rows_in_a_log_beside_it_is_refused(new: Townctl, tmp_path: Path) -> None:
    database = tmp_path / "alpha.db"
    with closing(sqlite3.connect(database)) as writing:
        writing.execute("PRAGMA journal_mode = WAL")
        writing.execute("CREATE TABLE beads (bead_id)")
        writing.commit()
        called = new("import", str(database), "beta", "--json")
    assert (called.code, "wal_checkpoint" in called.error["hint"]) == (2, True)


def test_what_cannot_be_read_is_shown_row_by_row_with_exit_code_1(new: Townctl, file: Path) -> None:
    text = file.read_text().replace('"title":"Do it"', '"title":"\\u001b[31mred"')
    file.write_text(text + '{"table":"beads","row":{"bead_id":"odd","status":"\\u001b[2J"}}\nno json\n')
    seen = new("import", str(file), "alpha")
    assert seen.code == 1
    assert "odd" in seen.out
    assert "row left out" in seen.out
    assert "not JSON" in seen.out
    assert "\x1b" not in seen.out
    told = new("import", str(file), "beta", "--json")
    assert told.code == 1
    assert {each["key"] for each in told.document["notRead"]} >= {"odd"}


def test_a_town_that_exists_is_never_written_over(new: Townctl, file: Path) -> None:
    new.document("import", str(file), "alpha")
    before = new.document("points", "alpha")["points"]
    called = new("import", str(file), "alpha", "--json")
    assert (called.code, called.error["kind"]) == (2, "TownExists")
    assert new.document("points", "alpha")["points"] == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("import", "{tmp}/none", "beta"), "cannot read"),
        (("import", "{tmp}", "beta"), "cannot read"),
        (("import", "{tmp}/text", "beta"), "not the header of an export"),
        (("import", "{file}", "Beta/.."), "not a town id"),
        (("export", "beta", "{tmp}/out"), "no town beta"),
        (("export", "alpha", "{tmp}/no/such/folder"), "cannot write"),
    ],
)
def test_a_mistake_is_said_in_a_line_and_nothing_is_made(
    old: Townctl, file: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "text").write_text("Dear town,\n")
    called = old(*(word.format(tmp=tmp_path, file=file) for word in words), "--json")
    assert called.code == 2
    assert message in called.error["message"]
    assert called.error["hint"]
    assert [town["townId"] for town in old.document("town", "list")["towns"]] == ["alpha"]


def test_an_export_says_that_events_wait_which_it_does_not_hold(old: Townctl, tmp_path: Path) -> None:
    old.post("nudge_timeout", {})
    called = old("export", "alpha", str(tmp_path / "alpha.jsonl"), "--json")
    assert (called.code, called.document["waitingBatches"]) == (1, 1)


def test_an_export_is_for_its_owner_only(file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_help_says_that_no_export_of_the_old_system_was_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["import", "--help"]) == 0
    assert "its format is unknown" in " ".join(capsys.readouterr().out.split())
