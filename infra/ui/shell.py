"""What is around every view: the header with tabs, find and the time that is shown, the overlays, and the bar of a small screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from infra.ui import pieces, times
from infra.ui.address import Address
from infra.ui.markup import Child, Html, joined, tag

TABS: Final = (
    ("town", "Town"),
    ("timeline", "Timeline"),
    ("machine", "Time machine"),
    ("beads", "Beads"),
    ("agents", "Agents"),
    ("reviews", "Reviews"),
    ("settings", "Settings"),
)
_TAB_OF: Final = {"bead": "beads", "agent": "agents"}
KEYS: Final = (
    ("/", "find a bead, an agent, a setting, a tick, a town"),
    ("g then f t l m b a r s", "fleet, town, timeline, time machine, beads, agents, reviews, settings"),
    ("j k", "next and previous row; Enter opens it, Esc closes"),
    ("f", "filter"),
    ("v", "board or list"),
    ("[ ]", "the tick or commit before, after; { } only those that did something"),
    ("+ - ← → 0", "zoom, pan, everything"),
    ("Space", "play the time machine"),
    ("@", "go to a time"),
    ("L", "back to live"),
    ("y, c", "copy the link, copy the command"),
    ("d, ?", "theme, these keys"),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What the header says: the time that is shown, and the commit and tick that it is."""

    address: Address
    writes: bool
    now: datetime | None = None
    tick: int | None = None
    tick_at: datetime | None = None
    commit: int | None = None
    is_past: bool = False
    said: str = ""
    every_ms: int = 2000
    towns: Sequence[str] = ()


def page(standing: Standing, *content: Child, title: str, drawer: Child = None) -> Html:
    """The whole page."""
    address = standing.address
    return tag(
        "div",
        tag("a", "Skip to the content", href="#view", class_="skip"),
        _header(standing),
        tag("main", *content, id="view", tabindex="-1"),
        drawer,
        _places(address),
        _overlays(),
        tag("div", id="toast", class_="toast", role="status", data_own=True),
        id="page",
        data_view=address.view,
        data_town=address.town or None,
        data_title=title,
        data_now=None if standing.now is None else pieces.milliseconds(standing.now),
        data_past="1" if standing.is_past else None,
        data_every=standing.every_ms,
    )


def title_bar(title: Child, sentence: Child, *figures: Child) -> Html:
    """The title, one sentence that names what needs somebody, and figures."""
    return tag(
        "div",
        tag("h1", title),
        tag("p", sentence, class_="lead"),
        tag("div", *(tag("span", each) for each in figures), class_="figures") if figures else None,
        class_="titlebar",
    )


def figure(number: Child, what: str) -> Html:
    """A number with what it counts."""
    return joined(tag("b", number), f" {what}")


def banner(text: Child, tone: str = "attn") -> Html:
    """One line under the title about the whole town."""
    return tag(
        "div",
        pieces.shape("fail" if tone == "fail" else "attn" if tone == "attn" else "time", tone),
        tag("span", text),
        class_=f"banner {tone}",
    )


def _header(standing: Standing) -> Html:
    address = standing.address
    crumb: list[Child] = [
        pieces.link(Address(), pieces.shape("fleet", "plain"), "Fleet")
        if address.town
        else joined(pieces.shape("fleet", "plain"), tag("b", "Fleet"))
    ]
    if address.town:
        crumb += ["/", tag("b", address.town)]
    return tag(
        "header",
        tag("div", *crumb, class_="crumb"),
        _tabs(address) if address.town else None,
        tag("span", class_="grow"),
        tag(
            "button",
            pieces.shape("find", "ink"),
            tag("span", "Find bead, agent, tick"),
            tag("kbd", "/"),
            type="button",
            class_="find",
            data_key_press="/",
        ),
        _mode(standing),
        _as_of(standing),
        _for_a_key("d", "theme", "Light or dark", class_="iconbutton"),
        _for_a_key("?", "help", "Keys", class_="iconbutton keys"),
        class_="top past" if standing.is_past else "top",
    )


