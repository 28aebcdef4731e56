"""The lanes of a timeline as a page draws them: bars, hatches and marks, placed in percent of the window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from infra.ui import pieces, sentences

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
        gone = (
            mark.kind == "rule" and mark.code in _LOST and mark.name == "transition_agent" and mark.outcome == "applied"
        )
        if mark.is_crash or gone:
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


LETTER_WIDTH: Final = 0.6
"""Percent of a window that a letter of a label needs, on a screen of 1280 pixels."""
LETTER_WIDTH_BESIDE: Final = 0.9
"""The same with a tick opened beside the lanes."""
_RIGHT_EDGE: Final = 80
LONGEST_LABEL: Final = 40
"""Letters of the label of a line; its tooltip has all of it."""
LABEL_ROWS: Final = 4


class Upright(NamedTuple):
    """A line across all lanes: another code version, changed settings, a restore. `says` is all that there is to say about it."""

    left: float
    text: str
    tick: int
    says: str


def uprights(timeline: Timeline, window: Window) -> list[Upright]:
    """The lines of a window, in order. Each change of settings has its own, with what was changed, by whatever event."""
    found: list[Upright] = []
    before: TickLine | None = None
    for tick in timeline.ticks:
        left = window.place(tick.time)
        if before is not None and before.code_version != tick.code_version and tick.restore is None:
            text = f"code {before.code_version[:7]} → {tick.code_version[:7]}"
            found.append(Upright(left, text, tick.tick, text))
        if tick.restore is not None:
            text = f"restored to commit {tick.restore.restored_txid}"
            found.append(Upright(left, text, tick.tick, text))
        before = tick
    for mark in timeline.marks:
        if mark.kind == "event" and mark.settings:
            says = sentences.settings_of(mark)
            text = says.removesuffix(f", by {mark.by}").replace(" of rig ", " of ")
            found.append(Upright(window.place(mark.time), pieces.cut(text, LONGEST_LABEL), mark.tick, says))
    return sorted((each for each in found if 0 <= each.left <= 100), key=lambda each: (each.left, each.tick))


def labels_of(found: Sequence[Upright], *, letter: float = LETTER_WIDTH) -> list[tuple[Upright, int | None]]:
    """Each line with the row in which its label stands; None if it has no room there, so that only its mark is drawn.

    The newest ones get their place first. No label stands for another line.
    """
    rows: list[list[Upright]] = [[] for _ in range(LABEL_ROWS)]
    placed: list[tuple[Upright, int | None]] = []
    for each in reversed(found):
        free = (at for at, taken in enumerate(rows) if not any(_overlap(each, one, letter) for one in taken))
        row = next(free, None)
        if row is not None:
            rows[row].append(each)
        placed.append((each, row))
    return placed[::-1]


def _overlap(one: Upright, other: Upright, letter: float) -> bool:
    (start, end), (begin, stop) = _extent(one, letter), _extent(other, letter)
    return start < stop and begin < end


def beside(left: float) -> Literal["left", "right"]:
    """On which side of its line a label stands: near the right edge there is no room behind it."""
    return "right" if left < _RIGHT_EDGE else "left"


def _extent(label: Upright, letter: float) -> tuple[float, float]:
    """From where to where a label reaches, in percent of the window."""
    width = (len(label.text) + 2) * letter
    return (label.left, label.left + width) if beside(label.left) == "right" else (label.left - width, label.left)


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
