"""The handler of redrive: an operator has a poisoned event sent again (IAM).

It is a function of its own, because it loads the image of a town, which needs memory and room that grow with the town
(`functions.room`). The events function, which producers call all day, loads none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from functions import api, log, wiring
from functions.access import Access, SignedRequest, request_of
from functions.api import Call, Reply, Route
from functions.ingestion import Ingestion
from functions.queries import Query
from functions.settings import RedriveSettings
from shared.intake.redrive import redriven
from shared.ports.steps import drive

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call


@dataclass(frozen=True, slots=True)
class RedriveDeployment:
    """The objects that live as long as this environment."""

    ingestion: Ingestion
    access: Access


@cache
def deployment() -> RedriveDeployment:
    """Built by the first request. Raises Terminal if the settings are invalid."""
    settings = RedriveSettings.from_environment()
    return RedriveDeployment(Ingestion.deployed(settings), Access(settings.access_rules, log.write_line))


def redrive(call: Call[Query]) -> Reply:
    """Post a copy of a poisoned event, with the id `<id>:r<n>`. The poisoned event itself stays unchanged."""
    here = deployment().ingestion
    now = drive(here.around.time())
    batch = drive(redriven(call.town_id, call.ids["eventId"], here.around.store, now=now))
    return api.answer(202, here.store(call.town_id, batch, now=now, trail=call.trail))


def _may_write(event: Mapping[str, Any], ids: Mapping[str, str]) -> SignedRequest:
    """Admit a signed request whose caller may write to the town. Raises Refused."""
    request = request_of(event)
    deployment().access.require(request, "write", ids["townId"])
    return request


ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        "POST",
        "/api/towns/{townId}/events/{eventId}/redrive",
        "Send a poisoned event again",
        _may_write,
        redrive,
        Query,
    ),
)


def answered(event: Any, write_line: Callable[[str], object] = log.write_line) -> Reply:
    """Answer one request, and write its audit line."""
    return api.run(ROUTES, event, wiring.tell_bug, write_line=write_line)


def lambda_handler(event: Any, context: Any) -> Reply:  # noqa: ARG001 - the handler's shape
    """Answer one request."""
    return answered(event)
