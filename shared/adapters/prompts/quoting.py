r"""Quoting untrusted texts in a prompt: cleaned, cut, and marked so that they cannot be taken for our own words.

A `block` has "> " before every line; no text can make one of its lines begin in any other way. A `line` is one JSON string in
double quotes, or a list of them. Control characters are removed (except line breaks and tabs in a block), and so are
characters that change the direction of text and invisible characters that can carry hidden words.
"""

import json
import re
import unicodedata
from typing import Final

_LINE_LIMIT: Final = 500
_MOST_ON_A_LINE: Final = 20
_BREAKS: Final = str.maketrans({"\u2028": "\n", "\u2029": "\n", "\x85": "\n", "\x0b": "\n", "\x0c": "\n"})
_INVISIBLE: Final = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
"""Invisible characters whose category is that of a letter or a mark: variation selectors, fillers, tags."""
_JOINERS: Final = "\u200c\u200d"  # some scripts and emoji need them, and they cannot carry hidden words


def cleaned(text: str) -> str:
    """The text without control, bidirectional, invisible and unpaired characters; each line ends with one line feed."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_BREAKS)
    return "".join(each for each in _INVISIBLE.sub("", text) if _may_stay(each))


def block(value: object, *, limit: int) -> str:
    """A text of many lines, quoted. After `limit` characters it is cut, and a line says how many are missing."""
    text = cleaned(value if isinstance(value, str) else "" if value is None else _as_json(value)).strip("\n")
    if not text.strip():
        return "> (none)"
    shown = text[:limit]
    lines = [f"> {each}".rstrip() for each in shown.split("\n")]
    return "\n".join([*lines, *([f"(cut: {len(text) - limit} more characters)"] if len(text) > limit else [])])


def line(value: object) -> str:
    """A text on one line, in double quotes. A list becomes its elements, separated by commas."""
    if isinstance(value, list | tuple):
        shown = ", ".join(line(each) for each in value[:_MOST_ON_A_LINE])
        return f"{shown} and {len(value) - _MOST_ON_A_LINE} more" if len(value) > _MOST_ON_A_LINE else shown
    text = " ".join(cleaned(value if isinstance(value, str) else _as_json(value)).split())
    return json.dumps(text if len(text) <= _LINE_LIMIT else text[:_LINE_LIMIT] + " (cut)", ensure_ascii=False)


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _may_stay(character: str) -> bool:
    return character in "\n\t" or character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
