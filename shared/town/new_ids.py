"""New ids that no row has: producers choose ids too, and the derived ids of coming ticks can be foreseen (spec/data-model.md)."""

from collections.abc import Sequence
from typing import Final

from shared.domain import ids
from shared.town import lookup
from shared.town.town import Town

_FIRST_LOOK: Final = 8
_LONGEST_LOOK: Final = 512


def for_bead(town: Town) -> str:
    """The next id of this tick that no bead has.

    Whoever takes a thousand of a tick's ids costs it a few statements, because each look covers eight times as many ids.
    """
    made = town.tick.ids.new()
    look = _FIRST_LOOK
    while lookup.exists(town, made):
        candidates = town.tick.ids.ahead(look)
        taken = lookup.existing(town.sql, candidates)
        free = next((number for number, candidate in enumerate(candidates) if candidate not in taken), look - 1)
        made = candidates[free]
        town.tick.ids.used += free + 1
        look = min(look * 8, _LONGEST_LOOK)
    return made


def derived(town: Town, texts: Sequence[str]) -> list[str]:
    """The ids of beads that are derived from texts. An id that a bead has is passed over: `:1`, `:2`, ... is added to its text."""
    made = [ids.derived_from(town.tick.town_id, text) for text in texts]
    passed = 0
    while taken := lookup.existing(town.sql, made):
        passed += 1
        made = [
            ids.derived_from(town.tick.town_id, f"{text}:{passed}") if bead_id in taken else bead_id
            for text, bead_id in zip(texts, made, strict=True)
        ]
    return made
