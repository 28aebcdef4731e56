"""Timeline: lanes of agents, beads and reviews over a window of time, with a tick opened beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from infra.ui import pieces, times, tracks
from infra.ui.address import Address
from infra.ui.markup import Child, Html, joined, tag
from infra.ui.shell import Standing, page
from infra.ui.tracks import Track, Upright, Window
from infra.ui.views.lane_view import lane_row
from shared.domain.times import to_text

if TYPE_CHECKING:
    from infra.ui.names import Names
    from shared.questions.timeline import Timeline

SPANS: Final = {
    "10m": timedelta(minutes=10),
    "40m": timedelta(minutes=40),
    "2h": timedelta(hours=2),
    "24h": timedelta(hours=24),
}
USUAL: Final = "40m"
KINDS: Final = {"agent": "Agents", "bead": "Beads", "review": "Reviews"}
_EDGE: Final = 1.5
"""A label nearer to an edge than this, in percent of the window, does not stand over its middle."""
_ROW: Final = 16
"""Pixels of a row of labels above the lanes."""
LEGEND: Final = (
    ("work", "works"),
    ("review", "reviewed"),
    ("lost", "lost"),
    ("checks", "checks run"),
    ("could", "could start"),
    ("blocked", "blocked"),
)
_MARKS: Final = (
    ("event", "event"),
    ("rule", "rule acted"),
    ("effect", "effect"),
    ("eye", "observed"),
    ("crash", "lost"),
    ("done", "done"),
    ("fail", "failed"),
)


def timeline_page(standing: Standing, timeline: Timeline, names: Names, window: Window, *, drawer: Html | None) -> Html:
    """The whole page."""
    address = standing.address
    names = names.more(timeline.names)
    drawn = tracks.tracks(timeline, window)
    hidden = set(filter(None, address.query.get("without", "").split(".")))
    lanes = tag(
        "section",
        _toolbar(address, timeline, window, drawn, hidden),
        _overview(timeline, window, standing),
        _lanes(standing, timeline, names, window, [each for each in drawn if each.lane.kind not in hidden]),
        _legend(),
        class_="timeline",
    )
    content = tag("div", lanes, drawer, class_="with-drawer" if drawer is not None else "without-drawer")
    return page(
        standing, tag("h1", f"Timeline of {address.town}", class_="skip"), content, title=f"{address.town} · Timeline"
    )


def window_of(address: Address, now: datetime, first: datetime | None) -> Window:
    """The window that an address names: `from` and `to`, else a span that ends now."""
    start, end = (Address(at=address.query.get(name)).time for name in ("from", "to"))
    if start is not None and end is not None and start < end:
        return Window(start, end)
    span = address.query.get("span", USUAL)
    if span == "all" and first is not None and first < now:
        return Window(first, now)
    return Window(now - SPANS.get(span, SPANS[USUAL]), now)


def _to(address: Address, window: Window) -> Address:
    return address.with_(from_=to_text(window.start), to=to_text(window.end), span=None)


def _toolbar(address: Address, timeline: Timeline, window: Window, drawn: Sequence[Track], hidden: set[str]) -> Html:
    span = address.query.get("span", USUAL) if "from" not in address.query else ""
    choices = [
        (text, address.with_(span=key, from_=None, to=None), span == key)
        for key, text in (("10m", "10 min"), ("40m", "40 min"), ("2h", "2 h"), ("24h", "24 h"), ("all", "All"))
    ]
    kinds = []
    for kind, title in KINDS.items():
        count = sum(track.lane.kind == kind for track in drawn)
        others = hidden ^ {kind}
        kinds.append((f"{title} {count}", address.with_(without=".".join(sorted(others)) or None), kind not in hidden))
    words = joined(
        tag("b", f"{window.start:%H:%M} – {window.end:%H:%M}"),
        tag("span", f" UTC, {window.end:%Y-%m-%d}", class_="quiet small"),
    )
    back = pieces.link(
        _to(address, window.moved(-0.5)), pieces.shape("left", "ink", "Earlier"), class_="iconbutton", data_zoom="left"
    )
    on = pieces.link(
        _to(address, window.moved(0.5)), pieces.shape("right", "ink", "Later"), class_="iconbutton", data_zoom="right"
    )
    closer = pieces.link(
        _to(address, window.zoomed(0.5)),
        "+",
        class_="iconbutton",
        data_zoom="in",
        title="Closer (+)",
        aria_label="Closer",
    )
    wider = pieces.link(
        _to(address, window.zoomed(2)), "−", class_="iconbutton", data_zoom="out", title="Wider (-)", aria_label="Wider"
    )
    fit = pieces.link(
        address.with_(span="all", from_=None, to=None), "", data_zoom="all", hidden=True, aria_label="Everything"
    )
    more = (
        tag("span", f"{timeline.lanes_omitted} beads without news are not drawn", class_="quiet small")
        if timeline.lanes_omitted
        else None
    )
    return tag(
        "div",
        pieces.segments(*choices, label="Length of the window"),
        tag("span", back, words, on, closer, wider, fit, class_="pan"),
        more,
        tag("span", class_="grow"),
        pieces.segments(*kinds, label="Lanes"),
        pieces.filter_box("Filter lanes", address.query.get("q", "")),
        class_="toolbar bare",
    )


def _overview(timeline: Timeline, window: Window, standing: Standing) -> Html | None:
    if not timeline.overview:
        return None
    first = timeline.overview[0].start
    whole = Window(first, max(standing.now or timeline.end, timeline.end, first + timedelta(seconds=1)))
    most = max(each.changes for each in timeline.overview) or 1
    bars = (
        tag("i", style=f"left:{whole.place(each.start):.2f}%;height:{max(2, round(24 * each.changes / most))}px")
        for each in timeline.overview
        if each.changes
    )
    left, right = (min(max(whole.place(at), 0), 100) for at in (window.start, window.end))
    brush = tag("span", class_="brush", style=f"left:{left:.2f}%;width:{max(right - left, 0.3):.2f}%")
    labels = _axis(whole)
    restores = (
        tag("span", class_="upright", style=f"left:{whole.place(each.at):.2f}%", title=each.says())
        for each in timeline.restores
        if whole.holds(each.at)
    )
    area = tag(
        "div",
        *bars,
        *restores,
        brush,
        tag("span", class_="brushing", data_brushing=True),
        class_="overview-bars",
        data_brush=f"{pieces.milliseconds(whole.start)} {pieces.milliseconds(whole.end)}",
        data_wide=int(window.length.total_seconds() * 1000),
        aria_label="The whole kept history: drag to choose a window",
        role="img",
    )
    return tag(
        "div",
        tag("span"),
        tag("div", area, tag("div", *labels, class_="axis"), class_="overview-area"),
        class_="overview",
    )


def _axis(window: Window) -> Iterator[Html]:
    """The times below a window. The first and the last do not stick out of it."""
    for at in window.labels():
        place = window.place(at)
        edge = "from" if place < _EDGE else "until" if place > 100 - _EDGE else None
        yield tag("span", _label(at, window), style=f"left:{place:.3f}%", class_=edge)


def _label(at: datetime, window: Window) -> str:
    if window.length > timedelta(days=2):
        return f"{at:%m-%d}" if at.hour == 0 else f"{at:%m-%d %H:%M}"
    return f"{at:%H:%M:%S}" if window.length < timedelta(minutes=8) else f"{at:%H:%M}"


def _lanes(standing: Standing, timeline: Timeline, names: Names, window: Window, drawn: Sequence[Track]) -> Html:
    address = standing.address
    chosen = address.query.get("tick")
    if not timeline.ticks and not any(track.bars for track in drawn):
        jump = pieces.link(address.with_(span="all", from_=None, to=None), "Show everything", class_="button")
        last = f"The last tick is tick {timeline.tick}." if timeline.tick else "No tick has run yet."
        return pieces.empty(f"Quiet from {window.start:%H:%M} to {window.end:%H:%M}. {last}", more=tag("p", jump))
    lines: list[Child] = [tag("i", class_="hour", style=f"left:{window.place(at):.3f}%") for at in window.labels()]
    lines += [tag("i", class_="upright", style=f"left:{each.left:.3f}%") for each in tracks.uprights(timeline, window)]
    opened = next((tick for tick in timeline.ticks if str(tick.tick) == chosen), None)
    if opened is not None:
        lines.append(tag("i", class_="opened", style=f"left:{window.place(opened.time):.3f}%"))
    if standing.now is not None and window.holds(standing.now):
        lines.append(tag("i", class_="now", style=f"left:{window.place(standing.now):.3f}%"))
    rows: list[Html] = []
    for kind, title in KINDS.items():
        mine = [track for track in drawn if track.lane.kind == kind]
        if mine:
            rows.append(tag("h2", title, class_="lane-group", data_group=kind))
            rows += [lane_row(track, names, address, kind) for track in mine]
    grid = tag("div", *lines, class_="grid-lines", data_moves=True, aria_hidden="true")
    window_ms = f"{pieces.milliseconds(window.start)} {pieces.milliseconds(window.end)}"
    none = pieces.no_match(address, hidden=True)
    return joined(
        _ruler(timeline, window, address, chosen),
        tag(
            "div",
            grid,
            *rows,
            class_="lanes",
            data_window=window_ms,
            title="drag to pan; Shift or Ctrl and wheel to zoom",
        ),
        none,
    )


def _ruler(timeline: Timeline, window: Window, address: Address, chosen: str | None) -> Html:
    most = max((tracks.busy(tick) for tick in timeline.ticks), default=1) or 1
    bars = (
        tag(
            "a",
            href=address.with_(tick=str(tick.tick)).href,
            class_="on" if str(tick.tick) == chosen else None,
            style=f"left:{window.place(tick.time):.3f}%;height:{4 + round(14 * tracks.busy(tick) / most)}px",
            title=f"tick {tick.tick} at {times.clock(tick.time)}",
            aria_label=f"tick {tick.tick}",
            tabindex="-1",
        )
        for tick in tracks.thinned(timeline, window)
    )
    labels = _axis(window)
    letter = tracks.LETTER_WIDTH if chosen is None else tracks.LETTER_WIDTH_BESIDE
    placed = tracks.labels_of(tracks.uprights(timeline, window), letter=letter)
    rows = 1 + max((row for _, row in placed if row is not None), default=0)
    notes = (_note(each, row, address.with_(tick=str(each.tick))) for each, row in placed)
    head = tag("span", "Ticks", class_="lane-name quiet")
    return tag(
        "div",
        head,
        tag(
            "div",
            tag("div", *notes, class_="notes"),
            tag("div", *labels, class_="axis"),
            *bars,
            class_="ruler-track",
            style=f"--rows:{rows}",
            data_moves=True,
        ),
        class_="ruler",
    )


def _note(line: Upright, row: int | None, to: Address) -> Html:
    """The mark of a line that crosses all lanes, and its label where that has room. Both open the tick."""
    mark = pieces.link(
        to, "", class_="upright-mark", style=f"left:{line.left:.3f}%", title=line.says, aria_label=line.says
    )
    if row is None:
        return mark
    side = f"left:{line.left:.3f}%" if tracks.beside(line.left) == "right" else f"right:{100 - line.left:.3f}%"
    label = pieces.link(
        to,
        line.text,
        class_="note",
        style=f"{side};top:{_ROW * row}px",
        title=line.says,
        aria_hidden="true",
        tabindex="-1",
    )
    return joined(mark, label)


def _legend() -> Html:
    bars = (tag("span", tag("i", class_=f"span {kind}"), text) for kind, text in LEGEND)
    marks = (
        tag(
            "span",
            pieces.shape(shape, "fail" if shape in ("crash", "fail") else "done" if shape == "done" else "plain"),
            text,
        )
        for shape, text in _MARKS
    )
    line = tag("span", tag("i", class_="upright-key"), "settings, code or a restore")
    return tag("div", *bars, *marks, line, class_="legend lanes-legend")


def steps_of(timeline: Timeline, tick: int) -> Iterator[tuple[int, int]]:
    """The ticks before and after one: each step with the tick that it leads to. Steps of two skip those that did nothing."""
    numbers = [each.tick for each in timeline.ticks]
    active = [each.tick for each in timeline.ticks if tracks.busy(each)]
    for step, found in (
        (-1, [each for each in numbers if each < tick][-1:]),
        (1, [each for each in numbers if each > tick][:1]),
    ):
        if found:
            yield step, found[0]
    for step, found in (
        (-2, [each for each in active if each < tick][-1:]),
        (2, [each for each in active if each > tick][:1]),
    ):
        if found:
            yield step, found[0]
