"""What an entry of a story says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from infra.ui import sentences, words
from infra.ui.markup import Html, joined

if TYPE_CHECKING:
    from infra.ui.names import Names
    from shared.questions.story import StoryEntry


def told_sentence(entry: StoryEntry, subject: str, names: Names) -> Html:
    """What an entry of a story says, with names."""
    named = [each.strip(":,") for each in entry.what.split(" ")]
    agent = next((each for each in named if each in names.agents), subject if subject in names.agents else None)
    bead = next(
        (each for each in named if each in names.titles and each not in names.agents),
        None if subject in names.agents else subject,
    )
    word = named[0]
    change = ""
    if " -> " in entry.what:
        before, _, after = entry.what.rpartition(": ")[2].partition(" -> ")
        change = f"{words.STATUS.get(before, before)} → {words.STATUS.get(after.split(' ')[0], after)}"
    table: Mapping[str, str] = {"rule": words.ACTIONS, "event": words.EVENTS, "effect": words.EFFECTS}.get(entry.by, {})
    if word in table:
        attempt = entry.what.partition(", attempt ")[2]
        again = f", try {attempt}" if attempt not in ("", "1") else ""
        return joined(sentences.filled(table[word], names, bead=bead, agent=agent, change=change), again)
    if entry.by == "observed":
        return joined(
            "The process of ",
            names.link(agent) if agent else "the agent",
            f" has ended: {entry.reason or 'without a reason'}",
        )
    if word == "created":
        return joined("Filed")
    text = entry.what.replace("_", " ", 1) if "_" in word else entry.what
    return names.linked(text[:1].upper() + text[1:])
