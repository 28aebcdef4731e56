"""Where one may want to go in the time machine: every change of settings of the window, restores, other code, and crashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from infra.ui import pieces, sentences, times, words
from infra.ui.markup import Child, Html, joined, tag
from shared.domain.times import to_text

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
    is_cause: bool = True
    """Whether somebody did it. These stand first: what has happened to a process comes of something."""


def jumps(timeline: Timeline, address: Address, names: Names) -> Html | None:
    """Each leads to the last commit before it, so that a restore from there goes back behind it, or to the one that has it."""
    found = sorted(
        (*_marks(timeline, names), *_codes(timeline)), key=lambda jump: (jump.is_cause, jump.at), reverse=True
    )
    if not found:
        return None
    first = timeline.ticks[0].time
    chips = [_chip(jump, address, first) for jump in found]
    more = None
    if len(chips) > SHOWN:
        more = tag(
            "details", tag("summary", _rest(found[SHOWN:]), class_="button"), *chips[SHOWN:], class_="jumps-more"
        )
    return tag("div", tag("span", "Jump to before", class_="quiet small"), *chips[:SHOWN], more, class_="jumps")


def _rest(left: Sequence[_Jump]) -> str:
    """How many there are of what is folded: `12 more: 3 changes, 9 ends of processes`."""
    changes = sum(each.is_cause for each in left)
    ends = len(left) - changes
    parts = [words.quantity(changes, "change")] if changes else []
    parts += [words.quantity(ends, "bad end of a process", "bad ends of processes")] if ends else []
    return f"{len(left)} more: {', '.join(parts)}"


def _marks(timeline: Timeline, names: Names) -> Iterator[_Jump]:
    for mark in timeline.marks:
        if mark.is_crash:
            who = names.of(mark.about[0]) if mark.about else "an agent"
            yield _Jump(mark.time, "crash", "fail", f"{who}: {mark.name}", is_cause=False)
        elif mark.kind == "restore":
            yield _Jump(mark.time, "past", "plain", "a restore")
        elif mark.settings:
            yield _Jump(mark.time, "rule", "plain", sentences.settings_of(mark))


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
