"""Ids as people see them: a UUID by its first part, any other id whole, because people chose it."""

import re
from typing import Final

_UUID: Final = re.compile(r"\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


def short(identifier: str | None) -> str:
    """An id as pages and tables show it; empty if there is none."""
    found = _UUID.fullmatch(identifier or "")
    return (identifier or "") if found is None else found[1]


def shortened(text: str) -> str:
    """A text with every UUID in it as `short` shows it."""
    return _UUID.sub(r"\1", text)
