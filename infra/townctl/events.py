"""`townctl event`: post events to a town's inbox, list events, show one in full, redrive a poisoned one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.arguments import TownName, content_of, json_of, require_limit
from infra.townctl.output import Answer, compact, plain, table
from infra.townctl.paging import LONGEST_ID, CursorOption, LimitOption, listed, present, require_filter
from infra.townctl.people import when
from infra.townctl.place import ThePlace
from infra.ui.short_ids import short
from shared.adapters import ids
from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.questions.filters import LIMIT_AT_MOST, EventFilter, StateFilter

if TYPE_CHECKING:
    from shared.questions.event_entries import EventEntry
    from shared.questions.event_view import EventView
    from shared.questions.receipts import AcceptedEvents


def post(
    town_id: TownName,
    /,
    *,
    file: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help='A file with one event, a list of 1 to 100, or {"events": [...]}; `-` is standard input.',
        ),
    ] = None,
    event_type: Annotated[
        str | None, Parameter(name="--type", help="Instead of a file: the type of one event, for example bead_created.")
    ] = None,
    agent: Annotated[str | None, Parameter(help="The agent that the event is about.")] = None,
    bead: Annotated[str | None, Parameter(help="The bead that the event is about.")] = None,
    payload: Annotated[str | None, Parameter(help="The payload as a JSON object.")] = None,
    event_id: Annotated[
        str | None,
        Parameter(name="--id", help="8 to 128 characters, the same on every retry; default: a new id."),
    ] = None,
    place: ThePlace,
) -> Answer:
    """Post events. An accepted event is stored; `townctl event list` shows its outcome once a tick has applied it."""
    body = body_of(file, type=event_type, agent=agent, bead=bead, payload=payload, id=event_id)
    try:
        return _accepted(place.post(town_id, body))
    except Refused as problem:
        raise _with_hint(problem, where="" if file is None else "--file: ") from None


def list_(
    town_id: TownName,
    /,
    *,
    state: Annotated[
        StateFilter | None,
        Parameter(help="Only events in this state; pending: in the inbox, or stored and waiting for another attempt."),
    ] = None,
    pending: Annotated[bool, Parameter(negative="", help="The same as --state pending.")] = False,
    poisoned: Annotated[
        bool, Parameter(negative="", help="The same as --state poisoned: only events that failed permanently.")
    ] = False,
    type_: Annotated[str | None, Parameter(name="--type", help="Only events of this type.")] = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    place: ThePlace,
) -> Answer:
    """List events with their outcomes, newest first: events in the inbox, stored events, and repeats of a known id."""
    require_limit(limit, LIMIT_AT_MOST)
    require_filter("type", type_, at_most=LONGEST_ID)
    wanted = EventFilter(_state(state, pending=pending, poisoned=poisoned), type_)
    found = place.events(town_id, wanted, limit=limit, cursor=cursor)
    columns = ("type", "outcome", "error", "about", "tick", "received", "by", "seq", "event")
    now = present(place, town_id)
    rows = [_row(event, now) for event in found.events]
    return listed(found, *columns, rows=rows, now=now, none=f"town {town_id} has no matching events", after=found.next)


def show(
    town_id: TownName,
    event_id: Annotated[str, Parameter(help="The event's id, as `townctl event list TOWN` shows it.")],
    /,
    *,
    place: ThePlace,
) -> Answer:
    """Show one event in full: what it says, who sent it, when it came, its outcome and its tick, and the settings it changed."""
    if not event_id:
        hint = f"`townctl event list {town_id}` shows the ids"
        raise Refused("the id of the event is empty", status=400, path="event", hint=hint)
    found = place.event(town_id, event_id)
    return Answer(found, _event_view(found, present(place, town_id)))


def _event_view(found: EventView, now: datetime) -> Iterator[RenderableType]:
    from shared.questions.setting_changes import shown

    event = found.event
    yield Text(plain(f"{event.event_type or 'event'} {event.event_id} of {found.town_id}"), style="bold")
    facts: tuple[tuple[str, str | None], ...] = (
        ("outcome", _outcome(event)),
        ("error", event.last_error),
        ("tick", None if event.tick is None else str(event.tick)),
        ("processed", _time(event.processed_at or found.tick_at, now)),
        ("received", _time(event.received_at, now)),
        ("created", _time(found.created_at, now)),
        ("by", event.by or "not said"),
        ("token", None if event.sender is None else event.sender.words),
        ("source", event.source),
        ("about", event.subject),
        ("bead", event.bead_id),
        ("agent", event.agent_id),
    )
    yield table("", "", rows=[(name, plain(value)) for name, value in facts if value])
    if event.settings:
        rows = [
            (each.name, each.rig_id, shown(each.old) if each.old_known else "not known", shown(each.new))
            for each in event.settings
        ]
        yield table("setting", "rig", "before", "after", rows=rows)
    if found.content is not None:
        yield Text("what it says:")
        for line in json.dumps(found.content, indent=2, ensure_ascii=False).splitlines():
            yield Text(plain(line))
    if found.note is not None:
        yield Text(plain(found.note))


def _time(at: datetime | None, now: datetime) -> str | None:
    return None if at is None else f"{to_text(at)}, {when(at, now)}"


def _state(given: StateFilter | None, *, pending: bool, poisoned: bool) -> StateFilter:
    """The state that the options ask for. Raises Refused if they ask for several."""
    states: dict[str, StateFilter] = {}
    if given is not None:
        states["state"] = given
    if pending:
        states["pending"] = "pending"
    if poisoned:
        states["poisoned"] = "poisoned"
    if len(states) > 1:
        first, second, *_ = states
        hint = "give one of them, or none for all events"
        raise Refused(f"--{first} and --{second} exclude each other", status=400, path=first, hint=hint)
    return next(iter(states.values()), "all")


def _row(event: EventEntry, now: datetime) -> tuple[object, ...]:
    from shared.questions.setting_changes import words_of

    outcome = _outcome(event)
    return (
        event.event_type,
        Text(plain(outcome), style=_colour_of(outcome)),
        event.last_error,
        plain(words_of(event.settings)) or short(event.agent_id or event.subject),
        event.tick,
        when(event.received_at, now),
        None if event.by is None else plain(event.by),
        "inbox" if event.state == "inbox" else event.seq,
        event.event_id,
    )


def _colour_of(outcome: str) -> str:
    """Red for what failed, yellow for what did nothing."""
    first = outcome.partition(":")[0].partition(" ")[0]
    return {"poisoned": "red", "rejected": "red", "conflict": "red", "skipped": "yellow"}.get(first, "")


def _outcome(event: EventEntry) -> str:
    if event.state == "inbox":
        return "waits for a tick"
    return event.outcome or event.state


def redrive(
    town_id: TownName,
    event_id: Annotated[str, Parameter(help="The poisoned event, as `townctl event list TOWN --poisoned` shows it.")],
    /,
    *,
    place: ThePlace,
) -> Answer:
    """Redrive a poisoned event: post a copy with the id `<id>:r<n>`. The poisoned event stays as it is."""
    if not event_id:
        hint = f"`townctl event list {town_id} --poisoned` shows the ids"
        raise Refused("the id of the event is empty", status=400, path="event", hint=hint)
    return _accepted(place.redrive(town_id, event_id))


def _accepted(stored: AcceptedEvents) -> Answer:
    return Answer(stored, (f"accepted {', '.join(stored.accepted)}; the next tick applies it",))


def body_of(file: str | None, **flags: str | None) -> bytes:
    """The events of --file, or the one event that the options describe. Raises Refused."""
    given = [name for name, value in flags.items() if value is not None]
    if file is None:
        return _event(**flags)
    if given:
        hint = "put everything in the file, or leave --file out"
        problem = f"--file and --{given[0]} exclude each other"
        raise Refused(problem, status=400, path=given[0], hint=hint)
    return content_of(file, what="file")


def _event(**flags: str | None) -> bytes:
    if flags["type"] is None:
        raise Refused(
            "no event to post: give --file or --type",
            status=400,
            path="type",
            hint='for example: townctl event post TOWN --type convoy_started --payload \'{"convoy_id": "c-1"}\'; '
            "`townctl event types` and docs/events.md list the types",
        )
    fields = {} if flags["payload"] is None else json_of(flags["payload"].encode(errors="replace"), what="payload")
    event: dict[str, Any] = {
        "event_id": flags["id"] or ids.event_id("cli"),
        "event_type": flags["type"],
        "agent_id": flags["agent"],
        "bead_id": flags["bead"],
        "payload": fields,
    }
    return compact({name: value for name, value in event.items() if value is not None}).encode()


def _with_hint(problem: Refused, *, where: str) -> Refused:
    """The problem with a hint, if it has none."""
    hint = problem.hint
    if not hint and problem.path.endswith("event_type"):
        from shared.events import BY_TYPE

        known = ", ".join(sorted(name for name, each in BY_TYPE.items() if each.senders))
        hint = f"known types: {known}; `townctl event types TYPE` and docs/events.md show the fields of one"
    return Refused(
        problem.message if problem.path else f"{where}{problem.message}",
        status=problem.status,
        path=problem.path,
        hint=hint or "nothing was stored; correct the event and post it again",
    )
