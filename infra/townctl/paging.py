"""What lists and questions about one thing have in common: limits, cursors, and the id that a word means."""

from collections.abc import Iterator
from typing import Annotated, Final

from cyclopts import Parameter
from rich.text import Text

from infra.townctl.place import Place, Subject
from shared.domain.errors import Refused
from shared.questions.filters import LIMIT_AT_MOST

LONGEST_ID: Final = 64
LONGEST_TEXT: Final = 256
"""Characters of a label, or of a text that is looked for."""

_MEANT: Final = 5

LimitOption = Annotated[int, Parameter(help=f"How many, 1 to {LIMIT_AT_MOST}.")]
CursorOption = Annotated[
    str | None, Parameter(help="Continue where the last answer ended; give the same filters again.")
]


def more(cursor: str | None) -> Iterator[Text]:
    """The line that says how to get the next page, if there is one."""
    if cursor is not None:
        yield Text(f"there are more; to continue, add --cursor {cursor}")


def require_filter(name: str, value: str | None, *, at_most: int) -> None:
    """Check a text that a list is filtered by. Raises Refused."""
    if value is not None and not 1 <= len(value) <= at_most:
        problem = f"--{name} must have 1 to {at_most} characters, not {len(value)}"
        raise Refused(problem, status=400, path=name, hint=f"leave --{name} out for all of them")


def the_one(place: Place, town_id: str, kind: Subject, word: str) -> str:
    """The id that a word means; the word itself if it matches nothing in the current town. Raises Refused if it is ambiguous."""
    if not 1 <= len(word) <= LONGEST_ID:
        problem = f"the id of the {kind} must have 1 to {LONGEST_ID} characters, not {len(word)}"
        raise Refused(problem, status=400, path=kind, hint=f"`townctl {kind} list {town_id}` shows the ids")
    ids = place.meant(town_id, kind, word, limit=_MEANT)
    if len(ids) > 1:
        others = " and others" if len(ids) == _MEANT else ""
        problem = f"{word} is ambiguous in town {town_id}: {', '.join(ids)}{others}"
        raise Refused(problem, status=400, path=kind, hint=f"give more characters of the id of the {kind}")
    return ids[0] if ids else word
