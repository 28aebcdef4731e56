r"""Quoting untrusted text in a prompt: cleaned, truncated, and marked so that it cannot be taken for our own text.

A `block` has "> " before every line; no content of the text can make a line begin differently. A `line` is one JSON string in
double quotes, or a list of them. Neither contains control characters (except line breaks and tabs in a block), characters that
change the direction of text, or invisible characters that could hide words.
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
"""Characters that no font shows although Unicode counts them as letters or marks: variation selectors, fillers, tags."""
_JOINERS: Final = "\u200c\u200d"  # some scripts and emoji need them, and they cannot hide text


def cleaned(text: str) -> str:
    """The text without control, bidirectional, invisible and surrogate characters, and with line feeds as line breaks."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_BREAKS)
    return "".join(each for each in _INVISIBLE.sub("", text) if _may_stay(each))


def block(value: object, *, limit: int) -> str:
    """The first `limit` characters as quoted lines, followed by a line that says how many characters were cut."""
    text = cleaned(value if isinstance(value, str) else "" if value is None else _as_json(value)).strip("\n")
    if not text.strip():
        return "> (none)"
    shown = text[:limit]
    lines = [f"> {each}".rstrip() for each in shown.split("\n")]
    return "\n".join([*lines, *([f"(cut: {len(text) - limit} more characters)"] if len(text) > limit else [])])


def line(value: object) -> str:
    """The value as one line in double quotes; a list as its elements, separated by commas."""
    if isinstance(value, list | tuple):
        shown = ", ".join(line(each) for each in value[:_MOST_ON_A_LINE])
        return f"{shown} and {len(value) - _MOST_ON_A_LINE} more" if len(value) > _MOST_ON_A_LINE else shown
    text = " ".join(cleaned(value if isinstance(value, str) else _as_json(value)).split())
    return json.dumps(text if len(text) <= _LINE_LIMIT else text[:_LINE_LIMIT] + " (cut)", ensure_ascii=False)


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _may_stay(character: str) -> bool:
    return character in "\n\t" or character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
