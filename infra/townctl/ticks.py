"""`townctl dry-run` and `ticks`: show what the next tick would do, and what past ticks did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.arguments import TownName, content_of, json_of, require_limit, time_of
from infra.townctl.output import Answer, plain, table
from infra.townctl.paging import own_clock_note, present
from infra.townctl.people import span, when
from infra.townctl.place import Place, ThePlace
from infra.townctl.summaries import code_of, done_in, settings_words, subject_of
from infra.townctl.wording import counted
from infra.ui.short_ids import short
from infra.ui.words import reason_word
from shared.domain.errors import Refused
from shared.domain.times import from_text, to_text
from shared.questions.filters import TICKS_AT_MOST

if TYPE_CHECKING:
    from datetime import datetime

    from shared.domain.report import JudgedAction
    from shared.questions.dry_run import DryRun
    from shared.questions.tick_list import PastTick, TickList

_LIMIT_AT_MOST: Final = 100_000
_LAST_TICK: Final = 2**53 - 1


def dry_run(
    town_id: TownName,
    /,
    *,
    observe: Annotated[
        bool,
        Parameter(negative="", help="Observe the agents' processes, as a tick does; default: observe nothing."),
    ] = False,
    now: Annotated[str | None, Parameter(help="A what-if: run the tick at this time, 2026-01-10T12:00:00Z.")] = None,
    events: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="A what-if: add the events in this file (see `event post --file`); `-` is standard input.",
        ),
    ] = None,
    place: ThePlace,
) -> Answer:
    """Show what the next tick would do, without changing anything.

    With --json the answer contains the complete input, and `townctl tick --input` runs exactly that tick.
    """
    at = time_of(now, what="now")
    asked: dict[str, Any] = {"observe": observe}
    if at is not None:
        asked["now"] = to_text(at)
    if events is not None:
        asked["events"] = _events_in(events)
    shown = place.dry_run(town_id, asked)
    return Answer(shown, dry_run_view(shown))


def _events_in(file: str) -> list[Any]:
    """The events of a file: one event, a list, or an object with a list. Raises Refused."""
    try:
        given = json_of(content_of(file, what="events"), what="events")
    except Refused as problem:
        problem.hint = "give a file that `townctl event post --file` accepts"
        raise
    events = given["events"] if isinstance(given, dict) and "events" in given else given
    return events if isinstance(events, list) else [events]


def ticks(
    town_id: TownName,
    /,
    *,
    limit: Annotated[int, Parameter(help=f"The maximum number of ticks, 1 to {_LIMIT_AT_MOST}.")] = 20,
    after: Annotated[int | None, Parameter(help="Show the first ticks after this one.")] = None,
    before: Annotated[int | None, Parameter(help="Show the last ticks before this one.")] = None,
    place: ThePlace,
) -> Answer:
    """Show the journal: the input of each tick and what it did, oldest first; without --after or --before, the newest ticks.

    It includes ticks whose rows are only in published journal objects.
    """
    require_limit(limit, _LIMIT_AT_MOST)
    if after is not None and before is not None:
        hint = "give --after to go forwards, or --before to go backwards"
        raise Refused("--after and --before exclude each other", status=400, path="after", hint=hint)
    for name, value in (("after", after), ("before", before)):
        if value is not None and not 0 <= value <= _LAST_TICK:
            hint = "give the number of a tick"
            raise Refused(f"--{name} must be 0 to {_LAST_TICK}, not {value}", status=400, path=name, hint=hint)
    found = _pages(place, town_id, limit=limit, after=after, before=before)
    return Answer(found, ticks_view(found, present(place, town_id)))


def _pages(place: Place, town_id: str, *, limit: int, after: int | None, before: int | None) -> TickList:
    """The newest or next `limit` ticks, from as many pages as necessary."""
    found = place.ticks(town_id, limit=min(limit, TICKS_AT_MOST), after=after, before=before)
    while len(found.ticks) < limit:
        size = min(limit - len(found.ticks), TICKS_AT_MOST)
        if after is not None and found.next is not None:
            page = place.ticks(town_id, limit=size, after=found.next, before=None)
            found = replace(found, ticks=(*found.ticks, *page.ticks), next=page.next, notes=_both(found, page))
        elif after is None and found.previous is not None:
            page = place.ticks(town_id, limit=size, after=None, before=found.previous)
            found = replace(found, ticks=(*page.ticks, *found.ticks), previous=page.previous, notes=_both(found, page))
        else:
            break
    return found


def _both(one: TickList, other: TickList) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one.notes, *other.notes)))


def ticks_view(found: TickList, now: datetime) -> Iterator[RenderableType]:
    """Rows of the journal for people."""
    if not found.ticks:
        yield f"town {found.town_id} has no matching ticks"
        return
    rows = [_tick_row(tick, now) for tick in found.ticks]
    yield table("tick", "when", "events", "actions", "rules", "next after", rows=rows)
    yield from own_clock_note(now)
    for note in found.notes:
        yield Text(plain(note))
    if found.previous is not None:
        yield Text(f"there are earlier ticks: add --before {found.previous}")
    if found.next is not None:
        yield Text(f"there are later ticks: add --after {found.next}")


def _tick_row(tick: PastTick, now: datetime) -> tuple[object, ...]:
    outputs = tick.row["outputs"]
    done = done_in(tick.row)
    changed = "".join(f"; {settings_words(each)}" for each in tick.settings)
    if tick.restore is not None:
        return tick.tick, when(tick.time, now), plain(f"{tick.restore.says()}{changed}"), "", "", ""
    if tick.discarded_by is not None:
        done = replace(done, rules=f"{done.rules} (discarded by tick {tick.discarded_by})".strip())
    return (
        tick.tick,
        when(tick.time, now),
        plain(f"{done.events}{changed}"),
        done.actions,
        done.rules,
        _wait(tick.time, outputs["next_due_at"]),
    )


def _wait(at: datetime, due: str | None) -> str:
    return "an event" if due is None else span(from_text(due) - at)


def dry_run_view(shown: DryRun) -> Iterator[RenderableType]:
    """A dry run for people."""
    given = shown.input
    yield Text(
        f"tick {given.tick_no} of {shown.town_id} at {to_text(given.now)}: "
        + ("quiet, so it would not be committed" if shown.quiet else "it would be committed")
    )
    if shown.events:
        rows = [(event.event_id, event.event_type, event.outcome, event.error) for event in shown.events]
        yield table("event", "type", "outcome", "error", rows=rows)
    if shown.actions:
        yield table("rule", "", "action", "subject", "outcome", rows=_action_rows(shown.actions))
    else:
        yield Text("no actions")
    for wanted in shown.if_started:
        yield Text(plain(f"paused; once started: {wanted.action['type']} [{code_of(wanted.rule)}]"))
    if shown.effects:
        yield Text("effects to start: " + counted(effect.kind for effect in shown.effects))
    for violation in shown.violations:
        yield Text(plain(f"violation {violation.invariant}: {violation.message}"))
    if shown.waiting:
        reasons = ", ".join(f"{count} {_in_words(reason)}" for reason, count in shown.waiting.items())
        yield Text(f"waiting beads: {reasons}; `townctl town status {shown.town_id}` says who can end which")
    due = shown.next_due_at
    yield Text(f"next due: {'only an event can wake it' if due is None else when(due, given.now)}")


def _in_words(reason: str) -> str:
    text = reason_word(reason).text
    return text if text == reason else f"{text} ({reason})"


def _action_rows(actions: Iterable[JudgedAction]) -> Iterator[tuple[object, ...]]:
    for judged in actions:
        action = judged.action
        yield code_of(judged.rule), judged.rule, action["type"], short(subject_of(action)), judged.outcome_text
