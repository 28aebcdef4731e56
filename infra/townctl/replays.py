"""`townctl replay`: run recorded ticks again, unchanged as a proof or with overrides as a what-if."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl import recordings
from infra.townctl.arguments import content_of, json_of, time_of
from infra.townctl.output import FOUND, OK, Answer, plain, shortened, table
from infra.townctl.place import ThePlace
from infra.townctl.summaries import action_line, code_of
from infra.townctl.wording import counted, quantity
from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.history.differences import ABSENT
from shared.history.journal_rows import ticks_text
from shared.intake.asked_time import time_in

_KINDS: Final = ("events", "actions", "effects", "violations")
_SIDES: Final = ("onlyInHistory", "onlyNow")
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
    place: ThePlace,
) -> Answer:
    """Replay the recorded ticks of a window and compare them with history; with --overrides, show what would have happened.

    Exit code 1 if the replay diverges from history, or if other code made the ticks.
    """
    if _is_file(target, from_):
        _refuse_options_of_towns({"from": from_, "to": to, "cursor": cursor, "overrides": overrides})
        return recordings.replay_file(Path(target))
    if from_ is None:
        hint = f"give --from 2026-01-10T12:00:00Z; `townctl ticks {target}` shows the times of its ticks"
        raise Refused(f"--from is required to replay town {target}", status=400, path="from", hint=hint)
    end = time_of(to, what="to") or place.now(target)
    asked: dict[str, Any] = {"from": to_text(time_in(from_, "from", name="--from")), "to": to_text(end)}
    if cursor is not None:
        asked["cursor"] = cursor
    if overrides is not None:
        asked["overrides"] = _changes(overrides, cursor)
    return _answered(place.replay(target, asked), is_what_if=overrides is not None)


def _changes(file: str, cursor: str | None) -> Any:
    """The content of --overrides. Raises Refused."""
    if cursor is not None:
        hint = "leave --cursor out, and narrow the window with --from and --to"
        raise Refused("--cursor cannot be combined with --overrides", status=400, path="cursor", hint=hint)
    return json_of(content_of(file, what="overrides"), what="overrides")


def _answered(found: Any, *, is_what_if: bool) -> Answer:
    if is_what_if:
        return Answer(found, tuple(what_if_view(found)), OK if found["historyDivergence"] is None else FOUND)
    return Answer(found, tuple(replay_view(found)), OK if found["exact"] else FOUND)


def _is_file(target: str, from_: str | None) -> bool:
    """Whether the target is a file: it cannot be a town id, or the file exists and --from is not given."""
    return not set(target) <= _IN_TOWN_NAMES or (from_ is None and Path(target).is_file())


def _refuse_options_of_towns(given: Mapping[str, str | None]) -> None:
    for name, value in given.items():
        if value is not None:
            hint = f"leave --{name} out, or name a town instead of the file"
            problem = f"--{name} does not apply to a recording, which is always replayed as a whole"
            raise Refused(problem, status=400, path=name, hint=hint)


def replay_view(document: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A replay for people, from its document."""
    ticks = document["ticks"]
    first, started = document["from"], document["startedFrom"]
    yield Text(f"{document['townId']} from {first} to {document['to']}, started from commit {started['txid']}")
    if ticks:
        yield table("tick", "at", "events", "actions", "rules", "equal", rows=[_tick_row(tick) for tick in ticks])
    for segment in document["segments"]:
        yield Text(_segment_line(segment))
    for note in document["notes"]:
        yield Text(plain(note))
    if document["stopped"] is not None:
        yield Text(plain(document["stopped"]), style="bold")
    if document["divergence"] is not None:
        yield from _divergence_view(document["divergence"])
    state = document["stateSnapshot"]
    yield Text(
        f"at {document['to']}: {quantity(len(state['agents']), 'agent')}, "
        f"{quantity(len(state['nonTerminalBeads']), 'live bead')}, "
        f"{quantity(state['queue']['pendingEvents'], 'pending event')}, "
        f"{quantity(len(state['queue']['effects']), 'open effect')}"
    )
    following = counted(code_of(judged["rule"]) for judged in document["nextActions"])
    yield Text(f"next: {following}" if following else "next: nothing")
    if document["cursor"] is not None:
        yield Text(f"there are more ticks; to continue, add --cursor {document['cursor']}")


