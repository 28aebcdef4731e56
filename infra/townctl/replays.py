"""`townctl replay`: run recorded ticks again, unchanged as a proof or with overrides as a what-if."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl import recordings
from infra.townctl.arguments import LARGEST_MIB, Largest, bytes_of_largest, content_of, json_of, time_of
from infra.townctl.output import FOUND, OK, Answer, plain, shortened, table
from infra.townctl.place import ThePlace
from infra.townctl.summaries import action_line, code_of, event_line
from infra.townctl.wording import counted, quantity
from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.history.differences import ABSENT, Difference
from shared.history.journal_rows import ticks_text
from shared.intake.asked_time import time_in
from shared.questions.snapshot import StateSnapshot
from shared.replay.replayed import Divergence, Replay, ReplayedTick, Segment
from shared.replay.what_if.comparison import Parting
from shared.replay.what_if.run import WhatIf

_WORTH_A_LINE: Final = frozenset(
    (
        "agent_metadata",
        "beads",
        "bead_dependencies",
        "convoy_metadata",
        "review_metadata",
        "escalation_metadata",
        "rigs",
    )
)
_ROWS_SHOWN: Final = 6
_IN_TOWN_NAMES: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

_Overrides = Annotated[
    str | None,
    Parameter(
        allow_leading_hyphen=True,
        help='A what-if: a file with {"config": {}, "leaveOut": [], "add": [], "shiftMs": 0}; `-` is standard input.',
    ),
]


def replay(
    target: Annotated[str, Parameter(help="A town, or a recording: a file that `townctl record` wrote.")],
    /,
    *,
    from_: Annotated[
        str | None, Parameter(name="--from", help="The start, inclusive, for a town: 2026-01-10T12:00:00Z.")
    ] = None,
    to: Annotated[str | None, Parameter(help="The end, inclusive; default: now.")] = None,
    cursor: Annotated[
        str | None, Parameter(help="Continue where the last answer ended; give --from and --to again.")
    ] = None,
    overrides: _Overrides = None,
    largest: Largest = LARGEST_MIB,
    place: ThePlace,
) -> Answer:
    """Replay the recorded ticks of a window and compare them with history; with --overrides, show what would have happened.

    Exit code 1 if the replay diverges from history, or if other code made the ticks.
    """
    if _is_file(target, from_):
        _refuse_options_of_towns({"from": from_, "to": to, "cursor": cursor, "overrides": overrides})
        return recordings.replay_file(Path(target), largest=bytes_of_largest(largest))
    if from_ is None:
        hint = f"give --from 2026-01-10T12:00:00Z; `townctl ticks {target}` shows the times of its ticks"
        raise Refused(f"--from is required to replay town {target}", status=400, path="from", hint=hint)
    end = time_of(to, what="to") or place.now(target)
    asked: dict[str, Any] = {"from": to_text(time_in(from_, "from", name="--from")), "to": to_text(end)}
    if cursor is not None:
        asked["cursor"] = cursor
    if overrides is not None:
        asked["overrides"] = _changes(overrides, cursor)
    found = place.replay(target, asked)
    if isinstance(found, WhatIf):
        return Answer(found, what_if_view(found), OK if found.history_divergence is None else FOUND)
    return Answer(found, replay_view(found), OK if found.exact else FOUND)


def _changes(file: str, cursor: str | None) -> Any:
    """The content of --overrides. Raises Refused."""
    if cursor is not None:
        hint = "leave --cursor out, and narrow the window with --from and --to"
        raise Refused("--cursor cannot be combined with --overrides", status=400, path="cursor", hint=hint)
    return json_of(content_of(file, what="overrides"), what="overrides")


def _is_file(target: str, from_: str | None) -> bool:
    """Whether the target is a file: it cannot be a town id, or the file exists and --from is not given."""
    return not set(target) <= _IN_TOWN_NAMES or (from_ is None and Path(target).is_file())


def _refuse_options_of_towns(given: Mapping[str, str | None]) -> None:
    for name, value in given.items():
        if value is not None:
            hint = f"leave --{name} out, or name a town instead of the file"
            problem = f"--{name} does not apply to a recording, which is always replayed as a whole"
            raise Refused(problem, status=400, path=name, hint=hint)


def replay_view(again: Replay) -> Iterator[RenderableType]:
    """A replay for people."""
    window = f"from {to_text(again.from_)} to {to_text(again.to)}"
    yield Text(f"{again.town_id} {window}, started from commit {again.started_from.txid}")
    if again.ticks:
        rows = [_tick_row(tick) for tick in again.ticks]
        yield table("tick", "at", "events", "actions", "rules", "equal", rows=rows)
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
        yield from _divergence_view(again.divergence)
    yield Text(f"at {to_text(again.to)}: {_state_line(again.state_snapshot)}")
    following = counted(code_of(judged.rule) for judged in again.next_actions)
    yield Text(f"next: {following}" if following else "next: nothing")
    if again.cursor is not None:
        yield Text(f"there are more ticks; to continue, add --cursor {again.cursor}")


def _state_line(state: StateSnapshot) -> str:
    beads = len(state.non_terminal_beads) + state.non_terminal_beads_omitted
    return (
        f"{quantity(len(state.agents), 'agent')}, {quantity(beads, 'live bead')}, "
        f"{quantity(state.queue.pending_events, 'pending event')}, {quantity(len(state.queue.effects), 'open effect')}"
    )


def _tick_row(tick: ReplayedTick) -> tuple[object, ...]:
    same = {True: "yes", False: "NO", None: "?"}[tick.equal]
    if tick.restore is not None:
        return tick.tick, to_text(tick.time), "", "", plain(tick.restore.says()), same
    return (
        tick.tick,
        to_text(tick.time),
        counted(event.event_type for event in tick.events),
        counted(judged.action["type"] for judged in tick.actions),
        counted(code_of(judged.rule) for judged in tick.actions),
        same if tick.compared_by != "outputs" else f"{same} (outputs only)",
    )


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


def _divergence_view(divergence: Divergence) -> Iterator[RenderableType]:
    yield Text(plain(f"first difference in tick {divergence.tick}: {divergence.reason}"), style="bold")
    rows = [(each.table, each.key, each.column, each.expected, each.got) for each in divergence.differences]
    yield table("table", "key", "column", "committed", "now", rows=rows)


def what_if_view(other: WhatIf) -> Iterator[RenderableType]:
    """A what-if for people."""
    otherwise = sum(parting.other_outputs for parting in other.partings)
    yield Text(
        f"{other.town_id} from {to_text(other.from_)} to {to_text(other.to)}: "
        f"{quantity(other.ticks_compared, 'tick')} compared, {otherwise} with different outputs, "
        f"{other.ticks_parted} with a different state"
    )
    for parting in other.partings:
        rows = [row for row in parting.rows if row.table in _WORTH_A_LINE]
        if rows or parting.other_outputs:
            yield from _parting_view(parting, rows)
    then, now = other.sum.actions_only_in_history, other.sum.actions_only_now
    counts = [(name, then.get(name, 0), now.get(name, 0)) for name in sorted({*then, *now})]
    yield table("action", "only in history", "only now", rows=counts)
    yield Text(f"at the end: {quantity(other.sum.rows_apart, 'different row')}")
    for note in other.notes:
        yield Text(plain(note))
    if other.history_divergence is not None:
        yield Text("without the overrides, the replay diverges from history:")
        yield from _divergence_view(other.history_divergence)


def _parting_view(parting: Parting, rows: Sequence[Difference]) -> Iterator[RenderableType]:
    yield Text(f"tick {parting.tick} at {to_text(parting.time)}")
    for sign, side in (("-", parting.only_in_history), ("+", parting.only_now)):
        for event in side.events:
            yield Text(plain(shortened(f"  {sign} {event_line(event)}")))
        for judged in side.actions:
            yield Text(plain(f"  {sign} {code_of(judged.rule)} {action_line(judged)}"))
        for broken in side.violations:
            yield Text(plain(f"  {sign} violation {broken.invariant}: {broken.message}"))
    for row in rows[:_ROWS_SHOWN]:
        yield Text(plain(shortened(f"    {row.table} {row.key} {_change(row)}"))[:160])
    if len(rows) > _ROWS_SHOWN:
        yield Text(f"    and {len(rows) - _ROWS_SHOWN} more; --json shows all of them")


def _change(row: Difference) -> str:
    if row.column != "*":
        return f"{row.column}: {row.expected} -> {row.got}"
    return "exists only now" if row.expected == ABSENT else "exists only in history"
