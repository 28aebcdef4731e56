"""What makes the bytes of a town: the pages of each table and index, and what commits change in them."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from shared.images.pages import changed_pages, page_size_of
from shared.storage import patches

FREE = "(free pages)"


@contextmanager
def _opened(image: bytes) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as sql:
        sql.deserialize(image)
        yield sql


def owners(image: bytes) -> dict[int, str]:
    """The table or index to which each page belongs; free pages are left out."""
    with _opened(image) as sql:
        return dict(sql.execute("SELECT pageno, name FROM dbstat ORDER BY pageno"))


@dataclass
class PagesByTable:
    """The pages that a number of commits changed, and their patches in bytes, by table or index."""

    commits: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    patched: Counter[str] = field(default_factory=Counter)

    def add(self, before: bytes, after: bytes) -> None:
        """One more commit."""
        size, of_page = page_size_of(after), owners(after)
        by_owner: dict[str, dict[int, tuple[bytes, bytes]]] = {}
        for number, (old, new) in changed_pages(before, after, size).items():
            if new is not None:
                by_owner.setdefault(of_page.get(number, FREE), {})[number] = (old or b"", new)
        self.commits += 1
        for owner, pages in by_owner.items():
            new_pages = {number: new for number, (_, new) in pages.items()}
            originals = {number: old for number, (old, _) in pages.items()}
            body = patches.encoded(new_pages, originals, pages_below=len(before) // size, size=len(after) // size)
            self.changed[owner] += len(pages)
            self.patched[owner] += len(body)

    def lines(self, image: bytes) -> Iterator[str]:
        """A table of all tables and indexes of the newest image, those first that commits change most."""
        sizes = Counter(owners(image).values())
        size, commits = page_size_of(image), max(self.commits, 1)
        yield f"{'table or index':34} {'KiB':>7} {'pages a commit':>15} {'bytes a commit':>15}"
        for owner in sorted({*sizes, *self.changed}, key=lambda each: (-self.patched[each], each)):
            pages, patched = self.changed[owner] / commits, self.patched[owner] / commits
            yield f"{owner:34} {sizes[owner] * size // 1024:7} {pages:15.1f} {patched:15.0f}"
