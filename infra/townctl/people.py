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
    from infra.ui.remedies import Remedy
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
_KINDS: Final = frozenset({"operator", "reviewer", "forge", "refinery", "agent", "triage", "container"})
"""Actors that are kinds, not agents or beads with a name: the reason has said it already."""
_NAMED: Final = 2


def when(at: datetime | None, now: datetime) -> str:
    """A time: `3 min ago`, `in 5 min`, or in UTC if it is long ago or --utc asks; `unknown` if it could not be read."""
    if at is None:
        return "unknown"
    if ABSOLUTE.get() or abs(now - at) > _LONG_AGO:
        return to_text(at)
    if at > now:
        return f"in {span(at - now)}"
    return f"{span(now - at)} ago"


def until(waiting: Waiting, now: datetime) -> str:
    """Until when a wait lasts: `in 5 min`, or in UTC with --utc; without a time, until `a person` acts or `an event` comes."""
    if waiting.due_at is not None:
        return when(waiting.due_at, now) if ABSOLUTE.get() or waiting.due_at > now else "due now"
    return "a person" if needs_a_person(waiting) else "an event"


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


def waits_for(waiting: Waiting, town: str, names: Mapping[str, str]) -> Text:
    """Why a bead waits, in one cell: the reason, who can end it, its place in a queue, its root, and the code."""
    reason = words.reason_word(waiting.reason)
    said = f"{reason.text}{_by_whom(waiting, town, names)}"
    if waiting.reason == "blocked_by" and waiting.actor is not None:
        said = f"blocked by {some_of((name_of(each, names) for each in waiting.actor.split(', ')), _NAMED)}"
    place = "" if waiting.queue is None else f", number {waiting.queue.position} of {waiting.queue.length}"
    root = waiting.root
    end = ""
    if root is not None and root.steps > 1:
        why = state(root.status, words.BEADS).plain if root.reason is None else words.reason_word(root.reason).text
        end = f"; at the root {name_of(root.bead_id, names)}: {why}"
    colour = {"person": "yellow", "forge": "red"}.get(reason.category, "")
    text = Text(f"{said}{place}{end}", style=colour)
    return text if text.plain == waiting.reason else text.append(f" ({waiting.reason})", style="dim")


def _by_whom(waiting: Waiting, town: str, names: Mapping[str, str]) -> str:
    """Who can end a wait: what a person can do if only a person can, else the bead or agent that it waits for."""
    if needs_a_person(waiting):
        from infra.ui.remedies import remedies_of

        first = next(iter(remedies_of(waiting, town)), None)
        return "" if first is None else f": {first.who} can {done(first, {**names, waiting.bead_id: 'it'})}"
    actors = [each for each in (waiting.actor or "").split(", ") if each and each not in _KINDS]
    said = {"awaiting_review": " by", "agent_working": ":", "rig_full": ":"}.get(waiting.reason or "")
    named = some_of((name_of(each, names) for each in actors), _NAMED)
    return f"{said} {named}" if said and named else ""


def done(remedy: Remedy, names: Mapping[str, str]) -> str:
    """What a person does, with the name of what it is about."""
    about = "it" if remedy.about is None else name_of(remedy.about, names)
    return remedy.does.replace("{bead}", about)


def name_of(identifier: str, names: Mapping[str, str]) -> str:
    """The name of a bead or an agent, in quotation marks if it is a title; else the beginning of its id."""
    from infra.townctl.output import plain
    from infra.ui.short_ids import short

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
