"""The lanes of a timeline as a page draws them: bars, hatches and marks, placed in percent of the window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from shared.questions.lanes import Lane, Span
    from shared.questions.marks import Mark
    from shared.questions.timeline import TickLine, Timeline

CLOSE: Final = 0.55
"""Marks of one lane nearer than this, in percent of the window, are one mark."""
LABEL: Final = 3.2
"""A bar narrower than this has no text in it."""
_LOST: Final = ("A1", "A2", "A8", "B3")
_STEPS: Final = tuple(
    timedelta(seconds=each)
    for each in (
        1,
        2,
        5,
        10,
        15,
        30,
        60,
        120,
        300,
        600,
        900,
        1800,
        3600,
        7200,
        14_400,
        21_600,
        43_200,
        86_400,
        172_800,
        604_800,
    )
)
_LABELS: Final = 8
_RANK: Final = {"violation": 5, "restore": 5, "observed": 4, "rule": 3, "event": 2, "effect": 1}


class Bar(NamedTuple):
    """A part of a lane. `kind` is its class; `of` is who or what it was about."""

    left: float
    width: float
    kind: str
    of: str | None
    start: datetime
    end: datetime | None


class Spot(NamedTuple):
    """One or several marks at a place of a lane; the first one is the most important."""

    left: float
    marks: tuple[Mark, ...]


class Track(NamedTuple):
    """A lane with everything on it. `ended` is where a bead was closed or failed, in percent."""

    lane: Lane
    bars: tuple[Bar, ...]
    spots: tuple[Spot, ...]
    ended: float | None
    lost: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """A window of time, and where in it a time is."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.end - self.start

    def place(self, at: datetime) -> float:
        """In percent from its start."""
        return (at - self.start) / self.length * 100

    def holds(self, at: datetime) -> bool:
        """Whether a time is in it."""
        return self.start <= at <= self.end

    def labels(self) -> list[datetime]:
        """Round times in it, at most eight."""
        step = next((each for each in _STEPS if self.length / each <= _LABELS), _STEPS[-1])
        midnight = self.start.replace(hour=0, minute=0, second=0, microsecond=0)
        first = midnight + -((midnight - self.start) // step) * step
        return [at for number in range(_LABELS + 2) if self.holds(at := first + number * step)]

    def moved(self, share: float) -> Window:
        """The window this much of its length later."""
        by = self.length * share
        return Window(self.start + by, self.end + by)

    def zoomed(self, factor: float) -> Window:
        """The window around the same middle, this many times as long, at least two seconds."""
        middle = self.start + self.length / 2
        half = max(self.length * factor, timedelta(seconds=2)) / 2
        return Window(middle - half, middle + half)


def tracks(timeline: Timeline, window: Window) -> list[Track]:
    """Every lane with its bars and marks."""
    about: dict[str, list[Mark]] = {}
    for mark in timeline.marks:
        for each in mark.about:
            about.setdefault(each, []).append(mark)
    crashes = _crashes(timeline.marks)
    return [_track(lane, about.get(lane.id, ()), crashes, window) for lane in timeline.lanes]


def _track(lane: Lane, marks: Sequence[Mark], crashes: Mapping[str, Sequence[datetime]], window: Window) -> Track:
    bars: list[Bar] = []
    lost: list[float] = []
    worked = False
    for span in lane.spans:
        agent = lane.id if lane.kind == "agent" else span.of
        crash = _crash_in(span, crashes.get(agent or "", ()), window) if span.doing in ("works", "reviews") else None
        kind = _kind(span, lane, worked=worked)
        worked = worked or span.doing == "works"
        bars += _bars(span, kind, window, until=crash)
        if crash is not None:
            bars += _bars(span, "lost", window, since=crash)
            lost.append(window.place(crash))
    ended = None if lane.ended_at is None or not window.holds(lane.ended_at) else window.place(lane.ended_at)
    return Track(
        lane, tuple(bars), tuple(_spots(marks, window)), ended, tuple(each for each in lost if 0 <= each <= 100)
    )


def _kind(span: Span, lane: Lane, *, worked: bool) -> str:
    if span.doing == "waits":
        return "could" if worked or lane.kind == "review" else "blocked"
    return {"works": "work", "reviews": "review", "in_review": "review", "checks": "checks"}[span.doing]


def _bars(
    span: Span, kind: str, window: Window, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[Bar]:
    start = max(since or span.start, window.start)
    end = min(until or span.end or window.end, window.end)
    if end > start:
        left = window.place(start)
        yield Bar(left, max(window.place(end) - left, 0.12), kind, span.of, span.start, span.end)


def _crashes(marks: Sequence[Mark]) -> dict[str, list[datetime]]:
    """When each agent was seen to have ended badly, or was taken for lost."""
    found: dict[str, list[datetime]] = {}
    for mark in marks:
        ended = mark.kind == "observed" and not mark.name.startswith(("done", "stopped", "completed", "exit 0", "0"))
        gone = (
            mark.kind == "rule" and mark.code in _LOST and mark.name == "transition_agent" and mark.outcome == "applied"
        )
        if ended or gone:
            for each in mark.about:
                found.setdefault(each, []).append(mark.time)
    return found


def _crash_in(span: Span, times: Sequence[datetime], window: Window) -> datetime | None:
    end = span.end or window.end
    return next((at for at in times if span.start < at < end), None)


def _spots(marks: Sequence[Mark], window: Window) -> Iterator[Spot]:
    """The marks in the window, near ones together."""
    group: list[Mark] = []
    at = 0.0
    for mark in sorted((each for each in marks if window.holds(each.time)), key=lambda each: (each.time, each.tick)):
        place = window.place(mark.time)
        if group and place - at > CLOSE:
            yield Spot(at, tuple(sorted(group, key=lambda each: -_RANK[each.kind])))
            group = []
        if not group:
            at = place
        group.append(mark)
    if group:
        yield Spot(at, tuple(sorted(group, key=lambda each: -_RANK[each.kind])))


_LETTER_WIDTH: Final = 0.9
"""Percent of a window that a letter of a label needs, on a screen of 1280 pixels with a tick opened beside the lanes."""
_RIGHT_EDGE: Final = 80


class Upright(NamedTuple):
    """A line across all lanes: another code version, changed settings, a restore."""

    left: float
    text: str
    tick: int


def uprights(timeline: Timeline, window: Window) -> list[Upright]:
    """The lines of a window."""
    found: list[Upright] = []
    before: TickLine | None = None
    for tick in timeline.ticks:
        if before is not None and before.code_version != tick.code_version and tick.restore is None:
            found.append(
                Upright(window.place(tick.time), f"code {before.code_version[:7]} → {tick.code_version[:7]}", tick.tick)
            )
        if tick.restore is not None:
            found.append(
                Upright(window.place(tick.time), f"restored to commit {tick.restore.restored_txid}", tick.tick)
            )
        before = tick
    found += [
        Upright(window.place(mark.time), "settings changed", mark.tick)
        for mark in timeline.marks
        if mark.kind == "event" and mark.name == "town_configured" and mark.outcome == "applied"
    ]
    return [each for each in found if 0 <= each.left <= 100]


def labels_of(found: Sequence[Upright]) -> list[Upright]:
    """The labels of these lines. Where several would stand on each other, the first one counts them."""
    groups: list[list[Upright]] = []
    for each in sorted(found, key=lambda one: one.left):
        if groups and _extent(each)[0] < _extent(_of_group(groups[-1]))[1]:
            groups[-1].append(each)
        else:
            groups.append([each])
    return [_of_group(group) for group in groups]


def beside(left: float) -> Literal["left", "right"]:
    """On which side of its line a label stands: near the right edge there is no room behind it."""
    return "right" if left < _RIGHT_EDGE else "left"


def _extent(label: Upright) -> tuple[float, float]:
    """From where to where a label reaches, in percent of the window."""
    width = len(label.text) * _LETTER_WIDTH
    return (label.left, label.left + width) if beside(label.left) == "right" else (label.left - width, label.left)


def _of_group(group: Sequence[Upright]) -> Upright:
    texts = Counter(each.text for each in group)
    first, *others = (
        text if count == 1 else f"{count} \N{MULTIPLICATION SIGN} {text}" for text, count in texts.items()
    )
    more = sum(texts.values()) - texts[group[0].text]
    return group[0]._replace(text=f"{first} and {more} more" if others else first)


def busy(tick: TickLine) -> int:
    """How much a tick did."""
    return tick.actions + tick.events + tick.violations


def thinned(timeline: Timeline, window: Window, *, most: int = 400) -> list[TickLine]:
    """The ticks that the ruler draws: of those that would stand on each other, the one that did most."""
    width = 100 / most
    best: dict[int, TickLine] = {}
    for tick in timeline.ticks:
        if window.holds(tick.time):
            slot = int(window.place(tick.time) / width)
            if slot not in best or busy(tick) > busy(best[slot]):
                best[slot] = tick
    return [best[slot] for slot in sorted(best)]
