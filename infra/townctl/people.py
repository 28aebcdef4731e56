"""Times, states and reasons as people read them: `3 min ago`, `waits for a review (awaiting_review)`, in the colour of its meaning.

The words are those of `townctl ui`. Blue is what works now, magenta what is in review, green what is done. Red stands where
something is lost, yellow where a person can help. The colour only repeats the word; a pipe and NO_COLOR lose nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from rich.text import Text

from infra.ui import words
from infra.ui.times import span
from infra.ui.words import AGENTS, BEADS, Tone, Word
from shared.domain.times import to_text

if TYPE_CHECKING:
    from shared.questions.waiting import Waiting

__all__ = ["AGENTS", "BEADS", "CONVOYS", "kind", "name_of", "span", "state", "when"]

ABSOLUTE: Final[ContextVar[bool]] = ContextVar("absolute", default=False)
"""Whether times are shown in UTC, as --utc asks."""

_LONG_AGO: Final = timedelta(days=30)
_COLOURS: Final[Mapping[Tone, str]] = {
    "wait": "",
    "work": "blue",
    "review": "magenta",
    "done": "green",
    "attn": "yellow",
    "fail": "red",
}
CONVOYS: Final[Mapping[str, Word]] = {
    "active": Word("Active", "work", "work"),
    "staged": Word("Not started", "held", "attn"),
    "landed": Word("Landed", "done", "done"),
    "failed": Word("Failed", "fail", "fail"),
}
TYPES: Final[Mapping[str, str]] = {"merge_request": "review"}


def when(at: datetime | None, now: datetime) -> str:
    """A time: `3 min ago`, `in 5 min`, or in UTC if it is long ago or --utc asks; `unknown` if it could not be read."""
    if at is None:
        return "unknown"
    if ABSOLUTE.get() or abs(now - at) > _LONG_AGO:
        return to_text(at)
    if at > now:
        return f"in {span(at - now)}"
    return f"{span(now - at)} ago"


def until(at: datetime, now: datetime) -> str:
    """How long something still takes: ` for 5 min`, ` until ...` with --utc, ` and is due` if it is over."""
    if ABSOLUTE.get():
        return f" until {to_text(at)}"
    return f" for {span(at - now)}" if at > now else ", due now"


def state(status: str, words: Mapping[str, Word]) -> Text:
    """A status as a word in its colour; an unknown one as it is."""
    word = words.get(status, Word(status, "wait", "wait"))
    return Text(word.text.lower(), style="dim" if word.shape == "idle" else _COLOURS[word.tone])


def kind(bead_type: str) -> str:
    """The type of a bead in a word."""
    return TYPES.get(bead_type, bead_type)


def needs_a_person(waiting: Waiting | None) -> bool:
    """Whether somebody can end the wait."""
    return waiting is not None and waiting.reason is not None and words.needs_person(waiting.reason)


def waits_for(waiting: Waiting, now: datetime, names: Mapping[str, str]) -> Text:
    """Why a bead waits, in one cell: the reason, who can end it, for how long, its place in a queue, its root, and the code."""
    reason = words.reason_word(waiting.reason)
    actor = "" if waiting.actor is None or waiting.actor == "operator" else name_of(waiting.actor, names)
    if actor and waiting.reason == "blocked_by":
        said = f"blocked by {actor}"
    else:
        said = f"{reason.text}, {actor} can end it" if actor else reason.text
    due = "" if waiting.due_at is None else until(waiting.due_at, now)
    place = "" if waiting.queue is None else f", number {waiting.queue.position} of {waiting.queue.length}"
    root = waiting.root
    end = ""
    if root is not None and root.steps > 1:
        why = state(root.status, words.BEADS).plain if root.reason is None else words.reason_word(root.reason).text
        end = f"; at the root {name_of(root.bead_id, names)}: {why}"
    colour = {"person": "yellow", "forge": "red"}.get(reason.category, "")
    text = Text(f"{said}{due}{place}{end}", style=colour)
    return text if text.plain == waiting.reason else text.append(f" ({waiting.reason})", style="dim")


def name_of(identifier: str, names: Mapping[str, str]) -> str:
    """The name of a bead or an agent, in quotation marks if it is a title; else the beginning of its id."""
    from infra.townctl.output import plain, short

    name = names.get(identifier)
    return short(identifier) if name is None else plain(name)


def agent_name(identity: str) -> str:
    """The name of an agent, without its role, rig and town."""
    return identity.partition("-")[0] or identity


def some_of(names: Iterable[str], most: int) -> str:
    """The first of these names: `Maple, Toast and 18 more`."""
    found = list(names)
    rest = len(found) - most
    return ", ".join(found[:most]) + (f" and {rest} more" if rest > 0 else "")


def shown_of(shown: int, total: int, noun: str, command: str) -> Text | None:
    """The line below a table that shows only some: `20 of 46 beads; all of them: ...`. None if nothing is missing."""
    return None if shown >= total else Text(f"{shown} of {total} {noun}; all of them: {command}", style="dim")
