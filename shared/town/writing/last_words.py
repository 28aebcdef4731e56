"""The last words of an agent: why its process ended, in its own words, for the next agent of its bead (spec/data-model.md 3.20)."""

from typing import Final

from shared.domain.notes import BeadNotes
from shared.town import lookup
from shared.town.rows import Agent
from shared.town.town import Town
from shared.town.writing import beads

_ONLY_HOW: Final = (
    "completed",
    "container eviction",
    "could not be started",
    "crashed",
    "ended",
    "exit code",
    "idle:",
    "killed",
    "stopped",
)
"""How reasons begin that runtimes give. They say only how the process ended, which helps no other agent."""
_LONGEST: Final = 1_000
_SHORTEST: Final = 8
"""A reason with fewer characters is a code or a signal."""


def keep(town: Town, agent: Agent, reason: str | None, *, generation: int | None) -> None:
    """Keep the agent's last words for the next agent of the bead that it was working on."""
    if reason is None or not _helps(reason):
        return
    bead = lookup.bead(town, agent.hook)
    if bead is None or not bead.live:
        return
    words = {"text": reason[:_LONGEST], "at": town.tick.now_text, "by": agent.id}
    numbered = words if generation is None else {**words, "generation": generation}
    beads.note(town, bead.id, BeadNotes.last_words.to(numbered))


def forget(town: Town, bead_id: str | None) -> None:
    """The bead's work is done, so what kept an earlier agent from doing it is over."""
    bead = lookup.bead(town, bead_id)
    if bead is not None and BeadNotes.last_words.is_in(bead.metadata):
        beads.note(town, bead.id, BeadNotes.last_words.gone)


def _helps(reason: str) -> bool:
    said = reason.strip()
    return len(said) >= _SHORTEST and not said.lower().startswith(_ONLY_HOW) and "(exit code " not in said
