"""`townctl backtest`: recorded windows of many towns, run with the code of a working tree before it is deployed."""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.arguments import Force, require_new, window_asked, write_whole
from infra.townctl.context import TheContext
from infra.townctl.other_code import Job, OtherCode, checked_limit, checked_tree
from infra.townctl.output import FOUND, OK, Answer, plain, table
from infra.townctl.summaries import code_of
from infra.townctl.wording import quantity
from infra.ui.short_ids import short
from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.replay.backtest.changes import Change
from shared.replay.backtest.summary import Backtest, ChangesOfRule, FirstChange, Unread, summary_of
from shared.replay.backtest.window import WindowBacktest
from shared.replay.starting_point import kept_since
from shared.replay.time_window import Window

PIECE: Final = timedelta(hours=24)
"""A longer window is run in pieces of this length, each from what history had at its start."""
_MOST_JOBS: Final = 64
_WINDOW_SECONDS: Final = 3600
"""A window of a day takes seconds; one that takes this long is taken for a hang."""
_SECOND: Final = timedelta(seconds=1)

Towns = Annotated[
    list[str] | None, Parameter(name="--towns", consume_multiple=True, negative="", help="These towns; default: all.")
]
Code = Annotated[
    Path | None,
    Parameter(name="--code", help="The root of the working tree whose code is run; default: that of this townctl."),
]


def backtest(  # noqa: PLR0913 - one for each option
    *,
    towns: Towns = None,
    from_: Annotated[
        str, Parameter(name="--from", help="The start, inclusive: 2026-01-10T12:00:00Z, or how long ago: 7d.")
    ],
    to: Annotated[str | None, Parameter(help="The end, inclusive; default: now.")] = None,
    code: Code = None,
    accept: Annotated[
        bool, Parameter(negative="", help="Exit with code 0 although something differs: the differences are meant.")
    ] = False,
    junit: Annotated[Path | None, Parameter(help="Also write the result as JUnit XML to this file.")] = None,
    force: Force = False,
    jobs: Annotated[int | None, Parameter(help="Windows run at once; default: one for each core.")] = None,
    limit: Annotated[
        int, Parameter(help="Seconds that the code may take for one day of one town; then it is ended.")
    ] = _WINDOW_SECONDS,
    context: TheContext,
) -> Answer:
    """Run recorded windows of many towns with the code of a working tree, and show what it would have done otherwise.

    Nothing is changed. Exit code 1 if anything differs, unless --accept is given, or if a window cannot be run.
    """
    at_once = _checked_jobs(jobs)
    seconds = checked_limit(limit, default=_WINDOW_SECONDS)
    tree = checked_tree(code)
    if junit is not None:
        require_new(junit, force=force, what="junit")
    store = context.store()
    known = context.require_towns(store, *(towns or ()))
    objects = context.objects()
    past = StoredPast(objects, objects)
    pieces: list[Job] = []
    for town_id in sorted(set(towns or known)):
        wanted = window_asked(from_, to, now=context.clock_of(store, town_id).now)
        pieces += _pieces(town_id, wanted, drive(kept_since(town_id, past)))
    context.talk(f"running {quantity(len(pieces), 'window')} with the code in {tree}")
    with OtherCode(tree, context, children=min(at_once, max(len(pieces), 1)), limit=seconds) as children:
        found = [each for each in children.run(pieces) if each is not None]
    made = summary_of(found, accepted=accept)
    if junit is not None:
        write_whole(junit, junit_of(made, found).encode(), what="junit")
    is_ok = made.is_the_same or (accept and not any(town.problems for town in made.towns))
    return Answer(made, tuple(view(made)), OK if is_ok else FOUND)


def _checked_jobs(jobs: int | None) -> int:
    if jobs is not None and not 1 <= jobs <= _MOST_JOBS:
        hint = "leave --jobs out for one for each core"
        raise Refused(f"--jobs must be 1 to {_MOST_JOBS}, not {jobs}", status=400, path="jobs", hint=hint)
    return jobs or os.cpu_count() or 1


def _pieces(town_id: str, wanted: Window, since: datetime) -> Iterator[Job]:
    """The window in pieces. Of the time before the history that is kept there is one piece at most, which says so."""
    at, piece_end = wanted.start, max(wanted.start, since) + PIECE
    while at <= wanted.end:
        yield Job(town_id, to_text(at), to_text(min(piece_end - timedelta(milliseconds=1), wanted.end)))
        at, piece_end = piece_end, piece_end + PIECE


