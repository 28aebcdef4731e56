"""The handler of requests that read the image of a town and then post an event.

An operator has a poisoned event sent again (IAM), or a person acknowledges an escalation by the link in a notice. It is a function
of its own, because it loads the image of a town, which needs memory and room that grow with the town (`functions.room`). The events
function, which producers call all day, loads none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Final

from functions import api, log, wiring
from functions.access import Access, SignedRequest, request_of
from functions.api import Call, Reply, Route
from functions.ingestion import Ingestion
from functions.queries import Query
from functions.redrive import acknowledging
from functions.redrive.acknowledging import Links
from functions.settings import RedriveSettings
from shared.adapters.rotated_secret import RotatedSecret
from shared.intake.redrive import redriven
from shared.ports.steps import drive

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call


KEY_LIFE: Final = timedelta(minutes=1)
"""How long the key of links that was rotated away is still believed here."""


@dataclass(frozen=True, slots=True)
class RedriveDeployment:
    """The objects that live as long as this environment."""

    ingestion: Ingestion
    access: Access
    links: Links


@cache
def deployment() -> RedriveDeployment:
    """Built by the first request. Raises Terminal if the settings are invalid."""
    settings = RedriveSettings.from_environment()
    access = Access(settings.access_rules, log.write_line)
    keys = RotatedSecret(settings.token_secret, wiring.CLOCK, settings.secrets_endpoint, life=KEY_LIFE)
    return RedriveDeployment(Ingestion.deployed(settings), access, Links(keys.values, keys.refreshed))


def redrive(call: Call[Query]) -> Reply:
    """Post a copy of a poisoned event, with the id `<id>:r<n>`. The poisoned event itself stays unchanged."""
    here = deployment().ingestion
    now = drive(here.around.time())
    batch = drive(redriven(call.town_id, call.ids["eventId"], here.around.store, now=now))
    return api.answer(202, drive(here.store(call.town_id, batch, now=now, trail=call.trail)))


def show_escalation(call: Call[Query]) -> Reply:
    """Show the escalation of a link in a notice, with a button that acknowledges it. Nothing is changed.

    The link is the credential: no other is needed, and it is good for this one escalation, for seven days.
    """
    here = deployment()
    return acknowledging.shown(call, here.links, here.ingestion)


def acknowledge_escalation(call: Call[Query]) -> Reply:
    """Acknowledge the escalation of a link in a notice: the event `escalation_acknowledged`. Any body is ignored.

    The same request can be safely repeated.
    """
    here = deployment()
    return acknowledging.acknowledged(call, here.links, here.ingestion)


def _by_link(_: Mapping[str, Any], __: Mapping[str, str]) -> None:
    """Admit every request: the handler verifies the link."""


def _may_write(event: Mapping[str, Any], ids: Mapping[str, str]) -> SignedRequest:
    """Admit a signed request whose caller may write to the town. Raises Refused."""
    request = request_of(event)
    deployment().access.require(request, "write", ids["townId"])
    return request


LINK: Final = "/acknowledge/{link}"

ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        "POST",
        "/api/towns/{townId}/events/{eventId}/redrive",
        "Send a poisoned event again",
        _may_write,
        redrive,
        Query,
    ),
    Route("GET", LINK, "Look at the escalation of a link in a notice", _by_link, show_escalation, Query, "link"),
    Route("POST", LINK, "Acknowledge the escalation of a link", _by_link, acknowledge_escalation, Query, "link"),
)


def answered(event: Any, write_line: Callable[[str], object] = log.write_line) -> Reply:
    """Answer one request, and write its audit line."""
    return api.run(ROUTES, event, wiring.tell_bug, write_line=write_line)


def lambda_handler(event: Any, context: Any) -> Reply:  # noqa: ARG001 - the handler's shape
    """Answer one request."""
    return answered(event)
