"""The files of the plain agent."""

from pathlib import Path

from infra.agents.plain_agent import file_of


def test_each_bead_has_a_file_of_its_own_in_the_clone(tmp_path: Path) -> None:
    beads = ("honest-0001", "honest-0002", "a/b", "a%2Fb", "../a", "é" * 64, "ü" * 64)
    files = {file_of(bead) for bead in beads}
    assert len(files) == len(beads)
    assert all(Path(file).name == file for file in files)
    for file in files:
        (tmp_path / file).write_text("line 1")
    assert len(list(tmp_path.iterdir())) == len(beads)
