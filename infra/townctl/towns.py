"""`townctl town`: create towns, list them, and see what one is doing and what its beads wait for."""

from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl import posts
from infra.townctl.answers import FOUND, OK, Answer, plain, short, table
from infra.townctl.desk import TheDesk, TownName, content_of, json_of
from shared.adapters import ids
from shared.domain.errors import Refused, TownError
from shared.domain.steps import drive
from shared.domain.times import to_text
from shared.engine import founding
from shared.engine import status as reports
from shared.engine.status import Status

app = App(name="town", help="Create towns, list them, see what one is doing.")


@app.command
def create(
    town_id: TownName,
    /,
    *,
    config: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="A file with a JSON object of settings that differ from a new town's; `-` is standard input.",
        ),
    ] = None,
    paused: Annotated[
        bool,
        Parameter(
            negative="",
            help="Create it paused: events are taken and applied, no rule acts, until the event town_started.",
        ),
    ] = False,
    desk: TheDesk,
) -> Answer:
    """Create a town. Its first tick is due at once."""
    settings: Any = {}
    if config is not None:
        settings = json_of(content_of(config, what="config"), what="config")
        if not isinstance(settings, dict):
            hint = 'a JSON object of settings is due, as in {"merge_strategy": "direct"}'
            raise Refused("the configuration is no JSON object", status=400, path="config", hint=hint)
    around = desk.around(desk.founding_store())
    image = drive(founding.found_town(town_id, around, worker_id=ids.worker_id(), config=settings, paused=paused))
    document = {"townId": town_id, "data": desk.place, "txid": image.txid, "imageDigest": image.image_digest}
    shown = f"town {town_id} was created in {desk.place}; register a rig next: townctl event post {town_id} --help"
    return Answer(document, (shown,))


@app.command
def start(town_id: TownName, /, *, desk: TheDesk) -> Answer:
    """Let a paused town act: posts the event town_started, which its next tick applies.

    `townctl dry-run TOWN` shows before what starting will do. Time-based recovery waits for 90 s after it.
    """
    return posts.post(town_id, event_type="town_started", desk=desk)


@app.command(name="list")
def list_(*, desk: TheDesk) -> Answer:
    """List the towns of the data directory, with the tick at which each stands."""
    store = desk.store()
    found = []
    for town_id in drive(store.towns()):
        line: dict[str, Any] = {"townId": town_id, "tick": None, "time": None, "nextDueAt": None, "problem": None}
        try:
            facts = drive(store.load(town_id)).facts
        except TownError as error:
            line["problem"] = error.message
        else:
            line |= {"tick": facts.tick_no, "time": to_text(facts.time)}
            line["nextDueAt"] = None if facts.next_due is None else to_text(facts.next_due)
        found.append(line)
    code = FOUND if any(line["problem"] for line in found) else OK
    if not found:
        hint = f"there are no towns in {desk.place} yet: townctl town create TOWN"
        return Answer({"towns": []}, (hint,))
    rows = [(line["townId"], line["tick"], line["time"], line["nextDueAt"], line["problem"]) for line in found]
    return Answer({"towns": found}, (table("town", "tick", "at", "next due", "problem", rows=rows),), code)


@app.command
def status(town_id: TownName, /, *, desk: TheDesk) -> Answer:
    """Say what a town is doing, and of every bead that waits, why and until when.

    Exit code 1 if an invariant is broken or a row cannot be read.
    """
    store = desk.store()
    report = drive(reports.status(town_id, desk.around(store, clock=desk.clock_of(store, town_id))))
    code = FOUND if report.violations or report.unreadable else OK
    return Answer(report.as_json(), tuple(_view(report)), code)


def _view(report: Status) -> Iterator[RenderableType]:
    facts = report.base.facts
    yield Text(f"{report.base.town_id}: tick {facts.tick_no} at {to_text(facts.time)}; {_wake(report)}")
    for claim in _claims(report):
        yield Text(claim)
    titles = {bead.bead_id: bead.title for bead in report.beads}
    if report.agents:
        yield table(
            "agent",
            "role",
            "status",
            "works on",
            "says",
            rows=[
                (_name(agent.identity), agent.role, agent.status, titles.get(agent.hook or "", agent.hook), agent.says)
                for agent in report.agents
            ],
        )
    if report.beads:
        yield table("bead", "type", "status", "title", "waits for", rows=_bead_rows(report))
    if report.failed:
        yield table(
            "failed",
            "type",
            "at",
            "title",
            "why",
            rows=[
                (short(bead.bead_id), bead.type, bead.failed_at, bead.title, bead.message or bead.reason)
                for bead in report.failed
            ],
        )
    if report.refused:
        yield table(
            "review",
            "call",
            "at",
            "the forge said",
            rows=[(short(line.bead_id), line.effect, line.at, line.said) for line in report.refused],
        )
    if report.convoys:
        yield table(
            "convoy",
            "state",
            "done",
            "title",
            rows=[
                (short(convoy.bead_id), reports.state_of(convoy), f"{convoy.done}/{convoy.total}", convoy.title)
                for convoy in report.convoys
            ],
        )
    for violation in report.violations:
        yield Text(plain(f"violation {violation.invariant} since {violation.opened_at}: {violation.message}"))
    for place, key, why in report.unreadable:
        yield Text(plain(f"unreadable: {place} {key}: {why}"))


def _bead_rows(report: Status) -> Iterator[tuple[object, ...]]:
    reasons = {reason.bead_id: reason for reason in report.waiting}
    for bead in report.beads:
        reason = reasons.get(bead.bead_id)
        if reason is None:
            yield short(bead.bead_id), bead.type, bead.status, bead.title, None
            continue
        until = f" until {to_text(reason.due_at)}" if reason.due_at is not None else ""
        actor = f" ({short(reason.actor)})" if reason.actor is not None else ""
        yield short(bead.bead_id), bead.type, bead.status, bead.title, f"{reason.reason}{actor}{until}"


def _wake(report: Status) -> str:
    if report.inbox_batches:
        return f"{report.inbox_batches} batches of events wait, so it is due"
    if report.next_due is None:
        return "only an event can wake it"
    return f"next due at {to_text(report.next_due)}"


def _claims(report: Status) -> Iterator[str]:
    if report.paused:
        yield "paused: no rule acts until the event town_started"
    if report.draining:
        yield "draining: nothing is dispatched until the container is replaced"
    if report.settling:
        yield "settling after an outage: time-based recovery waits"
    if report.breaker.open:
        yield f"the dispatch breaker is open: {report.breaker.failures} beads failed to start"
    if report.pending_events:
        yield f"{report.pending_events} stored events wait for another attempt: townctl event list --pending"
    if report.poisoned_events:
        yield f"{report.poisoned_events} events failed for good: townctl event list --poisoned"


def _name(identity: str) -> str:
    return identity.partition("-")[0]
