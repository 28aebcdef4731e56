"""The slider of the time machine: every commit of the window, and the town at the one that is chosen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from infra.ui import pieces, times, tracks, words
from infra.ui.markup import Html, joined, tag
from infra.ui.views import jumps
from infra.ui.views.aside import telling, tick_sentence
from shared.domain.times import to_text

if TYPE_CHECKING:
    from infra.ui.names import Names
    from infra.ui.views.machine import Machine
    from shared.questions.timeline import TickLine
    from shared.questions.town_view import TownView, ViewedBead


_BINS: Final = 300


def _ticks(machine: Machine) -> Sequence[TickLine]:
    return machine.timeline.ticks


def slider(machine: Machine, names: Names) -> Html:
    """The slider, with what was done at the chosen commit."""
    town, ticks = machine.town, _ticks(machine)
    address, status = town.standing.address, town.view.status
    if not ticks:
        return tag("section", pieces.empty("No tick is kept yet."), class_="card")
    at = next((place for place in range(len(ticks) - 1, -1, -1) if ticks[place].time <= town.view.at), 0)
    last = len(ticks) - 1
    stops = [
        {
            "at": None if place == last else to_text(tick.time),
            "label": f"tick {tick.tick}, {times.clock(tick.time)}",
            "share": round(place / max(last, 1), 5),
        }
        for place, tick in enumerate(ticks)
    ]
    here = [mark for mark in machine.timeline.marks if mark.tick == ticks[at].tick]
    told = telling(here)
    said = joined(": ", tick_sentence(told, names)) if told else ""
    heading = tag(
        "div",
        tag("b", f"Commit {status.as_of.txid}"),
        " ",
        tag("span", f"tick {ticks[at].tick}, {times.clock(ticks[at].time)}", data_sliding=True, class_="sub"),
        tag("span", said, class_="sub"),
        class_="slider-said",
    )
    step = [(-1, at - 1), (1, at + 1)]
    active = [place for place, tick in enumerate(ticks) if tracks.busy(tick)]
    step += [
        (-2, next((place for place in reversed(active) if place < at), -1)),
        (2, next((place for place in active if place > at), -1)),
    ]
    arrows = {
        number: pieces.link(
            address.at_time(None if place == last else to_text(ticks[place].time)),
            pieces.shape("left" if number < 0 else "right", "ink", "Earlier commit" if number < 0 else "Later commit"),
            class_="iconbutton",
            data_step=number,
            hidden=abs(number) > 1,
        )
        for number, place in step
        if 0 <= place <= last
    }
    first = pieces.link(
        address.at_time(to_text(ticks[0].time)), pieces.shape("first", "ink", "First commit"), class_="iconbutton"
    )
    newest = pieces.link(address.at_time(None), pieces.shape("last", "ink", "Newest commit"), class_="iconbutton")
    play = tag(
        "button",
        pieces.shape("play", "ink", "Play"),
        type="button",
        class_="iconbutton",
        data_play=True,
        title="Play (Space)",
    )
    go_to = tag(
        "label",
        tag("span", "Go to ", class_="quiet small"),
        tag(
            "input",
            type="text",
            placeholder="14:10, 20 min ago",
            data_at=True,
            aria_label="Go to a time",
            aria_describedby="go-to-said",
            value=address.at or "",
        ),
        class_="field time",
    )
    refused = tag("span", "", id="go-to-said", class_="text-fail small", role="status", data_own=True)
    top = tag(
        "div",
        first,
        arrows.get(-1),
        play,
        arrows.get(1),
        newest,
        arrows.get(-2),
        arrows.get(2),
        heading,
        tag("span", class_="grow"),
        go_to,
        refused,
        class_="slider-top",
    )
    range_ = tag(
        "input",
        type="range",
        min="0",
        max=last,
        value=at,
        data_slider=True,
        aria_label="Commit",
        aria_valuetext=f"tick {ticks[at].tick}",
    )
    strip = tag("div", _bars(ticks, at), range_, _axis(ticks), class_="slider-strip", data_stops=json.dumps(stops))
    omitted = (
        tag(
            "p",
            "Only the newest 2,000 ticks are on the slider; go to an earlier time by typing it.",
            class_="quiet small inset",
        )
        if machine.timeline.ticks_omitted
        else None
    )
    jump = jumps.jumps(machine.timeline, address, names)
    return tag("section", top, jump, strip, omitted, _then(machine), class_="card slider", aria_label="Commits")


def _bars(ticks: Sequence[TickLine], at: int) -> Html:
    """A bar for each commit, or for a few: how much it did; dark up to the one that is shown."""
    group = max(1, -(-len(ticks) // _BINS))
    heights = [max(tracks.busy(tick) for tick in ticks[place : place + group]) for place in range(0, len(ticks), group)]
    most = max(heights, default=1) or 1
    last = max(len(ticks) - 1, 1)
    bars = (
        tag(
            "rect",
            x=f"{place * group / last * 1000:.1f}",
            y=f"{40 - max(2, 38 * height / most):.1f}",
            width="2.4",
            height=f"{max(2, 38 * height / most):.1f}",
            class_="was" if place * group <= at else "will",
        )
        for place, height in enumerate(heights)
    )
    return tag(
        "svg", *bars, viewBox="0 0 1002 40", preserveAspectRatio="none", class_="slider-bars", aria_hidden="true"
    )


def _axis(ticks: Sequence[TickLine]) -> Html:
    last = max(len(ticks) - 1, 1)
    places = sorted({round(number * last / 7) for number in range(8)})
    return tag(
        "div",
        *(
            tag(
                "span",
                f"{ticks[place].time:%H:%M}",
                style=f"left:{place / last * 100:.2f}%",
                class_="from" if place == 0 else "until" if place == last else None,
            )
            for place in places
            if place < len(ticks)
        ),
        class_="axis",
    )


def _then(machine: Machine) -> Html:
    town = machine.town
    address = town.standing.address
    counts = Counter(bead.status for bead in town.view.beads if bead.type == "issue")
    chips = [
        pieces.badge(f"{count} {words.bead_word(status).text.lower()}", words.bead_word(status).tone)
        for status, count in sorted(counts.items(), key=lambda each: list(words.BEADS).index(each[0]))
    ]
    since = _since(town.view, machine.present)
    when = "then" if town.view.is_past else "now"
    buttons = [
        pieces.link(address.to("town"), pieces.shape("town", "ink"), f"Town {when}", class_="button"),
        pieces.link(address.to("timeline"), pieces.shape("timeline", "ink"), f"Timeline {when}", class_="button"),
    ]
    return tag(
        "div",
        tag("span", f"The town {when}", class_="quiet"),
        *chips,
        joined(tag("span", "Since then", class_="quiet"), " ", since) if town.view.is_past else None,
        tag("span", class_="grow"),
        *buttons,
        class_="slider-then",
    )


def _since(then: TownView, now: TownView) -> str:
    """What came since, in words: what became of the beads of then, and of those that were filed since."""
    before = {bead.bead_id: bead.status for bead in then.beads}
    tasks = [bead for bead in now.beads if bead.type == "issue"]
    moved = [bead.status for bead in tasks if bead.bead_id in before and before[bead.bead_id] != bead.status]
    filed = [bead.status for bead in tasks if bead.bead_id not in before and _is_new(bead, then)]
    parts = [words.quantity(now.status.as_of.tick - then.status.as_of.tick, "tick")]
    parts += [f"{words.quantity(len(moved), 'bead')} of then: {_counted(moved)}"] if moved else []
    parts += [f"{words.quantity(len(filed), 'bead')} filed since: {_counted(filed)}"] if filed else []
    return "; ".join(parts if len(parts) > 1 else [*parts, "no bead changed its status"])


def _is_new(bead: ViewedBead, then: TownView) -> bool:
    """Whether a bead was filed later; others that are not shown then had ended long before."""
    return bead.created_at is not None and bead.created_at > then.at


def _counted(statuses: Sequence[str]) -> str:
    counts = Counter(words.bead_word(status).text.lower() for status in statuses)
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
