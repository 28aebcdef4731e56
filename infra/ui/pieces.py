"""The small pieces that every view is made of: shapes, ages, countdowns, fuses, chips, buttons that copy a command."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime, timedelta
from typing import Final

from infra.ui import times
from infra.ui.address import Address
from infra.ui.markup import NOTHING, Child, Html, joined, tag
from infra.ui.offers import offering
from infra.ui.words import Tone, Word

LATE_AFTER: Final = timedelta(seconds=10)


def shape(name: str, tone: str = "wait", label: str | None = None) -> Html:
    """A shape of the sprite. Without a label it only repeats a word beside it."""
    use = tag("use", href=f"#s-{name}")
    if label is None:
        return tag("svg", use, class_=f"shape {tone}", viewBox="0 0 16 16", aria_hidden="true")
    return tag("svg", tag("title", label), use, class_=f"shape {tone}", viewBox="0 0 16 16", role="img")


def state(word: Word) -> Html:
    """A state: shape and word."""
    return tag("span", shape(word.shape, word.tone), tag("span", word.text), class_=f"state {word.tone}")


def age(at: datetime | None, now: datetime, *, suffix: str = "") -> Html:
    """How long ago something was. The page lets it go on."""
    if at is None:
        return tag("span", "–", class_="age")
    text = times.span(now - at) + suffix
    return tag("span", text, class_="age", data_since=_ms(at), data_suffix=suffix or None, title=times.absolute(at))


def countdown(due: datetime | None, now: datetime) -> Html:
    """What is left until something happens. The page lets it run; after ten seconds it says how late it is."""
    if due is None:
        return tag("span", "–", class_="left")
    if due <= now - LATE_AFTER:
        return tag(
            "span", f"{times.span(now - due)} late", class_="left late", data_due=_ms(due), title=times.absolute(due)
        )
    return tag("span", times.left(due - now), class_="left", data_due=_ms(due), title=times.absolute(due))


def fuse(since: datetime | None, until: datetime, now: datetime, tone: str = "work") -> Html:
    """A bar of how much of a wait is over, and what is left of it."""
    start = since if since is not None and since < until else now
    whole = max((until - start).total_seconds(), 0.001)
    share = min(max((now - start).total_seconds() / whole, 0), 1)
    bar = tag("i", class_=tone, style=f"width:{share * 100:.1f}%", data_fuse=f"{_ms(start)} {_ms(until)}")
    return tag("span", tag("span", bar, class_="rail"), countdown(until, now), class_="fuse")


def chip(code: str, about: str = "") -> Html:
    """The code of a rule. Its tooltip says what the rule does."""
    return tag("span", code, class_="chip", title=about or None, data_rule=code)


def critical() -> Html:
    """The mark of the critical chain."""
    return tag("span", "critical", class_="critical")


def badge(text: str, tone: str = "wait") -> Html:
    """A few words in a frame."""
    return tag("span", text, class_=f"badge {tone}")


def cut(text: str, letters: int) -> str:
    """At most so many letters of a text; the last one says that there are more."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def link(to: Address, *shown: Child, class_: str | None = None, **attributes: object) -> Html:
    """A link inside the page."""
    return tag("a", *shown, href=to.href, class_=class_, **attributes)


def tick_link(address: Address, tick: int) -> Html:
    """A link that opens a tick beside the timeline."""
    return link(address.to("timeline", tick=str(tick)), f"tick {tick}", class_="tick")


def copies(label: str, command: str, *, sure: str = "") -> Html:
    """A button for a command. It copies it; with --write it asks once, naming the consequence, and then runs it."""
    offers = offering.get()
    if offers is not None and (key := offers.key_of(command)) is not None:
        asks = sure or f"{label}: sure?"
        return tag(
            "button",
            shape("rule", "ink"),
            label,
            type="button",
            class_="button",
            data_do="run",
            value=key,
            data_sure=asks,
            title=command,
        )
    return tag("button", shape("copy", "ink"), label, type="button", class_="button", data_copy=command, title=command)


