"""`townctl replay`: run recorded ticks again, unchanged as a proof or with overrides as a what-if."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl import recordings
from infra.townctl.arguments import LARGEST_MIB, Largest, bytes_of_largest, is_ago, json_or_file, past_time_of
from infra.townctl.output import FOUND, OK, Answer, plain, table
from infra.townctl.people import when
from infra.townctl.place import Place, ThePlace
from infra.townctl.summaries import code_of
from infra.townctl.what_if_view import divergence_view, what_if_view
from infra.townctl.wording import counted, quantity
from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.history.journal_rows import ticks_text
from shared.questions.snapshot import StateSnapshot
from shared.replay.replayed import Replay, ReplayedTick, Segment
from shared.replay.what_if.run import WhatIf

_TICKS_SHOWN: Final = 20
_VALUE_SHOWN: Final = 40
_IN_TOWN_NAMES: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

_KEPT_FROM: Final = re.compile(r"^set `from` to (\S+) or later$")
"""The hint of the refusal of a window that begins before the kept history."""

_Overrides = Annotated[
    str | None,
    Parameter(
        allow_leading_hyphen=True,
        help='A what-if: {"config": {}, "leaveOut": [], "add": [], "shiftMs": 0}, or a file that contains it; `-` is standard '
        "input.",
    ),
]


def replay(
    target: Annotated[str, Parameter(help="A town, or a recording: a file that `townctl record` wrote.")],
    /,
    *,
    from_: Annotated[
        str | None,
        Parameter(name="--from", help="The start, inclusive, for a town: 2026-01-10T12:00:00Z, or how long ago: 1h."),
    ] = None,
    to: Annotated[str | None, Parameter(help="The end, inclusive; default: the last tick.")] = None,
    cursor: Annotated[
        str | None, Parameter(help="Continue where the last answer ended; give --from and --to again.")
    ] = None,
    overrides: _Overrides = None,
    all_: Annotated[
        bool, Parameter(name="--all", negative="", help="Show every tick, not only those that differ.")
    ] = False,
    largest: Largest = LARGEST_MIB,
    place: ThePlace,
) -> Answer:
    """Replay the recorded ticks of a window and compare them with history; with --overrides, show what would have happened.

    Exit code 1 if a tick differs from history or the replay cannot go on; 0 if the installed code gives the same result.
    """
    if _is_file(target, from_):
        _refuse_options_of_towns({"from": from_, "to": to, "cursor": cursor, "overrides": overrides})
        return recordings.replay_file(Path(target), largest=bytes_of_largest(largest))
    if from_ is None:
        hint = f"give --from 2026-01-10T12:00:00Z or --from 1h; `townctl ticks {target}` shows the times of its ticks"
        raise Refused(f"--from is required to replay town {target}", status=400, path="from", hint=hint)
    now = partial(place.now, target)
    start = past_time_of(from_, what="from", now=now)
    end = _last_tick(place, target, start) if to is None else past_time_of(to, what="to", now=now)
    asked: dict[str, Any] = {"from": to_text(start), "to": to_text(end)}
    if cursor is not None:
        asked["cursor"] = cursor
    if overrides is not None:
        asked["overrides"] = _changes(overrides, cursor)
    found, note = _replayed(place, target, asked, from_=from_)
    if isinstance(found, WhatIf):
        code = OK if found.history_divergence is None else FOUND
        return Answer(found, (*note, *what_if_view(found, every=all_)), code)
    return Answer(found, (*note, *replay_view(found, every=all_)), FOUND if _differs(found) else OK)


def _replayed(
    place: Place, town_id: str, asked: Mapping[str, Any], *, from_: str
) -> tuple[Replay | WhatIf, tuple[Text, ...]]:
    """The answer. Who wrote how long ago the window begins means at most all that is kept, so then it begins there, and a note
    says so. Raises Refused.
    """
    try:
        return place.replay(town_id, dict(asked)), ()
    except Refused as refused:
        kept = _KEPT_FROM.search(refused.hint) if is_ago(from_) else None
        if kept is None:
            raise
    ago = f"{from_.removesuffix('ago').strip()} ago"
    note = Text(f"the kept history of {town_id} begins later than {ago}, at {kept[1]}: the window begins there")
    return place.replay(town_id, {**asked, "from": kept[1]}), (note,)


def _last_tick(place: Place, town_id: str, start: datetime) -> datetime:
    """The time of the last tick; the present time if the window begins behind it, so that the window is not empty."""
    newest = place.ticks(town_id, limit=1, after=None, before=None).ticks
    return newest[-1].time if newest and newest[-1].time >= start else place.now(town_id)


def _differs(again: Replay) -> bool:
    """Whether a tick gave another result, or could not be run."""
    different = any(segment.equal is False for segment in again.segments)
    return different or again.divergence is not None or again.stopped is not None


def _changes(given: str, cursor: str | None) -> Any:
    """The content of --overrides. Raises Refused."""
    if cursor is not None:
        hint = "leave --cursor out, and narrow the window with --from and --to"
        raise Refused("--cursor cannot be combined with --overrides", status=400, path="cursor", hint=hint)
    return json_or_file(given, what="overrides")


def _is_file(target: str, from_: str | None) -> bool:
    """Whether the target is a file: it cannot be a town id, or the file exists and --from is not given."""
    return not set(target) <= _IN_TOWN_NAMES or (from_ is None and Path(target).is_file())


def _refuse_options_of_towns(given: Mapping[str, str | None]) -> None:
    for name, value in given.items():
        if value is not None:
            hint = f"leave --{name} out, or name a town instead of the file"
            problem = f"--{name} does not apply to a recording, which is always replayed as a whole"
            raise Refused(problem, status=400, path=name, hint=hint)


def replay_view(again: Replay, *, every: bool = False) -> Iterator[RenderableType]:
    """A replay for people: its result, and the ticks that differ or, with `every`, all of them."""
    window = f"from {to_text(again.from_)} to {to_text(again.to)}"
    yield Text(f"{again.town_id} {window}, started from commit {again.started_from.txid}")
    yield Text(_result_line(again), style="bold")
    wanted = [tick for tick in again.ticks if every or tick.equal is not True]
    shown = wanted if every else wanted[:_TICKS_SHOWN]
    if shown:
        heads = ("tick", "at", "events", "actions", "rules", "equal", "first difference: committed -> now")
        yield table(*heads, rows=[_tick_row(tick) for tick in shown])
    if len(wanted) > len(shown):
        yield Text(
            f"and {quantity(len(wanted) - len(shown), 'more tick')}; --all shows every tick, --json every difference"
        )
    for tick in again.ticks:
        if tick.note is not None and tick.restore is None:
            yield Text(plain(f"tick {tick.tick}: {tick.note}"))
    for segment in again.segments:
        yield Text(_segment_line(segment))
    for note in again.notes:
        yield Text(plain(note))
    if again.stopped is not None:
        yield Text(plain(again.stopped), style="bold")
    if again.divergence is not None:
        yield from divergence_view(again.divergence)
    yield Text(f"at {to_text(again.to)}: {_state_line(again.state_snapshot)}")
    yield Text(_next_line(again))
    if again.cursor is not None:
        yield Text(f"there are more ticks; to continue, add --cursor {again.cursor}")


def _result_line(again: Replay) -> str:
    ticks = quantity(len(again.ticks), "tick")
    different = sum(tick.equal is False for tick in again.ticks)
    unproven = sum(tick.equal is None for tick in again.ticks)
    if not again.ticks:
        return "no tick was replayed" if again.divergence or again.stopped else "the window has no tick"
    if different:
        return f"{ticks} replayed: {different} {'differs' if different == 1 else 'differ'} from history"
    if again.divergence is not None or again.stopped is not None:
        return f"{ticks} replayed before the replay had to stop"
    same = f"{ticks} replayed, and the installed code gives the same result"
    other = {segment.code_version for segment in again.segments if segment.kind == "what_if"}
    made = f"; other code made {'some of them' if len(again.segments) > len(other) else 'them'}" if other else ""
    unknown = f"; {unproven} cannot be compared" if unproven else ""
    return f"{same}{made}{unknown}"


def _next_line(again: Replay) -> str:
    """When the town was due next, in the words of `townctl status`, and what it would have done then."""
    due = again.state_snapshot.next_due_at
    following = counted(code_of(judged.rule) for judged in again.next_actions)
    if again.state_snapshot.paused:
        return "next: nothing, because the town is paused"
    if due is None:
        return f"next: {following}" if following else "next: only an event can wake it"
    when_due = "due now" if due <= again.to else f"due {when(due, again.to)}"
    return f"next: {following}, {when_due}" if following else f"next: {when_due}"


def _state_line(state: StateSnapshot) -> str:
    beads = len(state.non_terminal_beads) + state.non_terminal_beads_omitted
    return (
        f"{quantity(len(state.agents), 'agent')}, {quantity(beads, 'live bead')}, "
        f"{quantity(state.queue.pending_events, 'pending event')}, {quantity(len(state.queue.effects), 'open effect')}"
    )


def _tick_row(tick: ReplayedTick) -> tuple[object, ...]:
    same = {True: "yes", False: "NO", None: "?"}[tick.equal]
    if tick.restore is not None:
        return tick.tick, to_text(tick.time), "", "", plain(tick.restore.says()), same, ""
    return (
        tick.tick,
        to_text(tick.time),
        counted(event.event_type for event in tick.events),
        counted(judged.action["type"] for judged in tick.actions),
        counted(code_of(judged.rule) for judged in tick.actions),
        same if tick.compared_by != "outputs" else f"{same} (outputs only)",
        _first_difference(tick),
    )


def _first_difference(tick: ReplayedTick) -> str:
    """The first difference, and how many there are more."""
    if not tick.differences:
        return ""
    first = tick.differences[0]
    place = f"{first.table} {first.key} {first.column}".removeprefix(f"ticks {tick.tick} ")
    values = (str(value)[:_VALUE_SHOWN] for value in (first.expected, first.got))
    more = f", and {len(tick.differences) - 1} more" if len(tick.differences) > 1 else ""
    return plain(f"{place}: {' -> '.join(values)}{more}")


def _segment_line(segment: Segment) -> str:
    ticks = ticks_text(segment.first_tick, segment.last_tick)
    if segment.kind == "what_if":
        found = {True: "gives the same result", False: "diverges", None: "cannot be compared"}
        return f"{ticks}: made by code {segment.code_version}; the installed code {found[segment.equal]}"
    found = {
        True: "equal to history",
        False: "DIVERGES FROM HISTORY",
        None: "cannot be compared, because history has nothing to compare it with",
    }
    return f"{ticks}: {found[segment.equal]}"