def view(made: Backtest) -> Iterator[RenderableType]:
    """A backtest for people: how much was run, what is otherwise by rule, where each kind is first, what could not be run."""
    size = f"{made.town_hours:,.1f} town-hours of {quantity(len(made.towns), 'town')}, {quantity(made.ticks, 'tick')}"
    same = "every tick does the same" if made.ticks else "nothing was run"
    result = f"{made.ticks_that_differ} differ" if made.ticks_that_differ else same
    yield Text(f"{size}: {result}", style="bold")
    versions = ", ".join(f"{version} ({quantity(ticks, 'tick')})" for version, ticks in made.recorded_code.items())
    yield Text(f"run with code {', '.join(made.code) or '-'}; recorded by {versions or 'none'}")
    if made.changes:
        heads = ("rule", "does", "gained", "lost", "moved", "by", "otherwise", "towns")
        yield table(*heads, rows=[_row(each) for each in made.changes])
        first = [(each, one) for each in made.changes for one in each.first]
        yield table(
            "first",
            "rule",
            "does",
            "town",
            "tick",
            "at",
            "about",
            "link",
            rows=[_first(each, one) for each, one in first],
        )
        yield Text("a link opens below the address that `townctl ui` prints")
    for town in made.towns:
        for problem in town.problems:
            yield Text(plain(f"{town.town_id}: {problem}"), style="bold")
        for note in town.notes:
            yield Text(plain(f"{town.town_id}: {note}"))
    if made.accepted and made.ticks_that_differ:
        yield Text("accepted: the differences are meant")


def _row(each: ChangesOfRule) -> tuple[object, ...]:
    return _rule(each), each.name, each.gained, each.lost, each.moved, _moved(each), each.other, len(each.towns)


def _rule(each: ChangesOfRule) -> str:
    return code_of(each.rule) if each.what == "action" else each.what


def _moved(each: ChangesOfRule) -> str:
    if not each.moved:
        return ""
    by = timedelta(milliseconds=abs(each.moved_ms))
    return f"{by / _SECOND:g} s {'earlier' if each.moved_ms < 0 else 'later'}"


def _first(each: ChangesOfRule, one: FirstChange) -> tuple[object, ...]:
    return one.kind, _rule(each), each.name, one.town_id, one.tick, to_text(one.time), short(one.subject), one.link


def junit_of(made: Backtest, found: Sequence[WindowBacktest | Unread]) -> str:
    """The result as JUnit XML: one test case for each town, which fails if something differs there or could not be run."""
    failing = [town for town in made.towns if town.problems or (town.ticks_that_differ and not made.accepted)]
    lines = ['<?xml version="1.0" encoding="UTF-8"?>']
    lines.append(f'<testsuite name="townctl backtest" tests="{len(made.towns)}" failures="{len(failing)}" errors="0">')
    for town in made.towns:
        case = f'  <testcase classname="backtest" name="{_text(plain(town.town_id))}"'
        if town not in failing:
            lines.append(f"{case}/>")
            continue
        said = "; ".join(town.problems) or f"{town.ticks_that_differ} of {quantity(town.ticks, 'tick')} differ"
        lines += [f"{case}>", f'    <failure message="{_text(plain(said))}">']
        lines += [_text(f"      {line}") for line in _changes_in(town.town_id, found)]
        lines += ["    </failure>", "  </testcase>"]
    return "\n".join([*lines, "</testsuite>", ""])


_IN_A_CASE: Final = 20


def _changes_in(town_id: str, found: Sequence[WindowBacktest | Unread]) -> Iterator[str]:
    changes = [
        change
        for each in found
        if each.town_id == town_id and isinstance(each, WindowBacktest)
        for change in each.changes
    ]
    for change in changes[:_IN_A_CASE]:
        yield plain(f"tick {change.tick} at {to_text(change.time)}: {told(change)}")
    if len(changes) > _IN_A_CASE:
        yield f"and {len(changes) - _IN_A_CASE} more"


def told(change: Change) -> str:
    """A change in one line: its kind, the rule's code, and what is done to what."""
    rule = f"{code_of(change.rule)} " if change.rule else ""
    return f"{change.kind} {rule}{change.name} {change.subject}".rstrip()


def _text(line: str) -> str:
    """A text as XML has it, between tags or between quotation marks."""
    return escape(line)
