"""The result of a what-if: a summary, both histories side by side, and where they part, tick by tick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from infra.ui import parted, pieces, sentences, times, words
from infra.ui.markup import Html, joined, tag
from infra.ui.parted import Pair, Stretch
from infra.ui.tracks import Window
from infra.ui.views import what_if_unknown
from infra.ui.views.aside import about_of, codes

if TYPE_CHECKING:
    from datetime import datetime

    from infra.ui.names import Names
    from infra.ui.views.machine import Machine
    from shared.replay.what_if.comparison import Outputs, Parting
    from shared.replay.what_if.run import WhatIf


_PARTINGS: Final = 40


def result(machine: Machine, names: Names) -> Html:
    """The result; without one, how to get it; or why it was refused."""
    if machine.problem is not None:
        return pieces.card("What would have been", pieces.failed(machine.problem, machine.hint))
    found = machine.what_if
    if found is None:
        text = (
            "Change a setting, leave out or add an event, or shift the time: both histories appear here side by side."
        )
        return pieces.card("What would have been", pieces.empty(text))
    pairs = parted.pairs_of(machine.timeline, found)
    compared = words.quantity(found.ticks_compared, "tick")
    aside = f"{times.clock(found.from_)} to {times.clock(found.to)}, {found.ticks_parted} of {compared} differ"
    summary = tag("ul", *_summary(found, pairs, names), class_="summary")
    return pieces.card(
        "What would have been", summary, _pairs(found, pairs, names), _partings(machine, found, names), aside=aside
    )


def _summary(found: WhatIf, pairs: Sequence[Pair], names: Names) -> Iterator[Html]:
    is_same = not found.ticks_parted and not found.rows and not found.beads
    if is_same and found.without_effect:
        yield what_if_unknown.point("attn", "attn", tag("b", "What you changed made no difference here."))
    yield from (what_if_unknown.point("attn", "attn", names.linked(each)) for each in found.without_effect)
    if is_same:
        if not found.without_effect:
            yield what_if_unknown.point("done", "done", tag("b", "Nothing would have been different."))
        yield from (what_if_unknown.point("attn", "attn", note) for note in found.notes)
        return
    yield from what_if_unknown.points(found, pairs, names)
    changed = [pair for pair in pairs if pair.kind not in ("same", "unknown")]
    for kind, shape, tone in (
        ("earlier", "done", "done"),
        ("later", "time", "attn"),
        ("gained", "done", "done"),
        ("lost", "fail", "fail"),
        ("never", "idle", "wait"),
        ("other", "time", "wait"),
    ):
        mine = [pair for pair in changed if pair.kind == kind]
        if not mine:
            continue
        first = mine[0]
        said = joined(names.link(first.bead), " ", tag("b", parted.told(first, times.exact(abs(first.by)))))
        more = (
            f"; so {'does' if len(mine) == 2 else 'do'} {words.quantity(len(mine) - 1, 'other')} in the same way"
            if len(mine) > 1
            else ""
        )
        yield what_if_unknown.point(shape, tone, joined(said, more, "."))
    if not changed and not found.unknown_effects:
        rows = found.sum.rows_apart
        end = (
            f"; {words.quantity(rows, 'row')} {'differs' if rows == 1 else 'differ'} at the end"
            if found.rows_compared
            else ""
        )
        yield what_if_unknown.point(
            "idle", "wait", f"No bead changes its status at another time, or ends in another way{end}."
        )
    for note in found.notes:
        yield what_if_unknown.point("attn", "attn", note)


def _pairs(found: WhatIf, pairs: Sequence[Pair], names: Names) -> Html:
    window = Window(found.from_, found.to)
    first = _first(found)
    flag = (
        None
        if first is None
        else tag(
            "div",
            tag(
                "span",
                f"first parting, tick {first.tick}",
                class_="flag",
                style=f"left:{min(window.place(first.time), 78):.2f}%",
            ),
            class_="flag-track",
        )
    )
    head = tag(
        "div",
        tag("span", "above: history, below: what if", class_="quiet small"),
        flag or tag("span"),
        tag("span", "what changes", class_="quiet small right"),
        class_="pair head",
    )
    rows = [
        tag(
            "div",
            tag("span", names.link(pair.bead), class_="pair-name"),
            tag(
                "div",
                tag("div", *_stretches(pair.then, window, None), class_="pair-bar"),
                tag(
                    "div",
                    *(_stretches(pair.now, window, pair.unknown_since) or [tag("span", "–", class_="quiet")]),
                    class_="pair-bar",
                ),
                _flag_line(first, window),
                class_="pair-bars",
            ),
            tag("span", parted.told(pair, times.exact(abs(pair.by))), class_=f"right small {_tone(pair)}"),
            class_="pair",
            data_key=f"pair-{pair.bead}",
        )
        for pair in pairs[:30]
    ]
    labels = tag(
        "div",
        tag("span"),
        tag(
            "div",
            *(tag("span", f"{at:%H:%M}", style=f"left:{window.place(at):.2f}%") for at in window.labels()),
            class_="axis",
        ),
        tag("span"),
        class_="pair",
    )
    return tag("div", head, *rows, labels, class_="pairs")


def _first(found: WhatIf) -> Parting | None:
    return next((each for each in found.partings if each.is_told), None)


def _flag_line(first: object, window: Window) -> Html | None:
    at = getattr(first, "time", None)
    return None if at is None else tag("i", class_="parting-line", style=f"left:{window.place(at):.2f}%")


def _tone(pair: Pair) -> str:
    return {
        "earlier": "text-done",
        "gained": "text-done",
        "later": "text-attn",
        "lost": "text-fail",
        "unknown": "text-attn",
    }.get(pair.kind, "quiet")


def _stretches(stretches: Sequence[Stretch], window: Window, unknown_since: datetime | None) -> list[Html]:
    found = []
    for each in _cut(stretches, unknown_since):
        left, right = window.place(max(each.start, window.start)), window.place(min(each.end or window.end, window.end))
        kind = {
            "open": "blocked",
            "in_progress": "work",
            "in_review": "review",
            "closed": "landed",
            "failed": "broke",
        }.get(each.status, "could")
        open_end = " unknown" if unknown_since is not None and each.start >= unknown_since else ""
        found.append(
            tag(
                "span",
                class_=f"span {kind}{open_end}",
                style=f"left:{left:.2f}%;width:{max(right - left, 0.4):.2f}%",
                title=f"{words.bead_word(each.status).text} from {times.clock(each.start)}{', result unknown' if open_end else ''}",
            )
        )
    return found


def _cut(stretches: Sequence[Stretch], at: datetime | None) -> Iterator[Stretch]:
    """The same stretches, none of which spans this time."""
    for each in stretches:
        if at is not None and each.start < at and (each.end is None or at < each.end):
            yield Stretch(each.status, each.start, at)
            yield Stretch(each.status, at, each.end)
        else:
            yield each


def _partings(machine: Machine, found: WhatIf, names: Names) -> Html | None:
    if not found.partings:
        return None
    told = [each for each in found.partings if each.is_told]
    shown = told[:_PARTINGS]
    about: dict[str | None, Sequence[str]] = {
        mark.event_id: mark.about for mark in machine.timeline.marks if mark.event_id is not None
    }
    address = machine.town.standing.address
    rows = []
    for each in shown:
        is_first = each is told[0]
        label = joined(
            "after " if each.between else "",
            pieces.tick_link(address, each.tick),
            " ",
            tag("span", times.clock(each.time), class_="quiet"),
            tag("div", "first parting", class_="text-work small") if is_first else None,
            tag("div", "only what if", class_="quiet small") if each.between else None,
        )
        rows.append(
            tag(
                "tr",
                tag("td", label, class_="first nowrap"),
                tag("td", _side(each.only_in_history, "−", "text-fail", names, about)),
                tag(
                    "td",
                    *what_if_unknown.other_orders(each, names),
                    _side(each.only_now, "+", "text-done", names, about),
                ),
                class_="first-parting" if is_first else None,
                data_key=f"parting-{each.tick}-{each.time:%H%M%S}",
            )
        )
    rest = found.ticks_parted - len(shown)
    head = pieces.table_head("Tick", "As it happened", "What if")
    more = tag("div", _rest(found, rest, len(told) - len(shown)), class_="more")
    return joined(tag("table", head, tag("tbody", *rows), class_="grid partings"), more)


def _rest(found: WhatIf, rest: int, told: int) -> str:
    """The ticks that are not shown, and how many rows differ at the end."""
    bookkeeping = " in bookkeeping only" if not told else ""
    said = f"{words.quantity(rest, 'more tick')} {'differs' if rest == 1 else 'differ'}{bookkeeping}" if rest else ""
    rows = found.sum.rows_apart
    end = (
        f"at the end {words.quantity(rows, 'row')} {'differs' if rows == 1 else 'differ'}"
        if found.rows_compared
        else ""
    )
    text = "; ".join(each for each in (said, end) if each)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _side(side: Outputs, mark: str, tone: str, names: Names, about: Mapping[str | None, Sequence[str]]) -> Html:
    lines: list[Html] = []
    for event in side.events[:6]:
        ids = about.get(event.event_id, ())
        bead = next((each for each in ids if each not in names.agents), None)
        agent = next((each for each in ids if each in names.agents), None)
        said = sentences.filled(
            words.EVENTS.get(event.event_type, event.event_type), names, bead=bead, agent=agent, change=""
        )
        lines.append(
            tag("div", tag("b", mark, class_=tone), " ", said, tag("span", f" {event.outcome}", class_="quiet"))
        )
    for judged in side.actions[:8]:
        code, _ = codes().get(judged.rule, ("", ""))
        lines.append(
            tag(
                "div",
                tag("b", mark, class_=tone),
                " ",
                sentences.act(judged.action, names),
                " ",
                pieces.chip(code, about_of(code)) if code else "",
            )
        )
    more = len(side.events) + len(side.actions) - len(lines)
    if more > 0:
        lines.append(tag("div", f"{more} more", class_="quiet"))
    return joined(*lines) if lines else tag("span", "Nothing", class_="quiet")
