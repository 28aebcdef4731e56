"""What every list of beads shows of a bead: its shape and tone, and whether it is on a critical chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.ui import sentences, words
from infra.ui.board import Entry
from infra.ui.views.convoy_view import graph_of_convoy

if TYPE_CHECKING:
    from infra.ui.views.town_view import Town
    from shared.questions.status import TownStatus


def town_chain(town: Town) -> frozenset[str]:
    """The beads on the critical chain of a convoy."""
    found: set[str] = set()
    for convoy in town.view.status.convoys:
        if convoy.state in ("active", "staged"):
            found.update(graph_of_convoy(town.view, convoy.bead_id).chain)
    return frozenset(found)


def shape_of(entry: Entry, status: TownStatus) -> tuple[str, str]:
    """The shape and tone of a bead: of its status, or of why it waits."""
    bead, waiting, agent = entry.bead, entry.waiting, entry.agent
    word = words.bead_word(bead.status)
    if agent is not None and (
        agent.status in ("stalled", "dead") or sentences.is_silent(agent.last_activity_at, status.now)
    ):
        return "attn", "attn"
    if bead.status == "open" and agent is not None:
        return "work", "work"
    if bead.status == "open" and waiting is not None:
        reason = words.reason_word(waiting.reason)
        return reason.shape, "attn" if reason.category == "person" else "fail" if reason.category == "forge" else "wait"
    return word.shape, word.tone
