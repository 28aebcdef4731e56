"""Ticks to take along: `townctl record` in one place, `townctl replay FILE` in another that knows nothing of the town."""

import lzma
from pathlib import Path

import pytest

from shared.history.retained_past import StoredPast
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow
from tests.integration.townctl_calls import Townctl
from tests.recordings import golden

ALPHA = "alpha"
EARLY = ("--from", "2020-01-01T00:00:00Z")


@pytest.fixture
def townctl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    call = Townctl(tmp_path / "data", capsys).with_work()
    assert call("tick", ALPHA, "--force").code == 0
    call.post("bead_created", {"bead": {"bead_id": "b2", "type": "issue", "title": "Ask Alice", "rig_id": "rig-1"}})
    for _ in range(2):
        assert call("tick", ALPHA, "--force").code in (0, 1)
    return call


@pytest.fixture
def elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    return Townctl(tmp_path / "nowhere", capsys)


def first_tick_of(townctl: Townctl) -> str:
    """When the town's first tick ran."""
    return str(townctl.document("ticks", ALPHA)["ticks"][0]["time"])


def test_a_recording_of_a_town_is_verified_where_there_is_no_town(
    townctl: Townctl, elsewhere: Townctl, tmp_path: Path
) -> None:
    file = tmp_path / "alpha.recording"
    made = townctl.document("record", ALPHA, str(file), "--from", first_tick_of(townctl))
    written = made["recording"]
    assert (made["townId"], made["problem"], written["bytes"]) == (ALPHA, None, file.stat().st_size)
    assert written["masked"] > 0
    assert b"Alice" not in lzma.decompress(file.read_bytes())
    shown = elsewhere("replay", str(file))
    assert shown.code == 0
    assert "every tick is as it was recorded, byte for byte" in shown.out
    again = elsewhere.document("replay", str(file))["verified"]
    assert (again["exact"], again["firstTick"], again["lastTick"]) == (True, written["firstTick"], written["lastTick"])
    assert again["eventsReplayed"] > 0
    assert townctl("record", ALPHA, str(tmp_path / "again.recording"), "--from", first_tick_of(townctl)).code == 0
    assert (tmp_path / "again.recording").read_bytes() == file.read_bytes()


def test_a_town_is_replayed_by_its_name_even_beside_a_file_of_another_name(townctl: Townctl) -> None:
    assert townctl.document("replay", ALPHA, "--from", first_tick_of(townctl))["exact"] is True


def test_a_recording_that_was_tampered_with_is_shown_as_a_diff(elsewhere: Townctl) -> None:
    shown = elsewhere("replay", str(golden.path_of(golden.TAMPERED)))
    assert shown.code == 1
    assert "DIVERGES FROM THE RECORDING" in shown.out
    assert "first difference in tick 9" in shown.out
    assert "  beads follows priority\n    - critical\n    + low\n" in shown.out
    document = elsewhere("replay", str(golden.path_of(golden.TAMPERED)), "--json").document
    assert document["verified"]["divergence"]["differences"][1] == {
        "table": "beads",
        "key": "follows",
        "column": "priority",
        "expected": "critical",
        "got": "low",
    }


def test_a_damaged_file_is_found_and_what_is_no_recording_refused(elsewhere: Townctl, tmp_path: Path) -> None:
    file = tmp_path / "torn.recording"
    file.write_bytes(golden.path_of("drain").read_bytes()[:-50])
    shown = elsewhere("replay", str(file))
    assert (shown.code, "is damaged" in shown.out) == (1, True)
    file.write_bytes(b"no recording")
    refused = elsewhere("replay", str(file))
    assert (refused.code, "is not a recording" in refused.err) == (2, True)
    assert elsewhere("replay", str(tmp_path / "missing.recording")).code == 2
    both = elsewhere("replay", str(golden.path_of("drain")), *EARLY)
    assert (both.code, "does not apply to a recording" in both.err) == (2, True)


def test_a_window_that_cannot_be_recorded_leaves_no_file(townctl: Townctl, tmp_path: Path) -> None:
    file = tmp_path / "alpha.recording"
    assert townctl("record", ALPHA, str(file), *EARLY).code == 2
    assert townctl("record", "nobody", str(file), "--from", first_tick_of(townctl)).code == 2
    gone = townctl("record", ALPHA, str(tmp_path / "no" / "x.recording"), "--from", first_tick_of(townctl))
    assert (gone.code, "cannot write" in gone.err) == (2, True)
    assert not file.exists()


def test_a_history_that_somebody_changed_is_not_recorded(
    townctl: Townctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_after = StoredPast.rows_after

    def forged(self: StoredPast, town_id: str, tick_no: int) -> Steps[tuple[JournalRow, ...]]:
        rows = yield from rows_after(self, town_id, tick_no)
        return tuple({**row, "inputs": {**row["inputs"], "more_waiting": True}} for row in rows)

    monkeypatch.setattr(StoredPast, "rows_after", forged)
    file = tmp_path / "alpha.recording"
    shown = townctl("record", ALPHA, str(file), "--from", first_tick_of(townctl))
    assert shown.code == 1
    assert "nothing was written: tick " in shown.out
    assert not file.exists()
