"""`townctl tick`: run one tick of a town, and perform its effects."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl import agent_programs, forges
from infra.townctl.arguments import TownName, content_of, json_of
from infra.townctl.context import TheContext
from infra.townctl.output import FOUND, OK, Answer, plain, table
from infra.townctl.summaries import done_by
from shared.adapters import ids
from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.tick import TickInput
from shared.domain.times import to_text
from shared.intake import ingest
from shared.ports.clock import Clock
from shared.ports.steps import drive
from shared.runner.code_version import code_version
from shared.runner.run_report import RunReport
from shared.runner.worker import run_town
from shared.storage.towns import ObjectTownStore
from shared.town import database

_AHEAD: Final = timedelta(minutes=1)


def tick(
    town_id: TownName,
    /,
    *,
    force: Annotated[bool, Parameter(negative="", help="Run the tick even if it is not due.")] = False,
    exact_input: Annotated[
        str | None,
        Parameter(
            name="--input",
            allow_leading_hyphen=True,
            help="Run exactly the tick in this file, the output of `dry-run --json`; `-` is standard input.",
        ),
    ] = None,
    agent_command: Annotated[
        str | None, Parameter(help="The program that agents run; remembered for this data directory.")
    ] = None,
    secrets_prefix: Annotated[str | None, Parameter(help=forges.PREFIX_HELP)] = None,
    context: TheContext,
) -> Answer:
    """Run one tick of a town if it is due, and perform its effects.

    Exit code 1 if another worker committed first (run the command again) or an invariant is violated.
    """
    store = context.store()
    clock = context.clock_of(store, town_id)
    exactly = None if exact_input is None else _exact_input(town_id, content_of(exact_input, what="input"), clock)
    runtime = context.runtime(agent_programs.program(context.data, agent_command), clock)
    forge = forges.forge_of(context.data, clock, hosts=forges.hosts_of(context.data, ()), secrets_prefix=secrets_prefix)
    around = context.around(store, clock=clock, runtime=runtime, forge=forge)
    run = drive(run_town(town_id, around, worker_id=ids.worker_id(), force=force, exactly=exactly))
    code = FOUND if run.outcome == "lost" or (run.tick is not None and run.tick.violations) else OK
    complaints = _complaints(store, town_id) if run.effects.failed else ()
    return Answer(_run_document(run), (*_run_view(run), *complaints), code)


def _run_document(run: RunReport) -> dict[str, Any]:
    """A run as a JSON document."""
    report = run.tick
    return {
        "townId": run.town_id,
        "outcome": run.outcome,
        "tick": None if report is None else report.input.tick_no,
        "tickId": None if report is None else report.input.tick_id,
        "now": None if report is None else to_text(report.input.now),
        "txid": run.image.txid,
        "imageDigest": run.image.image_digest,
        "outputs": None if report is None else report.outputs(),
        "effects": {
            "attempted": run.effects.attempted,
            "succeeded": run.effects.succeeded,
            "failed": run.effects.failed,
            "notStarted": run.effects.not_started,
        },
        "nextDueAt": None if run.next_due is None else to_text(run.next_due),
    }


def _run_view(run: RunReport) -> Iterator[RenderableType]:
    wake = "only an event can wake it" if run.next_due is None else f"next due at {to_text(run.next_due)}"
    if run.outcome == "not_due":
        yield Text(f"town {run.town_id} is not due: {wake}; --force runs a tick anyway")
        return
    if run.outcome == "lost":
        yield Text(
            f"another worker committed a tick of town {run.town_id} first; nothing was done, run the command again"
        )
        return
    report = run.tick
    if report is not None:
        done = done_by(report)
        yield Text(f"tick {report.input.tick_no} of {run.town_id}: {run.outcome}; {wake}")
        rows = [("events", done.events), ("actions", done.actions), ("rules", done.rules)]
        rows += [("violation", violation.message) for violation in report.violations]
        if any(details for _, details in rows):
            yield table("what", "details", rows=[row for row in rows if row[1]])
    if run.effects.attempted:
        yield Text(f"effects: {run.effects.succeeded} succeeded, {run.effects.failed} failed")


def _complaints(store: ObjectTownStore, town_id: str) -> Iterator[RenderableType]:
    """The reasons of failed effects, read from their result events in the inbox, which the next tick applies."""
    for batch in drive(store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)).objects:
        for event in ingest.read_object(batch.key, batch.body):
            said = json.loads(event.payload) if event.source == "effect" else {}
            if said.get("reason"):
                yield Text(plain(f"  {event.event_type.removesuffix('_result')}: {said['reason']}"))


def _exact_input(town_id: str, body: bytes, clock: Clock) -> TickInput:
    """The input that a dry run printed. Raises Refused if it is none, or if it is for another town or other code."""
    document = json_of(body, what="input")
    hint = f"give the output of `townctl dry-run {town_id} --json`"
    if not isinstance(document, dict) or "input" not in document:
        raise Refused("--input is not the output of a dry run", status=400, path="input", hint=hint)
    if document.get("townId", town_id) != town_id:
        raise Refused(
            f"--input is for town {plain(document['townId'])[:64]}, not for town {town_id}",
            status=409,
            path="input.townId",
            hint=hint,
        )
    try:
        given = TickInput.from_record(document["input"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"[:200]
        raise Refused(
            f"--input is not the output of a dry run ({plain(problem)})", status=400, path="input", hint=hint
        ) from error
    if given.code_version != code_version() or given.sqlite_version != database.SQLITE_VERSION:
        raise Refused(
            f"the dry run of town {town_id} was made by another version of the code",
            status=409,
            path="input",
            hint=hint,
        )
    if given.now > clock.now() + _AHEAD:
        raise Refused(
            f"the dry run is a what-if at {to_text(given.now)}, and town {town_id} never runs ahead of its clock",
            status=409,
            path="input.now",
            hint="make a dry run without --now and run its input",
        )
    return given