def _tick_row(tick: Mapping[str, Any]) -> tuple[object, ...]:
    same = {True: "yes", False: "NO", None: "?"}[tick["equal"]]
    return (
        tick["tick"],
        tick["time"],
        counted(event["event_type"] for event in tick["events"]),
        counted(judged["action"]["type"] for judged in tick["actions"]),
        counted(code_of(judged["rule"]) for judged in tick["actions"]),
        same if tick["comparedBy"] != "outputs" else f"{same} (outputs only)",
    )


def _segment_line(segment: Mapping[str, Any]) -> str:
    ticks = ticks_text(segment["firstTick"], segment["lastTick"])
    if segment["kind"] == "what_if":
        found = {True: "gives the same result", False: "diverges", None: "cannot be compared"}
        return f"{ticks}: made by code {segment['codeVersion']}; the installed code {found[segment['equal']]}"
    found = {
        True: "equal to history",
        False: "DIVERGES FROM HISTORY",
        None: "cannot be compared, because history has nothing to compare it with",
    }
    return f"{ticks}: {found[segment['equal']]}"


def _divergence_view(divergence: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield Text(plain(f"first difference in tick {divergence['tick']}: {divergence['reason']}"), style="bold")
    yield table("table", "key", "column", "committed", "now", rows=_difference_rows(divergence["differences"]))


def _difference_rows(differences: Iterable[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    return [(each["table"], each["key"], each["column"], each["expected"], each["got"]) for each in differences]


def what_if_view(document: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A what-if for people, from its document."""
    otherwise = sum(any(parting[kind][side] for kind in _KINDS for side in _SIDES) for parting in document["partings"])
    yield Text(
        f"{document['townId']} from {document['from']} to {document['to']}: "
        f"{quantity(document['ticksCompared'], 'tick')} compared, {otherwise} with different outputs, "
        f"{document['ticksParted']} with a different state"
    )
    for parting in document["partings"]:
        rows = [row for row in parting["rows"] if row["table"] in _WORTH_A_LINE]
        if not rows and not any(parting[kind][side] for kind in _KINDS for side in _SIDES):
            continue
        yield from _parting_view(parting, rows)
    counts = document["sum"]
    yield table(
        "action",
        "only in history",
        "only now",
        rows=[
            (name, counts["actionsOnlyInHistory"].get(name, 0), counts["actionsOnlyNow"].get(name, 0))
            for name in sorted({*counts["actionsOnlyInHistory"], *counts["actionsOnlyNow"]})
        ],
    )
    yield Text(f"at the end: {quantity(counts['rowsApart'], 'different row')}")
    for note in document["notes"]:
        yield Text(plain(note))
    if document["historyDivergence"] is not None:
        yield Text("without the overrides, the replay diverges from history:")
        yield from _divergence_view(document["historyDivergence"])


def _parting_view(parting: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    yield Text(f"tick {parting['tick']} at {parting['time']}")
    for sign, side in (("-", "onlyInHistory"), ("+", "onlyNow")):
        for event in parting["events"][side]:
            line = f"  {sign} event {event['event_type']} {event['event_id']}: {event['outcome']}"
            yield Text(plain(shortened(line)))
        for judged in parting["actions"][side]:
            yield Text(plain(f"  {sign} {code_of(judged['rule'])} {action_line(judged)}"))
        for broken in parting["violations"][side]:
            yield Text(plain(f"  {sign} violation {broken['invariant']}: {broken['message']}"))
    for row in rows[:_ROWS_SHOWN]:
        yield Text(plain(shortened(f"    {row['table']} {row['key']} {_change(row)}"))[:160])
    if len(rows) > _ROWS_SHOWN:
        yield Text(f"    and {len(rows) - _ROWS_SHOWN} more; --json shows all of them")


def _change(row: Mapping[str, Any]) -> str:
    if row["column"] != "*":
        return f"{row['column']}: {row['expected']} -> {row['got']}"
    return "exists only now" if row["expected"] == ABSENT else "exists only in history"
