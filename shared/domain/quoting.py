r"""Quoting what others wrote, wherever a model reads it: in prompts, mail, nudges, questions and messages to the mayor.

A `block` has "> " before every line; no content of the text can make a line begin differently, so it has one beginning and one end.
A `line` is one JSON string in double quotes, or a list of them. A `name` is an id or an address: as it is if it is plain, else a
`line`. None contains control characters (except line breaks and tabs in a block), escape sequences of terminals, characters that
change the direction of text, or invisible characters that could hide words.
"""

import json
import re
from typing import Final

LETTER_LIMIT: Final = 32_768
"""The most characters of a text in a message."""
_LINE_LIMIT: Final = 500
_MOST_ON_A_LINE: Final = 20
_BREAKS: Final = str.maketrans({"\u2028": "\n", "\u2029": "\n", "\x85": "\n", "\x0b": "\n", "\x0c": "\n"})
_UNSEEN: Final = re.compile(
    r"["
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b\u200e-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    r"]"
)
"""Unicode's categories Cc, Cf and Cs, and the characters that no font shows although they count as letters, marks or symbols:
variation selectors, fillers, the empty braille pattern, tags. A fixed list, so that ticks do not depend on a version of Unicode.
"""
_JOINERS: Final = re.compile(
    r"(?<=[^\x00-\x7f\u200c\u200d])([\u200c\u200d])[\u200c\u200d]*(?=[^\x00-\x7f\u200c\u200d])|[\u200c\u200d]+"
)
"""Joiners. Some scripts and emoji need one between two of their characters, which is kept; any other could hide words."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:/@~+#?=&%-]{1,200}")


def cleaned(text: str) -> str:
    """The text without control, bidirectional, invisible and surrogate characters, and with line feeds as line breaks."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_BREAKS)
    return _JOINERS.sub(lambda found: found[1] or "", _UNSEEN.sub("", text))


def block(value: object, *, limit: int = LETTER_LIMIT) -> str:
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


def name(value: str) -> str:
    """An id, a branch or an address in the midst of our own words: as it is if it is one plain word, else as a `line`."""
    return value if _PLAIN.fullmatch(value) else line(value)


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