def _for_a_key(key: str, shape: str, label: str, *, class_: str) -> Html:
    """A button that does what a key does."""
    shown = pieces.shape(shape, "ink", label)
    return tag("button", shown, type="button", class_=class_, data_key_press=key, title=f"{label} ({key})")


def _tabs(address: Address) -> Html:
    chosen = _TAB_OF.get(address.view, address.view)
    links = (
        pieces.link(address.to(view), text, aria_current="page" if view == chosen else None) for view, text in TABS
    )
    return tag("nav", *links, class_="tabs", aria_label="Views of the town")


def _mode(standing: Standing) -> Html:
    if standing.writes:
        return tag(
            "span",
            pieces.shape("open", "attn"),
            "Writes",
            class_="mode write",
            title="townctl ui --write: buttons act, after they have asked",
        )
    return tag(
        "span",
        pieces.shape("lock", "ink"),
        "Read-only",
        class_="mode",
        title="every action copies its command; townctl ui --write acts",
    )


def _as_of(standing: Standing) -> Html:
    if standing.now is None:
        return tag("div", tag("span", class_="dot"), tag("b", "Live"), class_="asof")
    if standing.is_past:
        commit = "" if standing.commit is None else f"commit {standing.commit}"
        return tag(
            "div",
            pieces.shape("past", "work"),
            tag("b", times.clock(standing.now), title=times.absolute(standing.now)),
            tag("span", commit, class_="tickno quiet"),
            pieces.link(standing.address.at_time(None), "Back to live", data_live=True),
            class_="asof past",
        )
    tick: Child = standing.said or "no tick yet"
    if standing.tick:
        tick = joined(f"tick {standing.tick}, ", pieces.age(standing.tick_at, standing.now, suffix=" ago"))
    return tag(
        "div",
        tag("span", class_="dot"),
        tag("span", pieces.shape("attn", "attn"), tag("b", "Stale"), class_="warn"),
        tag("b", "Live"),
        tag("span", times.clock(standing.now), data_clock=True, title="the town's clock, UTC"),
        tag("span", "· ", tick, class_="tickno quiet"),
        class_="asof",
    )


def _places(address: Address) -> Html:
    """The five places of a small screen."""
    town = address.town
    found: list[Html] = [
        pieces.link(Address(), pieces.shape("fleet", "ink"), "Fleet", aria_current="page" if not town else None)
    ]
    if town:
        for view, shape, text in (
            ("town", "town", "Town"),
            ("timeline", "timeline", "Timeline"),
            ("machine", "past", "Machine"),
        ):
            current = "page" if address.view == view else None
            found.append(pieces.link(address.to(view), pieces.shape(shape, "ink"), text, aria_current=current))
    found.append(tag("button", pieces.shape("find", "ink"), "Find", type="button", data_key_press="/"))
    return tag("nav", *found, class_="places", aria_label="Places")


def _overlays() -> Html:
    find = tag(
        "div",
        tag(
            "input", type="text", placeholder="Bead, agent, setting, tick, town", aria_label="Find", autocomplete="off"
        ),
        tag("ul"),
        class_="dialog",
        role="dialog",
        aria_modal="true",
        aria_label="Find",
    )
    keys = tag(
        "div",
        tag("div", *(joined(tag("kbd", key), tag("span", what)) for key, what in KEYS), class_="keys"),
        class_="dialog",
        role="dialog",
        aria_modal="true",
        aria_label="Keys",
        tabindex="-1",
    )
    rule = tag(
        "div",
        tag("div", tag("h2", "Rule", class_="strong"), tag("p", "", class_="sub"), class_="empty"),
        class_="dialog",
        role="dialog",
        aria_modal="true",
        aria_label="Rule",
        tabindex="-1",
    )
    return joined(
        tag("div", find, id="find", class_="overlay", data_own=True, hidden=True),
        tag("div", keys, id="keys", class_="overlay", data_own=True, hidden=True),
        tag("div", rule, id="rule", class_="overlay", data_own=True, hidden=True),
    )
