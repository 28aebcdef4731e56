"""The threat model names the tests that hold its walls: each of them exists, and no attack is missing on the page."""

import re
from typing import Final

from tests.conventions.sources import ROOT

_PAGE: Final = ROOT / "docs" / "security.md"
_NAMED: Final = re.compile(r"`((?:tests/[\w/]+/)?test_\w+\.py)(?:::(test_\w+))?`")


def _named() -> dict[str, list[str]]:
    """The files that the page names, as paths, with the tests that it names in them."""
    found: dict[str, list[str]] = {}
    for file, test in _NAMED.findall(_PAGE.read_text(encoding="utf-8")):
        path = file if file.startswith("tests/") else f"tests/security/{file}"
        found.setdefault(path, []).extend([test] if test else [])
    return found


def test_each_test_that_the_threat_model_names_exists() -> None:
    missing = []
    for path, tests in _named().items():
        text = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).is_file() else ""
        missing += [path] if not text else [f"{path}::{test}" for test in tests if f"def {test}(" not in text]
    assert missing == []


def test_the_threat_model_names_each_attack() -> None:
    attacks = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests" / "security").glob("test_*.py")}
    assert attacks
    assert sorted(attacks - _named().keys()) == []


def test_each_wall_of_the_matrix_is_described_and_held_by_a_test() -> None:
    page = _PAGE.read_text(encoding="utf-8")
    matrix = page.partition("| From |")[2].partition("\n\n")[0]
    used = set(re.findall(r"\b\d{1,2}\b", matrix))
    walls = dict(re.findall(r"^\| (\d{1,2}) [^|]+\|[^|]+\|([^|]+)\|$", page, re.MULTILINE))
    assert used <= walls.keys()
    assert [wall for wall, tests in walls.items() if not _NAMED.search(tests)] == []
