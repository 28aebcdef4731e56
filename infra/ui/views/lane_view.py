"""One lane of the timeline: bars, hatches and marks."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Final

from infra.ui import pieces, sentences, times, tracks
from infra.ui.markup import Child, Html, tag
from infra.ui.tracks import Bar, Spot, Track

if TYPE_CHECKING:
    from infra.ui.address import Address
    from infra.ui.names import Names


_TAGS: Final = re.compile(r"<[^>]*>")


_SHAPES: Final = {
    "event": "event",
    "rule": "rule",
    "effect": "effect",
    "observed": "eye",
    "violation": "attn",
    "restore": "past",
}


def lane_row(track: Track, names: Names, address: Address, kind: str) -> Html:
    """One lane: its name, and what was on it."""
    lane = track.lane
    name = names.tidy(lane.title)
    parts: list[Child] = [_bar(bar, track, names) for bar in track.bars]
    parts += [
        tag("span", pieces.shape("crash", "fail", "lost"), class_="spot cross", style=f"left:{left:.3f}%")
        for left in track.lost
    ]
    parts += [_spot(spot, names, address) for spot in track.spots]
    if track.ended is not None:
        shape = "fail" if lane.status == "failed" else "done"
        parts.append(
            tag("span", pieces.shape(shape, shape, lane.status), class_="spot end", style=f"left:{track.ended:.3f}%")
        )
    return tag(
        "div",
        tag("a", name, href=names.address(lane.id).href, class_="lane-name", title=lane.id),
        tag("div", tag("div", *parts, class_="bars", data_moves=True), class_="track"),
        class_="lane",
        data_row=f"{name} {lane.id}",
        data_in=kind,
        data_key=f"lane-{lane.id}",
    )


def _bar(bar: Bar, track: Track, names: Names) -> Html:
    label = ""
    if _room(bar, track) > tracks.LABEL and bar.kind in ("work", "review") and bar.of is not None:
        label = names.numbers.get(bar.of) or names.of(bar.of)
    what = {
        "work": "works",
        "review": "in review",
        "checks": "waits for checks or a merge",
        "lost": "lost",
        "blocked": "waits",
        "could": "could start",
    }[bar.kind]
    who = "" if bar.of is None else f", {names.of(bar.of)}"
    ends = "now" if bar.end is None else times.clock(bar.end)
    long = "" if bar.end is None else f", {times.exact(bar.end - bar.start)}"
    return tag(
        "span",
        label,
        class_=f"span {bar.kind}",
        style=f"left:{bar.left:.3f}%;width:{bar.width:.3f}%",
        title=f"{names.tidy(track.lane.title)}: {what}{who}, {times.clock(bar.start)} to {ends}{long}",
    )


def _room(bar: Bar, track: Track) -> float:
    """How much of a bar, in percent of the window, is free for a label: up to the first mark that stands in it."""
    end = bar.left + bar.width
    return min((spot.left for spot in track.spots if bar.left + tracks.CLOSE < spot.left < end), default=end) - bar.left


def _spot(spot: Spot, names: Names, address: Address) -> Html:
    first = spot.marks[0]
    said = "; ".join(dict.fromkeys(_plain(sentences.mark(mark, names)) for mark in spot.marks[:4]))
    to = address.with_(tick=str(first.tick))
    label = f"tick {first.tick} at {times.clock(first.time)}: {said}"
    tone = (
        "fail"
        if first.kind == "violation" or (first.kind == "event" and first.outcome not in ("applied", None))
        else "plain"
    )
    return tag(
        "a",
        pieces.shape(_SHAPES[first.kind], tone),
        href=to.href,
        class_="spot",
        style=f"left:{spot.left:.3f}%",
        title=label,
        aria_label=label,
        tabindex="-1",
    )


def _plain(markup: Html) -> str:
    """The text of markup, for a tooltip."""
    return unescape(_TAGS.sub("", markup))
