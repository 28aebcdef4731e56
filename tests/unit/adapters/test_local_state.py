"""File names of ids, and processes that are told apart."""

import subprocess
from pathlib import Path

import pytest

from shared.adapters import local_supervisor
from shared.adapters.clock import wait_for
from shared.adapters.local_state import segment
from tests.patience import PATIENCE_SECONDS

IDS = ["a", "A/b", "A%2Fb", "..", ".", "", "%", "a b", "é", "x" * 150, "x" * 151, "x" * 152, "%2E%2E"]


def test_every_id_has_a_harmless_name_of_its_own() -> None:
    """No separator, no dot, nothing too long for a file system, and no two ids alike."""
    names = [segment(text) for text in IDS]
    assert len(set(names)) == len(IDS)
    assert all("/" not in name and "." not in name and 0 < len(name) <= 150 for name in names)


@pytest.fixture(params=["/proc", "/nowhere"])
def _process_table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once with /proc and once, as on other systems, by asking ps."""
    monkeypatch.setattr(local_supervisor, "_PROC", Path(request.param))


@pytest.mark.usefixtures("_process_table")
def test_a_process_is_alive_until_it_ends() -> None:
    """Its identity stays the same while it runs; a zombie that nobody has asked for counts as gone."""
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        started = local_supervisor.identity(sleeper.pid)
        assert started is not None
        assert local_supervisor.is_alive(sleeper.pid, started)
        assert not local_supervisor.is_alive(sleeper.pid, "another start")
        assert list(local_supervisor.in_session(sleeper.pid)) == [sleeper.pid]
    finally:
        sleeper.kill()
    assert wait_for(lambda: local_supervisor.identity(sleeper.pid) is None, seconds=PATIENCE_SECONDS)
    sleeper.wait()


def test_a_file_is_written_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    """The second writing replaces the first; nothing else stands beside it."""
    local_supervisor.write_atomically(tmp_path / "x.json", {"n": 1})
    local_supervisor.write_atomically(tmp_path / "x.json", {"n": "é"})
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ['{"n": "é"}']
