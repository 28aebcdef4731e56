"""The handler of the events API: facts from producers (town token), and write requests from operators (IAM).

Operators' write requests are here and not in the debug API, so that the debug function needs no write permission.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Path, Query

from functions import api, log, wiring
from functions.access import Access, request_of, require_town_id
from functions.api import TownId
from functions.events import claims, town_list
from functions.events.answers import TownDocument
from functions.events.ingestion import Ingestion
from functions.events.schemas import NewTown
from functions.settings import EventsSettings
from shared.adapters import ids
from shared.domain.errors import Refused, TownError
from shared.intake.redrive import redriven
from shared.ports.steps import drive
from shared.runner.founding import found_town
from shared.telemetry.emf import EmfMetrics

TOWNS_AT_MOST: Final = 1000

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call

app = api.resolver()


@dataclass(frozen=True, slots=True)
class EventsDeployment:
    """The objects that live as long as this environment."""

    ingestion: Ingestion
    access: Access


@cache
def deployment() -> EventsDeployment:
    """Built by the first request. Raises Terminal if the settings are invalid."""
    settings = EventsSettings.from_environment()
    metrics = EmfMetrics(log.write_line, stage=settings.stage)
    around = wiring.surroundings(settings, wiring.store(settings), alerts=wiring.alerts(), metrics=metrics)
    ingestion = Ingestion(around, wiring.queue(settings), metrics, log.write_line)
    return EventsDeployment(ingestion, Access(settings.access_rules, log.write_line))


@app.post("/api/towns/<townId>/events", summary="Report facts to a town", tags=["events"])
def post_events(townId: TownId) -> Response[str]:  # noqa: N803 - the name in the path
    """Make 1 to 100 events durable. The answer does not say how a tick will judge them. The same request can be safely repeated."""
    at = deployment().ingestion
    now = at.around.clock.now()
    try:
        sender = claims.sender_of(app.current_event.raw_event, now)
        body = api.body_of(app.current_event.raw_event)
        return api.answer(202, at.take(townId, body, sender, now=now))
    except TownError as error:
        status = error.status if isinstance(error, Refused) else type(error).__name__
        at.metrics.write({"eventsRefused": 1}, {"event": "events.refused", "why": str(status)})
        raise


@app.put("/api/towns/<townId>", summary="Create a town", tags=["towns"])
def put_town(townId: TownId) -> Response[str]:  # noqa: N803
    """Create a town that does not exist yet; its first tick is due at once. Answers 409 if a town with this id exists."""
    here = _allowed(townId)
    new = api.read(NewTown, api.body_of(app.current_event.raw_event))
    around = here.ingestion.around
    image = drive(found_town(townId, around, worker_id=ids.worker_id(), config=new.config, paused=new.paused))
    made: TownDocument = {"townId": townId, "txid": image.txid, "imageDigest": image.image_digest}
    return api.answer(201, made)


@app.get("/api/towns", summary="List your towns", tags=["towns"])
def list_towns(
    limit: Annotated[int, Query(ge=1, le=TOWNS_AT_MOST)] = 100,
    after: Annotated[str, Query(max_length=64)] = "",
) -> Response[str]:
    """The towns that the caller may read, one page at a time: `next` is the `after` for the next page, null on the last one."""
    request = request_of(app.current_event.raw_event)
    if after:
        require_town_id(after)
    here = deployment()
    return api.answer(200, town_list.page(here.ingestion.around.store, here.access, request, after=after, limit=limit))


@app.post("/api/towns/<townId>/events/<eventId>/redrive", summary="Send a poisoned event again", tags=["towns"])
def redrive(
    townId: TownId,  # noqa: N803
    eventId: Annotated[str, Path(alias="eventId", description="The poisoned event.")],  # noqa: N803
) -> Response[str]:
    """Post a copy of a poisoned event, with the id `<id>:r<n>`. The poisoned event itself stays unchanged."""
    here = _allowed(townId)
    now = here.ingestion.around.clock.now()
    batch = drive(redriven(townId, eventId, here.ingestion.around.store, now=now))
    return api.answer(202, here.ingestion.store(townId, batch, now=now))


def _allowed(town_id: str) -> EventsDeployment:
    """The deployment, after checking that the caller may write to the town. Raises Refused."""
    request = request_of(app.current_event.raw_event)
    require_town_id(town_id)
    here = deployment()
    here.access.require(request, "write", town_id)
    return here


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer one request."""
    return api.run(app, event, context, wiring.tell_bug)
