r"""How words of strangers stand in a prompt: cleaned, cut, and marked so that they cannot pretend to be ours.

A `block` has "> " before every line; whatever the text holds, no line of it can begin otherwise. A `line` is one JSON
string in double quotes, or a list of them. Both are without control characters (a line break and a tab may stay in a
block), without the characters that turn the direction of text around and without invisible ones that carry hidden words.
"""

import json
import re
import unicodedata
from typing import Any, Final

_LINE_LIMIT: Final = 500
_MOST_ON_A_LINE: Final = 20
_BREAKS: Final = str.maketrans({"\u2028": "\n", "\u2029": "\n", "\x85": "\n", "\x0b": "\n", "\x0c": "\n"})
_INVISIBLE: Final = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)
"""What no font shows although its category is that of a letter or a mark: variation selectors, fillers, tags."""
_JOINERS: Final = "\u200c\u200d"  # scripts and emoji need them; they hide nothing


def cleaned(text: str) -> str:
    """The text without control, bidirectional, invisible and unpaired characters; each line ends with one line feed."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_BREAKS)
    return "".join(each for each in _INVISIBLE.sub("", text) if _may_stay(each))


def block(value: Any, *, limit: int) -> str:
    """Many lines, quoted; at most `limit` characters of it, and then a line that says how many are missing."""
    text = cleaned(value if isinstance(value, str) else "" if value is None else _as_json(value)).strip("\n")
    if not text.strip():
        return "> (none)"
    shown = text[:limit]
    lines = [f"> {each}".rstrip() for each in shown.split("\n")]
    return "\n".join([*lines, *([f"(cut: {len(text) - limit} more characters)"] if len(text) > limit else [])])


def line(value: Any) -> str:
    """One line, in double quotes; a list is its elements with commas between them."""
    if isinstance(value, list | tuple):
        shown = ", ".join(line(each) for each in value[:_MOST_ON_A_LINE])
        return f"{shown} and {len(value) - _MOST_ON_A_LINE} more" if len(value) > _MOST_ON_A_LINE else shown
    text = " ".join(cleaned(value if isinstance(value, str) else _as_json(value)).split())
    return json.dumps(text if len(text) <= _LINE_LIMIT else text[:_LINE_LIMIT] + " (cut)", ensure_ascii=False)


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _may_stay(character: str) -> bool:
    return character in "\n\t" or character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
