"""The handler of the debug API. It only reads, and its role may only read."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Path, Query

from functions import api, wiring
from functions.access import Access, Verb, request_of, require_town_id
from functions.api import TownId
from functions.debug import views
from functions.debug.answers import HealthDocument
from functions.settings import DebugSettings
from shared.adapters import ids
from shared.domain.shapes import document
from shared.ports.steps import drive
from shared.ports.town_past import TownPast
from shared.questions import bead_view
from shared.questions import status as reports
from shared.runner.code_version import code_version
from shared.runner.surroundings import Surroundings

BODY_SIZE: Final = 7 << 20

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call

app = api.resolver()


@dataclass(frozen=True, slots=True)
class DebugDeployment:
    """The objects that live as long as this environment. No town images are kept: each request reads its own copy."""

    settings: DebugSettings
    around: Surroundings
    access: Access

    def past(self) -> TownPast:
        """The retained past, for one request."""
        return wiring.past(self.settings)


@cache
def deployment() -> DebugDeployment:
    """Built by the first request. Raises Terminal if the settings are invalid."""
    settings = DebugSettings.from_environment()
    around = wiring.surroundings(settings, wiring.store(settings))
    return DebugDeployment(settings, around, Access(settings.access_rules, wiring.write_line))


@app.get("/api/health", summary="Is the debug API up", tags=["debug"])
def health() -> Response[str]:
    """Which deployment answers. Does not read the store."""
    request_of(app.current_event.raw_event)
    here = deployment().settings
    found: HealthDocument = {"stage": here.stage, "release": here.release, "codeVersion": code_version()}
    return api.answer(200, found)


@app.get("/api/towns/<townId>/status", summary="What a town is doing", tags=["debug"])
def status(townId: TownId) -> Response[str]:  # noqa: N803 - the name in the path
    """Metrics of the last tick, alarms, agents and beads; for everything that waits, the reason, since when and until when."""
    here = _allowed(townId, "read")
    return api.answer(200, document(drive(reports.status(townId, here.around))))


@app.get("/api/towns/<townId>/ticks", summary="What past ticks did", tags=["debug"])
def ticks(
    townId: TownId,  # noqa: N803
    limit: Annotated[int, Query(ge=1, le=128)] = 20,
    after: Annotated[int | None, Query(ge=0)] = None,
) -> Response[str]:
    """The newest journal rows in the image, or those after tick `after`. For older ticks use replay-events."""
    here = _allowed(townId, "read")
    image = drive(here.around.store.load(townId))
    return api.answer(200, views.ticks_document(image, after=after, limit=limit))


@app.get("/api/towns/<townId>/beads/<beadId>", summary="One bead with its history", tags=["debug"])
def bead(
    townId: TownId,  # noqa: N803
    beadId: Annotated[str, Path(alias="beadId", description="The bead's id.")],  # noqa: N803
) -> Response[str]:
    """Its row, its dependencies and its audit trail."""
    here = _allowed(townId, "read")
    return api.answer(200, document(drive(bead_view.bead(townId, beadId, here.around.store))))


@app.post("/api/towns/<townId>/debug/reconcile-dry-run", summary="What the next tick would do", tags=["debug"])
def reconcile_dry_run(townId: TownId) -> Response[str]:  # noqa: N803
    """The next tick on a private copy, stopped before its commit, with the complete input that it was given."""
    here = _allowed(townId, "debug")
    body = api.json_of(api.body_of(app.current_event.raw_event), limit=BODY_SIZE)
    from shared.replay import debug_calls  # noqa: PLC0415 - most requests need no replay

    shown = debug_calls.reconcile_dry_run(townId, here.around, body, worker_id=ids.worker_id())
    return api.answer(200, document(drive(shown)))


@app.post("/api/towns/<townId>/debug/replay-events", summary="What past ticks did, run again", tags=["debug"])
def replay_events(townId: TownId) -> Response[str]:  # noqa: N803
    """Replay the recorded ticks of a window and compare each with what was committed. One page at a time: see `cursor`."""
    here = _allowed(townId, "debug")
    body = api.json_of(api.body_of(app.current_event.raw_event), limit=BODY_SIZE)
    from shared.replay import debug_calls  # noqa: PLC0415 - as above

    return api.answer(200, document(drive(debug_calls.replay_events(townId, here.past(), here.around, body))))


def _allowed(town_id: str, verb: Verb) -> DebugDeployment:
    """The deployment, after checking that the caller may do this to the town. Raises Refused."""
    request = request_of(app.current_event.raw_event)
    require_town_id(town_id)
    here = deployment()
    here.access.require(request, verb, town_id)
    return here


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer one request."""
    return api.run(app, event, context, wiring.tell_bug)
