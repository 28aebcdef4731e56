"""`townctl dry-run` and `ticks`: show what the next tick would do, and what past ticks did."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.arguments import TownName, at_least_one, content_of, time_of
from infra.townctl.context import TheContext
from infra.townctl.output import Answer, plain, short, table
from infra.townctl.summaries import code_of, done_in, subject_of
from infra.townctl.wording import counted, since
from shared.adapters import ids
from shared.domain.errors import Refused
from shared.domain.report import JudgedAction
from shared.domain.shapes import document
from shared.domain.tick import Envelope
from shared.domain.times import from_text, text_or_none, to_text
from shared.intake import ingest
from shared.ports.steps import drive
from shared.questions import dry_run as dry_runs
from shared.questions.dry_run import DryRun
from shared.town import database, journal


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
    context: TheContext,
) -> Answer:
    """Show what the next tick would do, without changing anything.

    With --json the answer contains the complete input, and `townctl tick --input` runs exactly that tick.
    """
    store = context.store()
    clock = context.clock_of(store, town_id)
    at = time_of(now, what="now")
    extra: tuple[Envelope, ...] = ()
    if events is not None:
        extra = _extra_events(content_of(events, what="events"), at or clock.now())
    runtime = context.agents(clock) if observe else None
    around = context.around(store, clock=clock, runtime=runtime)
    shown = drive(
        dry_runs.dry_run(town_id, around, worker_id=ids.worker_id(), ask_runtime=observe, now=at, extra_events=extra)
    )
    return Answer(document(shown), tuple(dry_run_view(shown)))


def ticks(
    town_id: TownName,
    /,
    *,
    limit: Annotated[int, Parameter(help="The maximum number of ticks.")] = 20,
    after: Annotated[int, Parameter(help="Only ticks with a greater number.")] = 0,
    context: TheContext,
) -> Answer:
    """Show the journal: the input of each tick and what it did, newest last."""
    at_least_one(limit)
    image = drive(context.store().load(town_id))
    with database.opened(image.image) as sql:
        records = journal.rows(sql, limit=limit, after=after)
    return Answer({"townId": town_id, "ticks": records}, (ticks_view(town_id, records),))


def ticks_view(town_id: str, records: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Rows of the journal for people."""
    rows = [
        (
            record["tick_no"],
            record["now"],
            done.events,
            done.actions,
            done.rules,
            _wait(record["now"], record["outputs"]["next_due_at"]),
        )
        for record in records
        for done in [done_in(record["outputs"])]
    ]
    if not rows:
        return f"town {town_id} has no such ticks"
    return table("tick", "at", "events", "actions", "rules", "next min:s", rows=rows)


def _wait(at: str, due: str | None) -> str:
    return "an event" if due is None else since(from_text(at), from_text(due))


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
        reasons = ", ".join(f"{count} {reason}" for reason, count in shown.waiting.items())
        yield Text(f"waiting beads by reason: {reasons}")
    yield Text(f"next due: {text_or_none(shown.next_due_at) or 'only an event can wake it'}")


def _action_rows(actions: Iterable[JudgedAction]) -> Iterator[tuple[object, ...]]:
    for judged in actions:
        action = judged.action
        yield code_of(judged.rule), judged.rule, action["type"], short(subject_of(action)), judged.outcome_text


def _extra_events(body: bytes, at: datetime) -> tuple[Envelope, ...]:
    """The events of --events, validated as an API validates them. Raises Refused."""
    try:
        return ingest.accept(body, received_at=at).envelopes
    except Refused as problem:
        message = problem.message if problem.path else f"--events: {problem.message}"
        hint = problem.hint or "give a file that `townctl event post --file` accepts"
        raise Refused(message, status=problem.status, path=problem.path, hint=hint) from None
