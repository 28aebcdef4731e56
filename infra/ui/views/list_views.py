"""Beads, agents and reviews, each as one list of the town."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from infra.ui import board, pieces, words
from infra.ui.markup import Html, tag
from infra.ui.shell import figure, page, title_bar
from infra.ui.views import bead_table, rosters

if TYPE_CHECKING:
    from infra.ui.views.town_view import Town

_TYPES: Final = {
    "issue": "Issues",
    "merge_request": "Reviews",
    "convoy": "Convoys",
    "escalation": "Escalations",
    "message": "Messages",
}
_STATUSES: Final = {"live": "Live", **{status: word.text for status, word in words.BEADS.items()}}


def beads_page(town: Town) -> Html:
    """Every bead that the answer has, filtered by status and type."""
    address, view = town.standing.address, town.view
    status, kind = address.query.get("status"), address.query.get("type")
    entries = board.entries_of(view)
    counts = {name: sum(_has(entry.bead.status, name) for entry in entries) for name in _STATUSES}
    shown = [
        entry
        for entry in entries
        if (status is None or _has(entry.bead.status, status)) and (kind is None or entry.bead.type == kind)
    ]
    shown.sort(
        key=lambda entry: (
            entry.bead.status in ("closed", "failed"),
            entry.bead.closed_at is not None,
            -(entry.bead.updated_at or view.at).timestamp(),
        )
    )
    states = [(f"All {len(entries)}", address.with_(status=None), status is None)]
    states += [
        (f"{text} {counts[name]}", address.with_(status=name), status == name)
        for name, text in _STATUSES.items()
        if counts[name]
    ]
    types = [("Every type", address.with_(type=None), kind is None)]
    types += [
        (text, address.with_(type=name), kind == name)
        for name, text in _TYPES.items()
        if any(entry.bead.type == name for entry in entries)
    ]
    tools = tag(
        "div",
        pieces.segments(*states, label="Status"),
        pieces.segments(*types, label="Type"),
        pieces.filter_box("Filter beads", address.query.get("q", "")),
        class_="toolbar",
    )
    none = pieces.no_match(address, hidden=bool(shown))
    note = tag(
        "div",
        "Closed and failed beads: the newest 50 of each. ",
        pieces.copies("List all", f"townctl bead list {view.status.town_id}"),
        class_="more",
    )
    table = tag("section", tools, bead_table.bead_table(town, shown) if shown else None, none, note, class_="card")
    title = title_bar(
        "Beads", f"{words.quantity(len(shown), 'bead')} of {view.status.town_id}", figure(counts["live"], "live")
    )
    return page(town.standing, title, tag("div", table, class_="pad"), title=f"{view.status.town_id} · Beads")


def agents_page(town: Town) -> Html:
    """Every agent."""
    status = town.view.status
    said = f"{words.quantity(len(status.agents), 'agent')} of {status.town_id}, worst first"
    return _roster("Agents", said, rosters.agents_card(town, all_of_them=True), town)


def reviews_page(town: Town) -> Html:
    """Every review that the answer has, open ones first."""
    view = town.view
    ordered = sorted(
        view.reviews,
        key=lambda review: (
            review.status in ("closed", "failed"),
            -(review.closed_at or review.created_at or view.at).timestamp(),
        ),
    )
    said = f"{words.quantity(len(ordered), 'review')} of {view.status.town_id}"
    return _roster("Reviews", said, rosters.reviews_card(town, entries=ordered), town)


def _roster(name: str, said: str, card: Html, town: Town) -> Html:
    """A page with one card and a box that filters its rows."""
    box = pieces.filter_box(f"Filter {name.lower()}", town.standing.address.query.get("q", ""))
    content = tag("div", tag("div", box, class_="toolbar bare"), card, class_="pad")
    return page(town.standing, title_bar(name, said), content, title=f"{town.view.status.town_id} · {name}")


def _has(status: str, wanted: str) -> bool:
    return status == wanted or (wanted == "live" and status in ("open", "in_progress", "in_review"))
