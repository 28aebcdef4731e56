"""The handler of the events API: facts from producers (town token), and write requests from operators (IAM).

Operators' write requests are here and not in the debug API, so that the debug function needs no write permission. No request
loads the image of a town: what needs one, as a redrive does, is in a function of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from functions import api, claims, log, wiring
from functions.access import Access, SignedRequest, person_in, request_of
from functions.api import Call, Reply, Route
from functions.events import town_list
from functions.events.schemas import LogQuery, NewTown, TownsQuery, Words
from functions.ingestion import Ingestion
from functions.pace import Pace
from functions.queries import Query
from functions.settings import EventsSettings
from shared.adapters import ids
from shared.domain.errors import Refused, TownError
from shared.domain.senders import Sender
from shared.intake import ingest
from shared.intake.voice import said_to_the_mayor
from shared.ports.object_store import ObjectStore
from shared.ports.steps import Steps, drive
from shared.questions.receipts import CreatedTown, ResumedTown, Said

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call


MOST_LOGS: Final = 30
"""A container reports once a minute. Each report is a version of an object, which the bucket keeps for a while."""

_LOG_HINT: Final = "report a log once a minute at most, and when its agent has ended"


@dataclass(frozen=True, slots=True)
class EventsDeployment:
    """The objects that live as long as this environment."""

    ingestion: Ingestion
    access: Access
    objects: ObjectStore
    log_pace: Pace = field(default_factory=lambda: Pace(MOST_LOGS, _LOG_HINT))


@cache
def deployment() -> EventsDeployment:
    """Built by the first request. Raises Terminal if the settings are invalid."""
    settings = EventsSettings.from_environment()
    access = Access(settings.access_rules, log.write_line)
    return EventsDeployment(Ingestion.deployed(settings), access, wiring.objects_of(settings))


def post_events(call: Call[Query]) -> Steps[Reply]:
    """Make 1 to 100 events durable. The answer does not say whether a tick will accept them.

    The same request can be safely repeated.
    """
    at = deployment().ingestion
    try:
        now = yield from at.around.time()
        holder = claims.holder_of(call.event, now)
        return api.answer(202, (yield from at.take(call.town_id, call.body, holder, now=now, trail=call.trail)))
    except TownError as error:
        status = error.status if isinstance(error, Refused) else type(error).__name__
        at.count({"eventsRefused": 1}, {"event": "events.refused", "why": str(status)})
        raise


def post_as_operator(call: Call[Query]) -> Reply:
    """Make 1 to 100 events of an operator durable, signed and without a town token. Only the next tick decides about them.

    The town notes the request as their sender, and the audit line of the request names the caller. It can be safely repeated.
    """
    here, signed = deployment().ingestion, request_of(call.event)
    now = drive(here.around.time())
    sender = Sender("operator", request=signed.request_id)
    batch = ingest.accept(call.body, received_at=now, sent_by=sender, restore_window=here.around.restore_window)
    return api.answer(202, drive(here.store(call.town_id, batch, now=now, trail=call.trail)))


def put_town(call: Call[Query]) -> Reply:
    """Create a town that does not exist yet; its first tick is due at once. Answers 409 if a town with this id exists."""
    from shared.runner.founding import found_town  # noqa: PLC0415 - few requests create a town

    new = api.read(NewTown, call.body)
    around = deployment().ingestion.around
    image = drive(found_town(call.town_id, around, worker_id=ids.worker_id(), config=new.config, paused=new.paused))
    return api.answer(201, CreatedTown(call.town_id, image.txid, image.image_digest))


def put_log(call: Call[LogQuery]) -> Reply:
    """Keep the newest 256 KiB of what an agent printed, or of its transcript, without its secrets. The body is plain text.

    It replaces an earlier report of the same start, so the same request can be safely repeated.
    """
    from functions.events.logs import LogShelf  # noqa: PLC0415 - few requests report a log

    here = deployment()
    now = drive(here.ingestion.around.time())
    holder = claims.holder_of(call.event, now)
    body, shelf = api.body_of(call.event), LogShelf(here.objects, here.log_pace)
    return api.answer(200, drive(shelf.take(call.town_id, call.ids["agentId"], call.query, body, holder, now=now)))


def list_towns(call: Call[TownsQuery]) -> Reply:
    """The towns that the caller may read, one page at a time: `next` is the `after` of the next page, null on the last one."""
    asked, here = call.query, deployment()
    store = here.ingestion.around.store
    found = town_list.page(store, here.access, request_of(call.event), after=asked.after, limit=asked.limit)
    return api.answer(200, found)


def resume(call: Call[Query]) -> Reply:
    """Run a town again that was set aside because its runs ended their processes. Its next run is due at once."""
    from shared.runner.neighbours import resume as resumed  # noqa: PLC0415 - few requests resume a town

    return api.answer(200, ResumedTown(call.town_id, drive(resumed(deployment().ingestion.around, call.town_id))))


def say_to_mayor(call: Call[Query]) -> Reply:
    """Say something to the mayor, in the name of the caller: a message that wakes the mayor, or starts it.

    The answer only says that it is stored. `GET` on the same path shows whether it is delivered, and what the mayor has said.
    """
    words, here = api.read(Words, call.body), deployment().ingestion
    signed = request_of(call.event)
    message_id = words.message_id or ids.message_id()
    said = said_to_the_mayor(words.text, by=person_in(signed.caller), message_id=message_id)
    now = drive(here.around.time())
    sender = Sender("operator", request=signed.request_id)
    batch = ingest.batch_of([said], received_at=now, sent_by=sender, restore_window=here.around.restore_window)
    drive(here.store(call.town_id, batch, now=now, trail=call.trail))
    return api.answer(202, Said(call.town_id, message_id))


def _with_a_token(_: Mapping[str, Any], ids: Mapping[str, str]) -> None:
    """Admit every request: the gateway has verified its token, and the handler checks the claims."""


def _signed(event: Mapping[str, Any], _: Mapping[str, str]) -> SignedRequest:
    """Admit every signed request: the list shows only what the caller may read."""
    return request_of(event)


def _may_write(event: Mapping[str, Any], ids: Mapping[str, str]) -> SignedRequest:
    """Admit a signed request whose caller may write to the town. Raises Refused."""
    request = request_of(event)
    deployment().access.require(request, "write", ids["townId"])
    return request


def _may_create(event: Mapping[str, Any], ids: Mapping[str, str]) -> SignedRequest:
    """Admit a signed request whose caller may create a town with this id. Raises Refused."""
    request = request_of(event)
    deployment().access.require_new(request, ids["townId"])
    return request


_TOWN: Final = "/api/towns/{townId}"

ROUTES: Final[tuple[Route[Any], ...]] = (
    Route("POST", f"{_TOWN}/events", "Report facts to a town", _with_a_token, post_events, Query, "townToken"),
    Route(
        "PUT",
        f"{_TOWN}/agents/{{agentId}}/log",
        "Report what an agent printed",
        _with_a_token,
        put_log,
        LogQuery,
        "townToken",
    ),
    Route("PUT", _TOWN, "Create a town", _may_create, put_town, Query),
    Route("GET", "/api/towns", "List your towns", _signed, list_towns, TownsQuery),
    Route("POST", f"{_TOWN}/operator/events", "Report facts as an operator", _may_write, post_as_operator, Query),
    Route("POST", f"{_TOWN}/resume", "Run a town again that was set aside", _may_write, resume, Query),
    Route("POST", f"{_TOWN}/mayor/messages", "Say something to the mayor", _may_write, say_to_mayor, Query),
)


def answered(event: Any, write_line: Callable[[str], object] = log.write_line) -> Reply:
    """Answer one request, and write its audit line."""
    return drive(answering(event, write_line))


def answering(event: Any, write_line: Callable[[str], object] = log.write_line) -> Steps[Reply]:
    """Answer one request as `answered` does. Of posts that are driven together, one call stores the batches."""
    return api.answering(ROUTES, event, wiring.tell_bug, write_line=write_line)


def lambda_handler(event: Any, context: Any) -> Reply:  # noqa: ARG001 - the handler's shape
    """Answer one request."""
    return answered(event)
