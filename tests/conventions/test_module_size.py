"""A module that outgrows one sitting is looked at twice: it is split, or it is listed here with a reason."""

from typing import Final

from tests.conventions.sources import files_under, name_of

MAX_LINES: Final = 350

# file -> (its own limit, why it is one thing)
LONGER: Final[dict[str, tuple[int, str]]] = {}


def _lengths() -> dict[str, int]:
    return {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files_under("shared", "functions")
    }


def test_modules_can_be_read_in_one_sitting() -> None:
    limits = {path: limit for path, (limit, _) in LONGER.items()}
    too_long = {path: lines for path, lines in _lengths().items() if lines > limits.get(path, MAX_LINES)}
    assert too_long == {}


def test_every_exception_is_still_needed() -> None:
    lengths = _lengths()
    assert [path for path in LONGER if lengths.get(path, 0) <= MAX_LINES] == []
