"""The summary of a backtest over many windows: what would be otherwise, by rule and action, and where each kind happens first."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Literal, Self

from shared.domain.shapes import Time, answer
from shared.replay.backtest.changes import Change, ChangeKind
from shared.replay.backtest.window import WindowBacktest

_HOUR = timedelta(hours=1)


@answer
class FirstChange:
    """The earliest change of a kind: where it is, and how to look at it. `link` is an address of `townctl ui`, below its own."""

    kind: ChangeKind
    town_id: str
    tick: int
    time: Time
    subject: str
    link: str

    @classmethod
    def of(cls, town_id: str, change: Change) -> Self:
        """The place of a change."""
        link = f"/t/{town_id}/timeline?span=all&tick={change.tick}"
        return cls(change.kind, town_id, change.tick, change.time, change.subject, link)


@answer
class ChangesOfRule:
    """The changes of one type of action that one rule asks for, of one type of event, of one invariant, or of
    the orders of one kind of effect.

    `moved_ms` is the median of how much later those that moved happen; negative if they happen earlier.
    """

    what: Literal["action", "event", "violation", "order"]
    rule: str
    name: str
    gained: int
    lost: int
    moved: int
    other: int
    moved_ms: int
    towns: tuple[str, ...]
    first: tuple[FirstChange, ...]


@answer
class TownBacktest:
    """One town: how many ticks were run and differ, and what could not be run, with the reason."""

    town_id: str
    hours: float
    ticks: int
    ticks_that_differ: int
    changes: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


@answer
class Backtest:
    """What other code would have done in recorded windows. `code` is the version that ran them, `recorded_code` how many ticks
    each other version had run.
    """

    code: tuple[str, ...]
    recorded_code: dict[str, int]
    town_hours: float
    ticks: int
    ticks_that_differ: int
    towns: tuple[TownBacktest, ...]
    changes: tuple[ChangesOfRule, ...]
    accepted: bool

    @property
    def is_the_same(self) -> bool:
        """Whether the code would have done the same everywhere, as far as it could be run."""
        return not self.ticks_that_differ and not any(town.problems for town in self.towns)


@answer
class Unread:
    """A window that could not be run, and why."""

    town_id: str
    problem: str


def summary_of(found: Sequence[WindowBacktest | Unread], *, accepted: bool) -> Backtest:
    """The summary of these windows."""
    windows = [each for each in found if isinstance(each, WindowBacktest)]
    recorded: Counter[str] = Counter()
    for window in windows:
        recorded.update(window.recorded_code)
    return Backtest(
        code=tuple(sorted({window.code for window in windows})),
        recorded_code=dict(sorted(recorded.items())),
        town_hours=round(sum(_hours(window) for window in windows), 2),
        ticks=sum(window.ticks for window in windows),
        ticks_that_differ=sum(window.ticks_that_differ for window in windows),
        towns=tuple(_of_town(town_id, found) for town_id in sorted({each.town_id for each in found})),
        changes=tuple(_by_rule(windows)),
        accepted=accepted,
    )


def _of_town(town_id: str, found: Iterable[WindowBacktest | Unread]) -> TownBacktest:
    mine = [each for each in found if each.town_id == town_id]
    windows = [each for each in mine if isinstance(each, WindowBacktest)]
    problems = [
        each.problem if isinstance(each, Unread) else f"the code failed in {each.failed}"
        for each in mine
        if _fails(each)
    ]
    return TownBacktest(
        town_id=town_id,
        hours=round(sum(_hours(window) for window in windows), 2),
        ticks=sum(window.ticks for window in windows),
        ticks_that_differ=sum(window.ticks_that_differ for window in windows),
        changes=sum(len(window.changes) for window in windows),
        problems=tuple(problems),
        notes=tuple(dict.fromkeys(note for window in windows for note in window.notes)),
    )


def _fails(each: WindowBacktest | Unread) -> bool:
    return isinstance(each, Unread) or each.failed is not None


def _by_rule(windows: Iterable[WindowBacktest]) -> Iterator[ChangesOfRule]:
    """The changes by rule, those that occur most first."""
    kept: dict[tuple[str, str, str], list[tuple[str, Change]]] = defaultdict(list)
    for window in windows:
        for change in window.changes:
            kept[(change.what, change.rule, change.name)].append((window.town_id, change))
    for _, changes in sorted(kept.items(), key=lambda each: (-len(each[1]), each[0])):
        yield _changes_of_rule(changes)


def _changes_of_rule(changes: Sequence[tuple[str, Change]]) -> ChangesOfRule:
    counts = Counter(change.kind for _, change in changes)
    moves = sorted(change.moved_ms for _, change in changes if change.kind == "moved")
    first: dict[ChangeKind, FirstChange] = {}
    for town_id, change in sorted(changes, key=lambda each: (each[1].time, each[0], each[1].tick)):
        first.setdefault(change.kind, FirstChange.of(town_id, change))
    _, one = changes[0]
    return ChangesOfRule(
        what=one.what,
        rule=one.rule,
        name=one.name,
        gained=counts["gained"],
        lost=counts["lost"],
        moved=counts["moved"],
        other=counts["other"],
        moved_ms=moves[len(moves) // 2] if moves else 0,
        towns=tuple(sorted({town_id for town_id, _ in changes})),
        first=tuple(first.values()),
    )


def _hours(window: WindowBacktest) -> float:
    return (window.to - window.from_) / _HOUR
