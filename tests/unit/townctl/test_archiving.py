"""`townctl town archive` and `delete` do nothing before somebody has confirmed it."""

import io
from pathlib import Path

import pytest

from infra.townctl import command_line
from infra.townctl.output import OK, REFUSED


class Terminal(io.StringIO):
    """A standard input at which somebody types."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A data directory with a paused town."""
    assert command_line.run(["--data", str(tmp_path), "town", "create", "alpha", "--paused"]) == OK
    capsys.readouterr()
    return tmp_path


def towns_in(data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    command_line.run(["--data", str(data), "town", "list"])
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["archive", "delete"])
@pytest.mark.parametrize(
    ("said", "says"),
    [
        (io.StringIO("alpha\n"), "nobody can be asked"),
        (Terminal("beta\n"), "that is not the name of the town"),
        (Terminal(""), "that is not the name of the town"),
    ],
    ids=["no terminal", "another name", "nothing"],
)
def test_without_a_confirmation_nothing_is_changed(
    command: str,
    said: io.StringIO,
    says: str,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said.seek(0)
    monkeypatch.setattr("sys.stdin", said)
    assert command_line.run(["--data", str(data), "town", command, "alpha"]) == REFUSED
    assert says in capsys.readouterr().err
    assert "alpha" in towns_in(data, capsys)


@pytest.mark.parametrize("command", ["archive", "delete"])
def test_who_types_the_name_of_the_town_has_confirmed_it(
    command: str, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("alpha\n"))
    assert command_line.run(["--data", str(data), "town", command, "alpha"]) == OK
    assert "townctl town bring-back alpha" in capsys.readouterr().out
    assert "alpha" not in towns_in(data, capsys)
    assert command_line.run(["--data", str(data), "bead", "list", "alpha"]) == REFUSED
    assert "was archived at" in capsys.readouterr().err


def test_a_town_that_is_not_archived_is_not_deleted_at_once(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.run(["--data", str(data), "town", "delete", "alpha", "--now", "--yes"]) == REFUSED
    assert "is not archived, so --now is refused" in capsys.readouterr().err
    assert "alpha" in towns_in(data, capsys)
