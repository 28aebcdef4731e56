"""Pages of long lists. A cursor names the place where the next page starts, and is checked like any other input.

A page ends when it has `limit` entries, when it has read LOOKED_AT_MOST rows and the filter matched few of them, or when its
rows are as long as a Lambda's answer may be. So no request reads the whole history of a town, and none fails because texts are
long; `next` says whether there may be more.
"""

import base64
import json
from collections.abc import Iterable
from typing import Any, Final

from shared.domain import strict_json
from shared.domain.errors import Refused

LOOKED_AT_MOST: Final = 10_000
ROWS_SIZE: Final = 4_500_000
"""The most characters that the rows of one page take, as `carried` counts them. An answer with more around them still fits."""

_LONGEST_CURSOR: Final = 1024
_LARGEST: Final = 2**62


def cursor_of(place: Iterable[str | int]) -> str:
    """The cursor of a place in a list. It has only letters, digits, hyphens and underscores."""
    text = json.dumps(list(place), separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """The place that a cursor names, whose parts have these types. Raises Refused (422)."""
    try:
        if len(cursor) > _LONGEST_CURSOR:
            raise ValueError("too long")
        padded = cursor + "=" * (-len(cursor) % 4)
        place = strict_json.foreign(base64.b64decode(padded, altchars=b"-_", validate=True), limit=_LONGEST_CURSOR)
        if [type(part) for part in place] != list(kinds) or cursor_of(place) != cursor:
            raise ValueError("another list's cursor")
        if not all(0 <= part <= _LARGEST for part in place if isinstance(part, int)):
            raise ValueError("no number of a database")
    except (ValueError, TypeError):
        raise Refused(
            "the cursor does not belong to this list",
            status=422,
            path="cursor",
            hint="send the `next` of the previous page unchanged, or omit the cursor for the first page",
        ) from None
    return tuple(place)


def carried(text: str) -> int:
    """The length of a JSON text inside a Lambda's result. The result is JSON that contains the text, so quotes are escaped again.

    A Lambda may return 6 MB of it.
    """
    return len(text) + text.count('"') + text.count("\\")