def command(text: str) -> Html:
    """A command in a line of its own, with a button that copies it."""
    return tag(
        "div",
        tag("code", text),
        tag("button", shape("copy", "ink", "Copy"), type="button", class_="plain", data_copy=text),
        class_="command",
    )


def card(title: Child, *content: Child, aside: Child = None, id_: str | None = None, class_: str = "") -> Html:
    """A card with a title, what is said at its right, and its content."""
    head = tag("div", tag("h2", title), tag("span", aside, class_="aside") if aside else None, class_="card-head")
    return tag("section", head, *content, class_=f"card {class_}".strip(), id=id_)


def table_head(*heads: str, right: Container[int] = ()) -> Html:
    """The head of a table. The first column keeps its place when the table scrolls; those in `right` hold figures."""
    cells = (
        tag("th", text, scope="col", class_="right" if place in right else None if place else "first")
        for place, text in enumerate(heads)
    )
    return tag("thead", tag("tr", *cells))


def outside_link(url: str, shown: Child, *, class_: str, title: str | None = None) -> Html:
    """A link to a page of somebody else, which learns nothing of this one."""
    return tag("a", shown, href=url, class_=class_, rel="noreferrer noopener", target="_blank", title=title)


def no_match(address: Address, *, count: int = 0, hidden: bool) -> Html:
    """What a list of so many entries shows if its filter matches none. The page shows and hides it while somebody types."""
    clear = link(address.with_(q=None), "Clear the filter", class_="name")
    return tag("div", tag("p", tag("b", f"0 of {count}."), " ", clear), class_="empty", data_none=True, hidden=hidden)


def empty(sentence: Child, *, command_: str | None = None, more: Child = None) -> Html:
    """Why there is nothing here, and what to do."""
    return tag("div", tag("p", sentence), more, command(command_) if command_ else None, class_="empty")


def failed(what: str, hint: str | None, *, again: Address | None = None, said: str = "Try again") -> Html:
    """What could not be shown, in the place where it would be, with a button that leads `again` to this page or to another."""
    retry = None if again is None else link(again, said, class_="button")
    body = tag("div", tag("p", what, class_="strong"), tag("p", hint) if hint else None, retry)
    return tag("div", shape("fail", "fail", "Error"), body, class_="failed", role="alert")


def skeleton(rows: int) -> Html:
    """Grey bars where rows will be."""
    return tag(
        "div",
        *(tag("i", style=f"width:{92 - row * 13 % 40}%") for row in range(rows)),
        class_="skeleton",
        aria_label="Loading",
    )


def segments(*options: tuple[str, Address, bool], label: str) -> Html:
    """A choice of a few views as one row of links."""
    links = (link(to, text, aria_current="true" if chosen else None) for text, to, chosen in options)
    return tag("nav", *links, class_="segments", aria_label=label)


def filter_box(placeholder: str, value: str) -> Html:
    """A field that filters the rows of the page as it is typed in."""
    return tag(
        "label",
        shape("filter", "ink"),
        tag("input", type="search", placeholder=placeholder, value=value, data_filter="q", aria_label=placeholder),
        tag("kbd", "f"),
        class_="field",
    )


def bar_of(parts: list[tuple[str, int]], *, whole: int, width: int) -> Html:
    """A bar of counts on a scale that all rows share."""
    shown = [
        tag("i", class_=tone, style=f"width:{max(2, round(width * count / max(whole, 1)))}px")
        for tone, count in parts
        if count
    ]
    return tag("span", *shown, class_="bar", aria_hidden="true")


def facts(*rows: tuple[str, Child]) -> Html:
    """Names and values."""
    return tag(
        "dl",
        *(joined(tag("dt", name), tag("dd", value)) for name, value in rows if value not in (None, "", NOTHING)),
        class_="facts",
    )


def tone_of(left: timedelta, *, loses: bool) -> Tone:
    """The tone of a fuse: amber if something is about to be taken away."""
    return "attn" if loses and left < timedelta(minutes=2) else "work"


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


milliseconds = _ms
