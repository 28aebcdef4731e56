"""The town of a command about one bead or agent, where the command line leaves it out or names it last.

`townctl bead show door` is enough where only one town has a bead `door`. Commands of which the town is the last argument take it as
the first one too, if that can be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from shared.domain.errors import Refused, TownError

if TYPE_CHECKING:
    from infra.townctl.place import Place, Subject

_TOWNS_LOOKED_AT: Final = 100
"""So many towns are looked at to find an id."""
_BEAD: Final[tuple[Subject, ...]] = ("bead",)
_AGENT: Final[tuple[Subject, ...]] = ("agent",)
ABOUT_ONE: Final[Mapping[str, tuple[Subject, ...]]] = {
    "bead show": _BEAD,
    "bead update": _BEAD,
    "bead cancel": _BEAD,
    "bead reopen": _BEAD,
    "bead delete": _BEAD,
    "convoy start": _BEAD,
    "convoy close": _BEAD,
    "convoy edit": _BEAD,
    "escalation acknowledge": _BEAD,
    "agent reset": _AGENT,
    "agent nudge": _AGENT,
}
"""The commands whose first arguments are a town and one of its beads or agents."""


def with_the_town(place: Place, command: str, arguments: Sequence[str]) -> list[str] | None:
    """The arguments of a command in ABOUT_ONE from which only the town is missing, with it; None if something else is missing.

    Raises Refused if it is unclear which town is meant.
    """
    if not arguments or arguments[0].startswith("-") or arguments[0] in place.town_ids():
        return None
    return [the_town(place, arguments[0], ABOUT_ONE[command]), *arguments]


def in_order(place: Place, word: str, town_id: str | None, kinds: Sequence[Subject]) -> tuple[str, str]:
    """A bead or agent and its town, from a word and a town that may be missing, or may stand before the word. Raises Refused."""
    if town_id is None:
        return word, the_town(place, word, kinds)
    if not _is_town(place, town_id) and _is_town(place, word):
        return town_id, word
    return word, town_id


def the_town(place: Place, word: str, kinds: Sequence[Subject]) -> str:
    """The town of a bead or an agent: the only town, or the only one that has it. Raises Refused."""
    towns = place.town_ids()
    if len(towns) == 1:
        return towns[0]
    looked_at = towns if len(towns) <= _TOWNS_LOOKED_AT else ()
    found = [town for town in looked_at if any(place.meant(town, kind, word, limit=1) for kind in kinds)]
    if len(found) == 1:
        return found[0]
    if found:
        hint = f"name one of them: {', '.join(found[:10])}"
        raise Refused(f"{len(found)} towns have {word}", status=400, path="town", hint=hint)
    known = ", ".join(towns[:10]) or "none"
    problem = f"no town here has {word}" if looked_at else "the town is required, because there is not exactly one"
    raise Refused(problem, status=404 if looked_at else 400, path="town", hint=f"the towns are: {known}")


def _is_town(place: Place, town_id: str) -> bool:
    try:
        place.require(town_id)
    except TownError:
        return False
    return True
