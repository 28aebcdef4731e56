"""`townctl town`: create towns, list them, and see what one is doing and what its beads wait for."""

from typing import Annotated, Any

from cyclopts import App, Parameter

from infra.townctl import posts
from infra.townctl.answers import FOUND, OK, Answer, table
from infra.townctl.desk import TheDesk, TownName, content_of, json_of
from infra.townctl.status_view import status_view
from shared.adapters import ids
from shared.domain.errors import Refused, TownError
from shared.domain.times import to_text
from shared.ports.steps import drive
from shared.questions import status as reports
from shared.runner import founding

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
    document = report.as_json()
    return Answer(document, tuple(status_view(document)), code)
