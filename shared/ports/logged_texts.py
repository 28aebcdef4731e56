"""What is kept of an agent's log: its newest part, without secrets.

A log is masked in pieces of a few thousand characters, because `masked` reads no more at a time. A piece ends with a line, or in a
very long line where no secret can be: at a blank, a quotation mark or a comma. So no secret is cut in two, except one that is
broken over lines exactly where a piece ends; a private key may have any number of lines and is removed before. `masked` removes a
text as a whole if it hides a secret in another form. Of a log, only the lines that do so are removed.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from shared.domain.secret_texts import REMOVED, masked

MOST_SENT: Final = 1 << 20
"""The longest log that may be sent, in bytes of UTF-8."""
MOST_KEPT: Final = 256 << 10
"""The newest part that is kept, in bytes of UTF-8."""
_PIECE: Final = 4_000
_MARGIN: Final = 16 << 10
_LOOKED_INTO: Final = 16
_WHOLE: Final = f"{REMOVED} ("
_KEY_BEGINS: Final = "-----BEGIN "
_KEY_ENDS: Final = "-----END "
_LONGEST_KEY: Final = 16 << 10
_WORD: Final = re.compile(r"""[^\s"',;]*[\s"',;]*""")
_SEAM: Final = 300
_MOST_OF_A_WORD: Final = _PIECE // 2


def newest_part(text: str) -> tuple[str, bool]:
    """The end of a log with its secrets masked, and whether its beginning is missing.

    The cut is at the beginning of a line, unless the last line alone is too long. More than is kept is masked, because the end of
    a secret alone may not look like one.
    """
    end, was_cut = _end(text, MOST_KEPT + _MARGIN)
    kept, is_cut = _end("".join(_shown(_pieces(_without_keys(end)))), MOST_KEPT)
    return kept, was_cut or is_cut


def last_lines(text: str, most: int) -> tuple[str, ...]:
    """The last lines that are not blank."""
    return tuple(line for line in text.splitlines() if line.strip())[-most:]


def _end(text: str, size: int) -> tuple[str, bool]:
    content = text.encode(errors="replace")
    if len(content) <= size:
        return content.decode(), False
    end = content[-size:]
    if content[-size - 1 : -size] != b"\n" and b"\n" in end[:-1]:
        end = end.partition(b"\n")[2]
    return end.decode(errors="ignore"), True


def _without_keys(text: str) -> str:
    """The text without private keys and certificates. One that does not end is removed as far as a long one would go."""
    kept, at = [], 0
    while (begins := text.find(_KEY_BEGINS, at)) >= 0:
        ends = text.find(_KEY_ENDS, begins, begins + _LONGEST_KEY)
        last = text.find("\n", ends) if ends >= 0 else begins + _LONGEST_KEY
        kept += [text[at:begins], REMOVED]
        at = last if last >= 0 else len(text)
    return "".join([*kept, text[at:]])


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces of at most `_PIECE` characters; a run of that many without a blank or quotation mark is only counted."""
    piece = ""
    for line in text.splitlines(keepends=True):
        for part in [line] if len(line) <= _PIECE else _words(line):
            if len(piece) + len(part) > _PIECE:
                yield piece
                piece = ""
            piece += part
    yield piece


def _words(line: str) -> Iterator[str]:
    for word in _WORD.findall(line):
        yield word if len(word) <= _MOST_OF_A_WORD else f"({len(word)} characters without a blank) "


def _shown(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces without their secrets. Looking at the lines of a piece that hides one takes long: of many such nothing is kept."""
    left, before = _LOOKED_INTO, ""
    for piece in pieces:
        seen, before = _without_seam(before, piece), piece
        shown = masked(seen)
        if shown.startswith(_WHOLE):
            shown = _without_hiding_lines(seen) if left > 0 else f"{shown}\n"
            left -= 1
        yield shown


def _without_seam(before: str, piece: str) -> str:
    """A piece without its beginning if that is a secret only together with the piece before, as in `password is` and the word."""
    if not before or before.endswith("\n"):
        return piece
    left, right = before[-_SEAM:], piece[:_SEAM]
    if masked(left + right) == masked(left) + masked(right):
        return piece
    ends = _WORD.match(piece, _SEAM)
    return f"{REMOVED} {piece[ends.end() if ends else len(piece) :]}"


def _without_hiding_lines(piece: str) -> str:
    """A piece without the lines that hide a secret alone, and without the pairs of lines over which one is broken.

    Nothing of the piece is kept if the rest still hides one.
    """
    lines = piece.splitlines(keepends=True)
    hiding = {at for at, line in enumerate(lines) if _hides(line)}
    for at in range(len(lines) - 1):
        if not hiding & {at, at + 1} and _hides(lines[at] + lines[at + 1]):
            hiding |= {at, at + 1}
    shown = "".join(f"{REMOVED}\n" if at in hiding else masked(line) for at, line in enumerate(lines))
    return shown if not _hides(shown) else f"{REMOVED} ({len(piece)} characters)\n"


def _hides(text: str) -> bool:
    return masked(text).startswith(_WHOLE)
