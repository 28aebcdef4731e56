"""Beads as rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from infra.ui import pieces, sentences, words
from infra.ui.board import Entry
from infra.ui.markup import Child, Html, joined, tag
from infra.ui.views.bead_marks import shape_of, town_chain

if TYPE_CHECKING:
    from infra.ui.names import Names
    from infra.ui.views.town_view import Town
    from shared.questions.status import TownStatus


def bead_table(town: Town, entries: Iterable[Entry], *, limit: int = 400) -> Html:
    """Beads as rows: what each is, why it waits, since when, until when, and who can help."""
    names, status = town.names, town.view.status
    chain = town_chain(town)
    rows = list(entries)
    header = pieces.table_head("Bead", "State", "Why", "Since", "Until", "Who can help")
    body = tag("tbody", *(_table_row(entry, names, status, chain) for entry in rows[:limit]))
    more = (
        tag("div", f"{limit} of {len(rows):,}. Filter by convoy, or use townctl bead list.", class_="more")
        if len(rows) > limit
        else None
    )
    return joined(tag("table", header, body, class_="grid"), more)


def _table_row(entry: Entry, names: Names, status: TownStatus, chain: frozenset[str]) -> Html:
    bead, waiting = entry.bead, entry.waiting
    shape, tone = shape_of(entry, status)
    word = words.bead_word(bead.status)
    why: Child = "" if waiting is None else sentences.why(waiting, names)
    if entry.agent is not None:
        why = joined(
            names.link(entry.agent.agent_id), f" · “{entry.agent.says}”" if entry.agent.says else " works on it"
        )
    failure = next((each for each in status.failed if each.bead_id == bead.bead_id), None)
    if failure is not None:
        why = names.linked(failure.message or failure.reason or "")
    help_ = None if waiting is None else sentences.who_can_help(waiting, names)
    return tag(
        "tr",
        tag(
            "td",
            names.link(bead.bead_id),
            joined(" ", pieces.critical()) if bead.bead_id in chain else None,
            class_="first wide",
        ),
        tag("td", tag("span", pieces.shape(shape, tone), word.text, class_="state"), class_="nowrap"),
        tag("td", why, class_="sub wide"),
        tag("td", pieces.age(entry.since, status.now), class_="nowrap"),
        tag(
            "td",
            pieces.countdown(waiting.due_at, status.now) if waiting is not None and waiting.due_at else "",
            class_="nowrap",
        ),
        tag("td", help_ or "", class_="nowrap"),
        data_row=f"{bead.title} {bead.bead_id} {' '.join(bead.labels)}",
        data_key=bead.bead_id,
    )
