"""`townctl tick`: run one tick of a town, and perform its effects."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final

from cyclopts import Parameter
from pydantic import ValidationError
from rich.console import RenderableType
from rich.text import Text

from infra.townctl import agent_programs, forges
from infra.townctl.arguments import TownName, content_of, json_of
from infra.townctl.context import TheContext
from infra.townctl.output import FOUND, OK, Answer, plain, table
from infra.townctl.provers import prover_of
from infra.townctl.summaries import done_by
from shared.adapters import ids
from shared.domain import limits, strict_json
from shared.domain.errors import Refused
from shared.domain.field_errors import first_error
from shared.domain.report import AppliedEvent, BrokenInvariant, Claim, JudgedAction, TickMetrics
from shared.domain.shapes import Time, answer, read
from shared.domain.tick import TickInput
from shared.domain.times import to_text
from shared.intake import ingest
from shared.ports.clock import Clock
from shared.ports.steps import drive
from shared.runner.code_version import code_version
from shared.runner.run_report import RunOutcome, RunReport
from shared.runner.worker import run_town
from shared.storage.towns import ObjectTownStore
from shared.town import database

_AHEAD: Final = timedelta(minutes=1)


@answer
class Outputs:
    """What a tick decided."""

    events: tuple[AppliedEvent, ...]
    actions: tuple[JudgedAction, ...]
    effects: tuple[Claim, ...]
    violations: tuple[BrokenInvariant, ...]
    metrics: TickMetrics


@answer
class EffectCounts:
    """The effects of a tick: every call that was started succeeded or failed."""

    attempted: int
    succeeded: int
    failed: int
    not_started: int


@answer
class TickDone:
    """One run of a town. Without a tick, for example if it was not due, `outputs` and the three fields of the tick are null."""

    town_id: str
    outcome: RunOutcome
    tick: int | None
    tick_id: str | None
    now: Time | None
    txid: int
    image_digest: str
    outputs: Outputs | None
    effects: EffectCounts
    next_due_at: Time | None


def tick(  # noqa: PLR0913 - one for each option
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
    agent: Annotated[str | None, Parameter(help=agent_programs.AGENT_HELP)] = None,
    agent_login: Annotated[str | None, Parameter(help=agent_programs.LOGIN_HELP)] = None,
    agent_env: Annotated[
        list[str] | None, Parameter(help=agent_programs.ENV_HELP, negative="", consume_multiple=True)
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
    program = agent_programs.program(context.data, agent_command, agent_env, agent=agent, login=agent_login)
    runtime = context.runtime(program, clock)
    forge = forges.forge_of(context.data, clock, hosts=forges.hosts_of(context.data, ()), secrets_prefix=secrets_prefix)
    prover = prover_of(context.data, forge=forge, runtime=runtime, environment=program.around)
    around = context.around(store, clock=clock, runtime=runtime, forge=forge, prover=prover)
    run = drive(run_town(town_id, around, worker_id=ids.worker_id(), force=force, exactly=exactly))
    violated = run.tick is not None and run.tick.violations
    code = FOUND if run.outcome == "lost" or violated else OK
    complaints = _complaints(store, town_id) if run.effects.failed else ()
    return Answer(_done(run), (*_run_view(run), *complaints), code)


def _done(run: RunReport) -> TickDone:
    report, performed = run.tick, run.effects
    return TickDone(
        town_id=run.town_id,
        outcome=run.outcome,
        tick=None if report is None else report.input.tick_no,
        tick_id=None if report is None else report.input.tick_id,
        now=None if report is None else report.input.now,
        txid=run.image.txid,
        image_digest=run.image.image_digest,
        outputs=None
        if report is None
        else Outputs(report.events, report.actions, report.effects, report.violations, report.metrics),
        effects=EffectCounts(performed.attempted, performed.succeeded, performed.failed, performed.not_started),
        next_due_at=run.next_due,
    )


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
        for event in ingest.read_object(batch.key, batch.body, size=batch.size):
            said = strict_json.stored(event.payload) if event.source == "effect" else {}
            if said.get("reason"):
                yield Text(plain(f"  {event.event_type.removesuffix('_result')}: {said['reason']}"))


def _exact_input(town_id: str, body: bytes, clock: Clock) -> TickInput:
    """The input that a dry run printed. Raises Refused if it is anything else, or is for another town or other code."""
    said = json_of(body, what="input")
    hint = f"give the output of `townctl dry-run {town_id} --json`"
    if not isinstance(said, dict) or not isinstance(said.get("input"), dict):
        raise Refused("--input is not the output of a dry run", status=400, path="input", hint=hint)
    if said.get("townId", town_id) != town_id:
        raise Refused(
            f"--input is for town {plain(said['townId'])[:64]}, not for town {town_id}",
            status=409,
            path="input.townId",
            hint=hint,
        )
    try:
        given = read(TickInput, said["input"])
    except ValidationError as error:
        problem = first_error(error)
        raise Refused(
            f"--input is not the output of a dry run ({plain(problem.message)[:200]})",
            status=400,
            path=f"input.{problem.place}",
            hint=hint,
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
