"""A table for people: one row is one line, whatever the terminal's width, and no word is broken.

The first columns matter most. On a narrow terminal long texts are cut at a word, and if that is not enough, the last columns are
left out; a line below names them. A column in which every cell is empty is left out without a word.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_GAP: Final = 2
_LEAST_TEXT: Final = 16
"""The smallest width of a column of long texts."""
_LONGEST_WORD: Final = 24
"""A single word that is longer than this may be cut: an address, a digest."""
_CUT: Final = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True, slots=True)
class Rows:
    """A table with a line of headings. It is laid out when it is printed, for the width that there is then."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    title: str | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out for this width."""
        used = [at for at in range(len(self.columns)) if any(row[at].plain for row in self.rows)]
        widths, left_out = self._fitted(used, options.max_width)
        if self.title is not None:
            yield _line(Text(self.title, style="bold"))
        heads = [Text(self.columns[at]) for at in widths]
        if any(head.plain for head in heads):
            yield _line(_joined(heads, list(widths.values())), style="dim")
            yield _line(Text(_rule(widths), style="dim"))
        for row in self.rows:
            yield _line(_joined([row[at] for at in widths], list(widths.values())))
        if left_out:
            names = ", ".join(self.columns[at] for at in left_out if self.columns[at])
            yield _line(Text(f"not shown at this width: {names}", style="dim"))

    def _fitted(self, used: Sequence[int], room: int) -> tuple[dict[int, int], list[int]]:
        """The width of each column that has room, and the columns that are left out."""
        natural = {at: max(cell_len(self.columns[at]), *(row[at].cell_len for row in self.rows)) for at in used}
        least = {at: self._least(at, natural[at]) for at in used}
        kept = list(used)
        left_out: list[int] = []
        while len(kept) > 1 and _needed(least[at] for at in kept) > room:
            left_out.insert(0, kept.pop())
        spare = max(0, room - _needed(least[at] for at in kept))
        widths = {at: least[at] for at in kept}
        wanting = sorted(kept, key=lambda each: natural[each] - least[each])
        for number, at in enumerate(wanting):  # those that want least get all of it, the others share the rest
            more = min(natural[at] - widths[at], spare // (len(wanting) - number))
            widths[at], spare = widths[at] + more, spare - more
        return widths, left_out

    def _least(self, at: int, natural: int) -> int:
        """How narrow a column may become: words and short cells stay whole, texts may be cut."""
        has_texts = any(" " in row[at].plain for row in self.rows)
        most = _LEAST_TEXT if has_texts else _LONGEST_WORD
        return max(min(natural, most), cell_len(self.columns[at]))


def cut(text: Text, width: int) -> Text:
    """A text that fits into this width, cut at a word if it is too long; a word is cut only if it fills the line by itself."""
    if text.cell_len <= width:
        return text
    whole = set_cell_size(text.plain, max(0, width - 1))
    at_word = whole.rstrip() if text.plain[len(whole) : len(whole) + 1] == " " else whole.rpartition(" ")[0].rstrip()
    shorter = text[: len(at_word or whole.rstrip())]
    shorter.append(_CUT)
    return shorter


def _joined(cells: Iterable[Text], widths: Sequence[int]) -> Text:
    line = Text()
    for cell, width in zip(cells, widths, strict=True):
        shown = cut(cell, width)
        line.append_text(shown)
        line.append(" " * (width - shown.cell_len + _GAP))
    line.rstrip()
    return line


def _rule(widths: dict[int, int]) -> str:
    return "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * _needed(widths.values())


def _needed(widths: Iterable[int]) -> int:
    found = list(widths)
    return sum(found) + _GAP * max(0, len(found) - 1)


def _line(text: Text, *, style: str = "") -> Text:
    text.no_wrap, text.overflow = True, "crop"
    if style:
        text.stylize(style)
    return text
