"""`townctl town`: create and start towns, list them, and show the work and the waiting beads of one."""

from typing import Annotated, Any

from cyclopts import Parameter

from infra.townctl.arguments import TownName, content_of, json_of
from infra.townctl.context import TheContext
from infra.townctl.output import FOUND, OK, Answer, table
from shared.adapters import ids
from shared.domain.errors import Refused, TownError
from shared.domain.shapes import document
from shared.domain.times import to_text
from shared.ports.steps import drive


def create(
    town_id: TownName,
    /,
    *,
    config: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="A file with a JSON object of the settings that differ from the defaults; `-` is standard input.",
        ),
    ] = None,
    paused: Annotated[
        bool,
        Parameter(
            negative="",
            help="Create the town paused: it applies events, but no rule acts until `townctl town start`.",
        ),
    ] = False,
    context: TheContext,
) -> Answer:
    """Create a town. Its first tick is due at once."""
    settings: Any = {}
    if config is not None:
        settings = json_of(content_of(config, what="config"), what="config")
        if not isinstance(settings, dict):
            hint = 'give a JSON object of settings, for example {"merge_strategy": "direct"}'
            raise Refused(
                f"the configuration of town {town_id} is not a JSON object", status=400, path="config", hint=hint
            )
    from shared.runner import founding

    around = context.around(context.founding_store())
    image = drive(founding.found_town(town_id, around, worker_id=ids.worker_id(), config=settings, paused=paused))
    created = {"townId": town_id, "data": context.place, "txid": image.txid, "imageDigest": image.image_digest}
    shown = f"created town {town_id} in {context.place}; register a rig next: townctl event post {town_id} --help"
    return Answer(created, (shown,))


def start(town_id: TownName, /, *, context: TheContext) -> Answer:
    """Start a paused town: post the event town_started, which its next tick applies.

    `townctl dry-run TOWN` shows beforehand what the rules will do. Time-based recovery begins 90 s after the start.
    """
    from infra.townctl import events

    return events.post(town_id, event_type="town_started", context=context)


def list_(*, context: TheContext) -> Answer:
    """List the towns with their latest ticks. Exit code 1 if a town cannot be read."""
    store = context.store()
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
        hint = f"there are no towns in {context.place} yet; create one: townctl town create TOWN"
        return Answer({"towns": []}, (hint,))
    rows = [(line["townId"], line["tick"], line["time"], line["nextDueAt"], line["problem"]) for line in found]
    return Answer({"towns": found}, (table("town", "tick", "at", "next due", "problem", rows=rows),), code)


def status(town_id: TownName, /, *, context: TheContext) -> Answer:
    """Show what a town is doing and, for every waiting bead, why and until when it waits.

    Exit code 1 if an invariant is violated or a row cannot be read.
    """
    from infra.townctl.status_view import status_view
    from shared.questions import status as reports

    store = context.store()
    report = drive(reports.status(town_id, context.around(store, clock=context.clock_of(store, town_id))))
    code = FOUND if report.violations or report.unreadable else OK
    return Answer(document(report), tuple(status_view(report)), code)
