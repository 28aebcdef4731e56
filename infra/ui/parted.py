"""Two histories side by side: what happened, and what a what-if says would have happened, bead by bead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from infra.ui import words

if TYPE_CHECKING:
    from shared.questions.lanes import Lane
    from shared.questions.timeline import Timeline
    from shared.replay.what_if.ends import BeadEnd
    from shared.replay.what_if.run import WhatIf

Kind = Literal["same", "unknown", "earlier", "later", "gained", "lost", "never", "other"]
ABSENT: Final = "(no such row)"
_OVER: Final = frozenset({"closed", "failed"})
_NOTABLE: Final = timedelta(seconds=1)


class Stretch(NamedTuple):
    """A status of a bead from a time on; `end` is None up to the end of the window."""

    status: str
    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Pair:
    """A bead in both histories, and what the change means for it. From `unknown_since` on, `now` is what would have happened if
    nobody had answered: history does not know more.
    """

    bead: str
    title: str
    then: tuple[Stretch, ...]
    now: tuple[Stretch, ...]
    kind: Kind
    by: timedelta
    what: str
    unknown_since: datetime | None = None


def pairs_of(timeline: Timeline, found: WhatIf) -> list[Pair]:
    """Every bead whose status differs at some time, those that change most first; then those that stay the same."""
    differences = _differences(found)
    titles = {lane.id: lane.title for lane in timeline.lanes}
    lanes = {lane.id: lane for lane in timeline.lanes if lane.kind == "bead"}
    pairs = [_pair(lanes[bead], differences.get(bead, []), found) for bead in lanes]
    new = [
        _new(bead, changes, titles, found)
        for bead, changes in differences.items()
        if bead not in lanes and _is_new(changes)
    ]
    ends = {end.bead_id: end for end in found.beads}
    known = {pair.bead for pair in (*pairs, *new)}
    only_at_the_end = [
        Pair(end.bead_id, end.title, (), (), "same", timedelta(0), "the same")
        for end in found.beads
        if end.bead_id not in known
    ]
    judged = [_with_end(pair, ends.get(pair.bead), found) for pair in (*pairs, *new, *only_at_the_end)]
    return sorted(judged, key=lambda pair: (pair.kind == "same", pair.kind != "unknown", -abs(pair.by), pair.title))


def _with_end(pair: Pair, end: BeadEnd | None, found: WhatIf) -> Pair:
    """The pair as its end is known: a bead whose end is unknown neither lands nor fails."""
    if end is None:
        return pair
    if not end.known:
        times = [each.time for each in found.unknown_effects if each.bead_id == end.bead_id]
        since = min(times, default=min((each.time for each in found.unknown_effects), default=found.from_))
        return replace(pair, kind="unknown", by=timedelta(0), what="not known", unknown_since=since)
    return pair if pair.kind != "same" else replace(pair, kind="other", what=_ends(end))


def _ends(end: BeadEnd) -> str:
    """How a bead ends that was never seen with another status: its status, or the reason for which it waits."""
    if end.now is None:
        return "never exists"
    if end.then is None:
        return "exists only what if"
    if end.now.status != end.then.status:
        return f"ends {words.bead_word(end.now.status).text.lower()} instead of {words.bead_word(end.then.status).text.lower()}"
    now, then = (words.reason_word(each.reason).text for each in (end.now, end.then))
    return f"waits {now} instead of {then}" if now != then else "waits for another bead"


def _differences(found: WhatIf) -> dict[str, list[tuple[datetime, str]]]:
    """By bead: from when on its status is another one, and which."""
    differing: dict[str, list[tuple[datetime, str]]] = {}
    for parting in found.partings:
        for row in parting.rows:
            if row.table == "beads" and row.column in ("status", "*"):
                differing.setdefault(row.key, []).append((parting.time, _status(row.got)))
    return differing


def _status(got: object) -> str:
    text = str(got)
    if text == ABSENT:
        return ABSENT
    _, mark, rest = text.partition('"status":"')
    return rest.partition('"')[0] if mark else text


def _is_new(changes: Sequence[tuple[datetime, str]]) -> bool:
    return any(status != ABSENT for _, status in changes)


def _pair(lane: Lane, changes: Sequence[tuple[datetime, str]], found: WhatIf) -> Pair:
    then = tuple(_clipped(_history(lane), found))
    now = tuple(_merged(then, changes, found)) if changes else then
    kind, by, what = _meaning(then, now, changes)
    return Pair(lane.id, lane.title, then, now, kind, by, what)


def _new(bead: str, changes: Sequence[tuple[datetime, str]], titles: Mapping[str, str], found: WhatIf) -> Pair:
    now = tuple(_merged((), changes, found))
    return Pair(bead, titles.get(bead, bead), (), now, "gained", timedelta(0), "only what if")


def _history(lane: Lane) -> Iterator[Stretch]:
    for span in lane.spans:
        status = {"waits": "open", "works": "in_progress", "in_review": "in_review"}.get(span.doing, "in_review")
        yield Stretch(status, span.start, span.end)
    if lane.ended_at is not None:
        yield Stretch(lane.status if lane.status in _OVER else "closed", lane.ended_at, None)


def _clipped(stretches: Iterator[Stretch], found: WhatIf) -> Iterator[Stretch]:
    for each in stretches:
        if (each.end is None or each.end > found.from_) and each.start < found.to:
            yield Stretch(
                each.status,
                max(each.start, found.from_),
                None if each.end is None or each.end >= found.to else each.end,
            )


def _merged(then: Sequence[Stretch], changes: Sequence[tuple[datetime, str]], found: WhatIf) -> Iterator[Stretch]:
    """What if: the status of history, except where a tick made another one of it."""
    moments = sorted(
        [*((each.start, each.status, 0) for each in then), *((at, status, 1) for at, status in changes)],
        key=lambda each: (each[0], each[2]),
    )
    kept: list[tuple[datetime, str]] = []
    for at, status, _ in moments:
        if kept and kept[-1][0] == at:
            kept.pop()
        if not kept or kept[-1][1] != status:
            kept.append((at, status))
    for place, (at, status) in enumerate(kept):
        if status != ABSENT and at < found.to:
            yield Stretch(status, at, kept[place + 1][0] if place + 1 < len(kept) else None)


def _meaning(
    then: Sequence[Stretch], now: Sequence[Stretch], changes: Sequence[tuple[datetime, str]]
) -> tuple[Kind, timedelta, str]:
    """What the change means for a bead, in a few words."""
    if not changes or then == now:
        return "same", timedelta(0), "the same"
    if not now:
        return "never", timedelta(0), "never exists"
    for wanted, verb in (
        ("closed", "lands"),
        ("failed", "fails"),
        ("in_review", "is handed in"),
        ("in_progress", "starts"),
    ):
        before, after = _first(then, wanted), _first(now, wanted)
        if before is None and after is None:
            continue
        if after is None and wanted == "closed" and _first(now, "failed") is not None:
            return "lost", timedelta(0), "fails instead of landing"
        if before is None and wanted == "closed" and _first(then, "failed") is not None:
            return "gained", timedelta(0), "lands instead of failing"
        if before is None:
            return "lost" if wanted == "failed" else "gained", timedelta(0), f"{verb}, which it did not"
        if after is None:
            return "gained" if wanted == "failed" else "lost", timedelta(0), f"no longer {verb} in this window"
        if abs(after - before) >= _NOTABLE:
            return (
                ("earlier" if after < before else "later"),
                before - after,
                f"{verb} {{}} {'earlier' if after < before else 'later'}",
            )
    return "other", timedelta(0), "goes another way"


def _first(stretches: Sequence[Stretch], status: str) -> datetime | None:
    return next((each.start for each in stretches if each.status == status), None)


def told(pair: Pair, spoken: str) -> str:
    """What the change means, with the length of time in words."""
    return pair.what.replace("{}", spoken)
