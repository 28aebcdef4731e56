"""`townctl event`: post events to a town's inbox, list which are pending or poisoned, redrive a poisoned one."""

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from infra.townctl.arguments import TownName, at_least_one, content_of, json_of
from infra.townctl.context import Context, TheContext, compact
from infra.townctl.output import Answer, short, table, time_text
from shared.adapters import ids
from shared.domain import limits, shapes
from shared.domain.errors import Refused
from shared.events import BY_TYPE
from shared.intake import ingest
from shared.intake import redrive as redrives
from shared.intake.ingest import AcceptedBatch
from shared.ports.steps import drive
from shared.questions import overview
from shared.questions.overview import EventLine, Which
from shared.town import database


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
    context: TheContext,
) -> Answer:
    """Post events. An accepted event is stored; `townctl event list` shows its outcome once a tick has taken it."""
    body = body_of(file, type=event_type, agent=agent, bead=bead, payload=payload, id=event_id)
    now = context.clock.now()
    try:
        batch = ingest.accept(body, received_at=now)
    except Refused as problem:
        raise _with_hint(problem, where="" if file is None else "--file: ") from None
    return _store(context, town_id, batch)


def list_(
    town_id: TownName,
    /,
    *,
    pending: Annotated[
        bool,
        Parameter(
            negative="",
            help="Only events that are not applied yet: in the inbox, or waiting for another attempt.",
        ),
    ] = False,
    poisoned: Annotated[bool, Parameter(negative="", help="Only events that failed permanently.")] = False,
    limit: Annotated[int, Parameter(help="The maximum number of stored events.")] = 50,
    context: TheContext,
) -> Answer:
    """List the newest stored events with their outcomes, and the events that are still in the inbox."""
    if pending and poisoned:
        hint = "give one of them, or none for all events"
        problem = "--pending and --poisoned exclude each other: no event is both"
        raise Refused(problem, status=400, path="pending", hint=hint)
    at_least_one(limit)
    which: Which = "pending" if pending else "poisoned" if poisoned else "all"
    store = context.store()
    image = drive(store.load(town_id))
    with database.opened(image.image) as sql:
        stored = overview.events(sql, which, limit=limit)
    waiting = [] if poisoned else _waiting(store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK))
    rows = [
        *(_stored_row(event) for event in stored),
        *(("inbox", *row.values(), "waits for a tick", None) for row in waiting),
    ]
    document = {"townId": town_id, "stored": [shapes.document(event) for event in stored], "inbox": waiting}
    columns = ("seq", "event", "type", "about", "received", "outcome", "error")
    return Answer(document, (table(*columns, rows=rows),) if rows else (f"town {town_id} has no such events",))


def _stored_row(event: EventLine) -> tuple[object, ...]:
    return (
        event.seq,
        event.event_id,
        event.event_type,
        short(event.agent_id or event.bead_id),
        time_text(event.received_at),
        event.outcome or "pending",
        event.last_error,
    )


def redrive(
    town_id: TownName,
    event_id: Annotated[str, Parameter(help="The poisoned event, as `townctl event list TOWN --poisoned` shows it.")],
    /,
    *,
    context: TheContext,
) -> Answer:
    """Redrive a poisoned event: post a copy with the id `<id>:r<n>`. The poisoned event stays as it is."""
    return _store(
        context, town_id, drive(redrives.redriven(town_id, event_id, context.store(), now=context.clock.now()))
    )


def _store(context: Context, town_id: TownName, batch: AcceptedBatch) -> Answer:
    """Store an accepted batch durably."""
    store = context.store()
    key = drive(
        store.post(
            town_id,
            batch.body,
            received_at=context.clock.now(),
            batch_id=ids.batch_id(),
            wake=not batch.transient_only,
        )
    )
    accepted = [event.event_id for event in batch.envelopes]
    document = {"townId": town_id, "accepted": accepted, "object": key, "wakes": not batch.transient_only}
    when = (
        "the next tick takes it"
        if not batch.transient_only
        else "the next due tick takes it; it does not wake the town"
    )
    return Answer(document, (f"accepted {', '.join(accepted)}; {when}",))


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
            hint='for example: townctl event post TOWN --type convoy_started --payload \'{"convoy_id": "c-1"}\'',
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
        hint = "known types: " + ", ".join(sorted(name for name, known in BY_TYPE.items() if known.senders))
    return Refused(
        problem.message if problem.path else f"{where}{problem.message}",
        status=problem.status,
        path=problem.path,
        hint=hint or "nothing was stored; correct the event and post it again",
    )


def _waiting(reading: Any) -> list[dict[str, Any]]:
    """The events in the inbox, one dict for each."""
    batches: Sequence[Any] = drive(reading).objects
    return [
        {
            "eventId": event.event_id,
            "eventType": event.event_type,
            "about": short(event.agent_id or event.bead_id),
            "receivedAt": event.received_at,
        }
        for batch in batches
        for event in ingest.read_object(batch.key, batch.body)
    ]
