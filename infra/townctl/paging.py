"""Limits, cursors and tables of lists, and the id that a word stands for."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.text import Text

from infra.townctl.output import Answer, table
from infra.townctl.people import span
from infra.townctl.place import Place, Subject
from shared.adapters.clock import SystemClock
from shared.domain.errors import Refused
from shared.questions.filters import LIMIT_AT_MOST

LONGEST_ID: Final = 64
LONGEST_TEXT: Final = 256
"""Characters of a label, or of a text to search for."""

_MEANT: Final = 5
_AHEAD: Final = timedelta(seconds=5)

LimitOption = Annotated[int, Parameter(help=f"The maximum number of entries, 1 to {LIMIT_AT_MOST}.")]
CursorOption = Annotated[
    str | None,
    Parameter(help="Continue where the last answer ended: the cursor that it named. Give the same filters again."),
]


def listed(
    found: Any,
    *columns: str,
    rows: Sequence[tuple[object, ...]],
    none: str,
    now: datetime | None = None,
    after: str | None = None,
    total: int | None = None,
) -> Answer:
    """A list as a table, or the sentence `none`; then how many of `total` these are, if they are not all.

    `now` is the present time of its times. The last line is for the next page, which begins `after` a cursor.
    """
    shown = table(*columns, rows=rows) if rows else Text(none)
    note = () if now is None or not rows else own_clock_note(now)
    return Answer(found, (shown, *note, *more(after, shown=len(rows), total=total)))


def present(place: Place, town_id: str) -> datetime:
    """The present time for what is in a town: that of its own clock if it is ahead, else that of this machine."""
    return max(place.now(town_id), SystemClock().now())


def ahead_of_this_machine(now: datetime) -> timedelta | None:
    """How far the present time of a town is ahead of this machine's; None if it is not."""
    ahead = now - SystemClock().now()
    return ahead if ahead > _AHEAD else None


def own_clock_note(now: datetime) -> Iterator[Text]:
    """What is said once of an answer whose times are those of a town's own clock, if it is ahead of this machine."""
    ahead = ahead_of_this_machine(now)
    if ahead is not None:
        yield Text(f"times are those of the town's own clock, {span(ahead)} ahead of this machine", style="dim")


def more(cursor: str | None, *, shown: int = 0, total: int | None = None) -> Iterator[Text]:
    """The line that says how to get the next page, if there is one."""
    if cursor is not None:
        counts = "there may be more" if total is None or total <= shown else f"{shown:,} of {total:,}"
        yield Text(f"{counts}; to continue, add --cursor {cursor}")


def require_filter(name: str, value: str | None, *, at_most: int) -> None:
    """Check the text of a filter. Raises Refused."""
    if value is not None and not 1 <= len(value) <= at_most:
        problem = f"--{name} must have 1 to {at_most} characters, not {len(value)}"
        raise Refused(problem, status=400, path=name, hint=f"omit --{name} to list everything")


def the_one(place: Place, town_id: str, kind: Subject, word: str) -> str:
    """The id that a word stands for: an id, a prefix of one, the name of an agent, or the title of a bead.

    The word itself if it matches nothing in the town, for it may be in its past. Raises Refused if it is ambiguous.
    """
    longest = LONGEST_TEXT if " " in word else LONGEST_ID  # a title has blanks
    if not 1 <= len(word) <= longest:
        problem = f"the id of the {kind} must have 1 to {longest} characters, not {len(word)}"
        raise Refused(problem, status=400, path=kind, hint=f"`townctl {kind} list {town_id}` shows the ids")
    ids = place.meant(town_id, kind, word, limit=_MEANT)
    if len(ids) > 1:
        others = " and others" if len(ids) == _MEANT else ""
        problem = f"{word} is ambiguous in town {town_id}: {', '.join(ids)}{others}"
        raise Refused(problem, status=400, path=kind, hint=f"give more characters of the id of the {kind}")
    return ids[0] if ids else word
