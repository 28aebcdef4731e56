"""Where one may want to go in the time machine: crashes, restores, other code, and every change of settings of the window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from infra.ui import pieces, times
from infra.ui.markup import Child, Html, joined, tag
from shared.domain.times import to_text
from shared.questions.setting_changes import words_of

if TYPE_CHECKING:
    from infra.ui.address import Address
    from infra.ui.names import Names
    from shared.questions.timeline import Timeline

SHOWN: Final = 6
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class _Jump:
    at: datetime
    shape: str
    tone: str
    text: str


def jumps(timeline: Timeline, address: Address, names: Names) -> Html | None:
    """Each leads to the last commit before it, so that a restore from there goes back behind it, or to the one that has it."""
    found = sorted((*_marks(timeline, names), *_codes(timeline)), key=lambda jump: jump.at, reverse=True)
    if not found:
        return None
    first = timeline.ticks[0].time
    chips = [_chip(jump, address, first) for jump in found]
    more = None
    if len(chips) > SHOWN:
        more = tag("details", tag("summary", f"{len(chips) - SHOWN} more"), *chips[SHOWN:], class_="jumps-more")
    return tag("div", tag("span", "Jump to before", class_="quiet small"), *chips[:SHOWN], more, class_="jumps")


def _marks(timeline: Timeline, names: Names) -> Iterator[_Jump]:
    for mark in timeline.marks:
        if mark.kind == "observed":
            who = names.of(mark.about[0]) if mark.about else ""
            yield _Jump(mark.time, "crash", "fail", f"crash of {who}")
        elif mark.settings:
            by = "" if mark.by is None else f", by {mark.by}"
            yield _Jump(mark.time, "rule", "plain", f"{words_of(mark.settings)}{by}")
        elif mark.kind == "restore":
            yield _Jump(mark.time, "past", "plain", "a restore")


def _codes(timeline: Timeline) -> Iterator[_Jump]:
    """Where other code began to run the ticks."""
    for before, tick in zip(timeline.ticks, timeline.ticks[1:], strict=False):
        if before.code_version != tick.code_version and tick.restore is None:
            yield _Jump(tick.time, "rule", "plain", f"code {tick.code_version[:7]}")


def _chip(jump: _Jump, address: Address, first: datetime) -> Html:
    text = pieces.cut(jump.text, _LONGEST)
    before: Child = joined(pieces.shape(jump.shape, jump.tone), text)
    if jump.at > first:
        before = pieces.link(address.just_before(jump.at), before, title=f"{jump.text}: before it")
    after = pieces.link(address.at_time(to_text(jump.at)), "after", class_="quiet", title=f"{jump.text}: after it")
    at = tag("span", times.clock(jump.at), class_="quiet small")
    return tag("span", before, at, after, class_="badge jump")
