"""Reading values from the events of other programs, whose fields may be missing or of any type."""

from collections.abc import Mapping, Sequence
from typing import Final

from infra.agents.drivers.scrubbing import shortened
from shared.domain.usage import MICROS, MOST

_LONGEST_ABOUT: Final = 300
_LOOKED_AT: Final = 4_000


def inner(value: object, *path: str) -> Mapping[str, object]:
    """The object at a path of keys; an empty one if there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def text(value: object) -> str:
    """A text; empty if it is none."""
    return value if isinstance(value, str) else ""


def items(value: object) -> Sequence[Mapping[str, object]]:
    """The objects in a list; none if it is no list."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def number(value: object) -> int:
    """A count of tokens; 0 if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        return 0
    return int(value)


def micros(dollars: object) -> int | None:
    """US dollars in millionths; None if it is no price."""
    if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 <= dollars <= MOST:
        return None
    return min(round(dollars * MICROS), MOST)


def about(call: Mapping[str, object]) -> str:
    """What a tool was called with, in one line: its command or path if it has one, else all it was given."""
    for name in ("command", "cmd", "file_path", "filePath", "path", "pattern", "url", "description"):
        if text(call.get(name)):
            return one_line(text(call[name]))
    return one_line(", ".join(f"{name}={value}" for name, value in call.items()))


def one_line(said: str) -> str:
    """A text in one line, cut to a length that a person reads."""
    line = " ".join(shortened(said, _LOOKED_AT).split())
    return line if len(line) <= _LONGEST_ABOUT else f"{shortened(line, _LONGEST_ABOUT)} ..."
