"""`townctl event`: post facts into a town's inbox, see which wait or failed, send a failed one again."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import App, Parameter

from infra.townctl.answers import Answer, short, table
from infra.townctl.desk import Desk, TheDesk, TownName, compact, content_of, json_of
from shared.adapters import ids
from shared.domain import limits
from shared.domain.errors import Refused
from shared.events import BY_TYPE
from shared.intake import ingest
from shared.intake import redrive as redrives
from shared.intake.ingest import AcceptedBatch
from shared.ports.steps import drive
from shared.questions import overview
from shared.questions.overview import Which
from shared.town import database

app = App(name="event", help="Post events into a town's inbox, list them, send a poisoned one again.")


@app.command
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
        str | None, Parameter(name="--type", help="Instead of a file: its type, as in bead_created.")
    ] = None,
    agent: Annotated[str | None, Parameter(help="The agent that it is about.")] = None,
    bead: Annotated[str | None, Parameter(help="The bead that it is about.")] = None,
    payload: Annotated[str | None, Parameter(help="Its fields as a JSON object.")] = None,
    event_id: Annotated[
        str | None,
        Parameter(name="--id", help="8 to 128 characters, the same over all repetitions; if none is given, a new one."),
    ] = None,
    desk: TheDesk,
) -> Answer:
    """Post events. The answer means that they are on the disk; what a tick made of them, `townctl ticks` shows."""
    body = body_of(file, type=event_type, agent=agent, bead=bead, payload=payload, id=event_id)
    now = desk.clock.now()
    try:
        batch = ingest.accept(body, received_at=now)
    except Refused as problem:
        raise _with_hint(problem) from None
    return _store(desk, town_id, batch)


@app.command(name="list")
def list_(
    town_id: TownName,
    /,
    *,
    pending: Annotated[
        bool,
        Parameter(
            negative="",
            help="Only those that are not applied yet: in the inbox, or stored and waiting for another attempt.",
        ),
    ] = False,
    poisoned: Annotated[bool, Parameter(negative="", help="Only those that failed for good.")] = False,
    limit: Annotated[int, Parameter(help="How many stored events at most.")] = 50,
    desk: TheDesk,
) -> Answer:
    """List the newest stored events with their outcomes, and what still lies in the inbox."""
    if pending and poisoned:
        raise Refused("an event is pending or poisoned, not both", status=400, path="pending")
    if limit < 1:
        raise Refused("--limit is 1 or more", status=400, path="limit")
    which: Which = "pending" if pending else "poisoned" if poisoned else "all"
    store = desk.store()
    image = drive(store.load(town_id))
    with database.opened(image.image) as sql:
        stored = [asdict(event) for event in overview.events(sql, which, limit=limit)]
    waiting = [] if poisoned else _waiting(store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK))
    rows = [
        (
            event["seq"],
            event["event_id"],
            event["event_type"],
            short(event["agent_id"] or event["bead_id"]),
            event["received_at"],
            event["outcome"] or "pending",
            event["last_error"],
        )
        for event in stored
    ]
    rows += [("inbox", *row.values(), "waits for a tick", None) for row in waiting]
    document = {"townId": town_id, "stored": stored, "inbox": waiting}
    columns = ("seq", "event", "type", "about", "received", "outcome", "error")
    return Answer(document, (table(*columns, rows=rows),) if rows else (f"town {town_id} has no such events",))


@app.command
def redrive(
    town_id: TownName,
    event_id: Annotated[str, Parameter(help="The poisoned event: see `townctl event list TOWN --poisoned`.")],
    /,
    *,
    desk: TheDesk,
) -> Answer:
    """Send a poisoned event again, as a copy with the id `<id>:r<n>`. The poisoned one stays as it is."""
    return _store(desk, town_id, drive(redrives.redriven(town_id, event_id, desk.store(), now=desk.clock.now())))


def _store(desk: Desk, town_id: TownName, batch: AcceptedBatch) -> Answer:
    """Make an accepted batch durable."""
    store = desk.store()
    key = drive(
        store.post(
            town_id,
            batch.body,
            received_at=desk.clock.now(),
            batch_id=ids.batch_id(),
            wake=not batch.transient_only,
        )
    )
    accepted = [event.event_id for event in batch.envelopes]
    document = {"townId": town_id, "accepted": accepted, "object": key, "wakes": not batch.transient_only}
    when = "the next tick takes it" if not batch.transient_only else "the next due tick takes it; it wakes nobody"
    return Answer(document, (f"accepted {', '.join(accepted)}; {when}",))


def body_of(file: str | None, **flags: str | None) -> bytes:
    """The events of a file, or the one that the options describe. Raises Refused."""
    given = [name for name, value in flags.items() if value is not None]
    if file is None:
        return _event(**flags)
    if given:
        raise Refused(f"--file says all, so --{given[0]} has no place", status=400, path=given[0])
    return content_of(file, what="events")


def _event(**flags: str | None) -> bytes:
    if flags["type"] is None:
        raise Refused(
            "neither --file nor --type is given",
            status=400,
            path="type",
            hint='as in: townctl event post TOWN --type convoy_started --payload \'{"convoy_id": "c-1"}\'',
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


def _with_hint(problem: Refused) -> Refused:
    """Say what to do where the contract alone says what is wrong."""
    hint = problem.hint
    if not hint and problem.path.endswith("event_type"):
        hint = "types: " + ", ".join(sorted(name for name, known in BY_TYPE.items() if known.senders))
    return Refused(
        problem.message,
        status=problem.status,
        path=problem.path,
        hint=hint or "correct it and post again; nothing was stored",
    )


def _waiting(reading: Any) -> list[dict[str, Any]]:
    """The events of the inbox, each in one line."""
    batches: Sequence[Any] = drive(reading).objects
    return [
        {
            "event_id": event.event_id,
            "event_type": event.event_type,
            "about": short(event.agent_id or event.bead_id),
            "received_at": event.received_at,
        }
        for batch in batches
        for event in ingest.read_object(batch.key, batch.body)
    ]
