"""The handler of the debug API. It only reads, and its role may only read.

A handler imports the question that it asks when it is called, because most requests need only one of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from functions import api, log, paths, wiring
from functions.access import Access, SignedRequest, request_of
from functions.api import Call, Reply, Route
from functions.debug.agents import AgentReads, pace
from functions.debug.answers import Health
from functions.debug.history import HistoryReads
from functions.debug.schemas import (
    BeadsQuery,
    EventsQuery,
    ExplainQuery,
    LogQuery,
    PageQuery,
    PointsQuery,
    StatusQuery,
    TicksQuery,
    TimelineQuery,
)
from functions.pace import Pace
from functions.queries import Query
from functions.settings import DebugSettings, Verb
from shared.adapters import ids
from shared.ports.agent_logs import AgentLogs
from shared.ports.steps import drive
from shared.ports.town_past import TownPast
from shared.questions.filters import BeadFilter
from shared.runner.code_version import code_version
from shared.runner.surroundings import Surroundings

if TYPE_CHECKING:
    from shared.storage.restore import KeptPast

BODY_SIZE: Final = 7 << 20
OPENAPI: Final = Path(__file__).parents[1] / "openapi.json"

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call


@dataclass(frozen=True, slots=True)
class DebugDeployment:
    """The objects that live as long as this environment. No town images are kept: each request reads its own copy."""

    settings: DebugSettings
    around: Surroundings
    access: Access
    pace: Pace = field(default_factory=pace, kw_only=True)

    def past(self) -> TownPast:
        """The retained past, for one request."""
        return wiring.past(self.settings)

    def logs(self) -> AgentLogs:
        """The logs of agents."""
        return wiring.agent_logs(self.settings)

    def kept_past(self, town_id: str) -> "KeptPast":
        """The objects of a town with their versions."""
        return wiring.kept_past(self.settings, town_id)


@cache
def deployment() -> DebugDeployment:
    """Built by the first request. Raises Terminal if the settings are invalid."""
    settings = DebugSettings.from_environment()
    around = wiring.surroundings(settings, wiring.store(settings))
    return DebugDeployment(settings, around, Access(settings.access_rules, log.write_line))


def health(_: Call[Query]) -> Reply:
    """Which deployment answers. Does not read the store."""
    here = deployment().settings
    return api.answer(200, Health(here.stage, wiring.release(), code_version()))


def openapi(_: Call[Query]) -> Reply:
    """The description of every route, as an OpenAPI document."""
    return api.answer_text(OPENAPI.read_text(encoding="utf-8"))


def status(call: Call[Query]) -> Reply:
    """The last tick's metrics, alarms, agents and live beads; for each waiting bead, why, since when and until when it waits."""
    from shared.questions import status as question  # noqa: PLC0415 - see the module's docstring

    here = deployment()
    return api.answer(200, drive(question.status(call.town_id, here.around, here.logs, here.past)))


def view(call: Call[ExplainQuery]) -> Reply:
    """The status with the beads, dependencies, reviews and escalations of the same commit, and what the rules will do next."""
    from shared.questions import town_view  # noqa: PLC0415 - as above

    here, at = deployment(), call.query.at
    return api.answer(200, drive(town_view.town_view(call.town_id, here.around, here.past(), at=at, logs=here.logs)))


def beads(call: Call[BeadsQuery]) -> Reply:
    """Beads that match all filters, including closed ones, newest first."""
    from shared.questions import bead_list  # noqa: PLC0415 - as above

    asked = call.query
    wanted = BeadFilter(asked.status, asked.type, asked.convoy, asked.rig, asked.label, asked.text)
    around = deployment().around
    now = around.clock.now()
    found = bead_list.beads(call.town_id, around.store, wanted, now=now, limit=asked.limit, cursor=asked.cursor)
    return api.answer(200, drive(found))


def bead(call: Call[Query]) -> Reply:
    """The bead's fields, dependencies and audit trail."""
    from shared.questions import bead_view  # noqa: PLC0415 - as above

    return api.answer(200, drive(bead_view.bead(call.town_id, call.ids["beadId"], deployment().around.store)))


def agents(call: Call[Query]) -> Reply:
    """Every agent of the town, with its hook and its last status message."""
    from shared.questions import rosters  # noqa: PLC0415 - as above

    return api.answer(200, drive(rosters.agents(call.town_id, deployment().around.store)))


def convoys(call: Call[PageQuery]) -> Reply:
    """Convoys, including landed ones, newest first."""
    from shared.questions import bead_list  # noqa: PLC0415 - as above

    asked, store = call.query, deployment().around.store
    return api.answer(200, drive(bead_list.convoys(call.town_id, store, limit=asked.limit, cursor=asked.cursor)))


def reviews(call: Call[StatusQuery]) -> Reply:
    """Merge requests, including closed ones, newest first."""
    from shared.questions import town_lists  # noqa: PLC0415 - as above

    asked, store = call.query, deployment().around.store
    found = town_lists.reviews(call.town_id, store, status=asked.status, limit=asked.limit, cursor=asked.cursor)
    return api.answer(200, drive(found))


def escalations(call: Call[StatusQuery]) -> Reply:
    """Escalations, including closed ones, newest first."""
    from shared.questions import town_lists  # noqa: PLC0415 - as above

    asked, store = call.query, deployment().around.store
    found = town_lists.escalations(call.town_id, store, status=asked.status, limit=asked.limit, cursor=asked.cursor)
    return api.answer(200, drive(found))


def rigs(call: Call[Query]) -> Reply:
    """Every rig, with the numbers of its live issues and of its agents at work."""
    from shared.questions import town_lists  # noqa: PLC0415 - as above

    return api.answer(200, drive(town_lists.rigs(call.town_id, deployment().around.store)))


def mail(call: Call[PageQuery]) -> Reply:
    """The messages of the town, newest first, and whether they are delivered."""
    from shared.questions import letters  # noqa: PLC0415 - as above

    asked, store = call.query, deployment().around.store
    return api.answer(200, drive(letters.mail(call.town_id, store, limit=asked.limit, cursor=asked.cursor)))


def mayor_messages(call: Call[PageQuery]) -> Reply:
    """What was written to the mayor and what it has said, newest first."""
    from shared.questions import letters  # noqa: PLC0415 - as above

    asked, store = call.query, deployment().around.store
    return api.answer(200, drive(letters.conversation(call.town_id, store, limit=asked.limit, cursor=asked.cursor)))


def explain_bead(call: Call[ExplainQuery]) -> Reply:
    """The history of a bead, and why it waits now or waited at a past time."""
    from shared.questions import explain  # noqa: PLC0415 - as above

    here = deployment()
    now, bead_id = here.around.clock.now(), call.ids["beadId"]
    found = explain.explain_bead(call.town_id, bead_id, here.past(), now=now, at=call.query.at, logs=here.logs())
    return api.answer(200, drive(found))


def explain_agent(call: Call[ExplainQuery]) -> Reply:
    """The history of an agent, and why it waits now or waited at a past time."""
    from shared.questions import explain  # noqa: PLC0415 - as above

    here = deployment()
    now, agent_id = here.around.clock.now(), call.ids["agentId"]
    found = explain.explain_agent(call.town_id, agent_id, here.past(), now=now, at=call.query.at, logs=here.logs())
    return api.answer(200, drive(found))


def agent_log(call: Call[LogQuery]) -> Reply:
    """The newest part of what an agent's start printed, or of its transcript: of the newest start, or of a generation."""
    from shared.questions import agent_log as question  # noqa: PLC0415 - as above

    asked, here = call.query, deployment()
    found = question.agent_log(
        call.town_id, call.ids["agentId"], here.logs(), here.around.store, kind=asked.kind, generation=asked.generation
    )
    return api.answer(200, drive(found))


def bead_log(call: Call[LogQuery]) -> Reply:
    """The same of the newest start that worked on a bead, or of one of its starts."""
    from shared.questions import agent_log as question  # noqa: PLC0415 - as above

    asked, here = call.query, deployment()
    found = question.bead_log(
        call.town_id, call.ids["beadId"], here.logs(), here.around.store, kind=asked.kind, generation=asked.generation
    )
    return api.answer(200, drive(found))


def reconcile_dry_run(call: Call[Query]) -> Reply:
    """Run the next tick on a private copy and stop before the commit. The answer contains the tick's complete input."""
    from shared.questions import dry_run_call  # noqa: PLC0415 - as above

    body = api.json_of(call.body, limit=BODY_SIZE)
    found = dry_run_call.reconcile_dry_run(call.town_id, deployment().around, body, worker_id=ids.worker_id())
    return api.answer(200, drive(found))


def replay_events(call: Call[Query]) -> Reply:
    """Replay the recorded ticks of a window and compare each with its commit, one page at a time (see `cursor`)."""
    from shared.replay import replay_call  # noqa: PLC0415 - as above

    body, here = api.json_of(call.body, limit=BODY_SIZE), deployment()
    return api.answer(200, drive(replay_call.replay_events(call.town_id, here.past(), here.around, body)))


def _signed(event: Mapping[str, Any], _: Mapping[str, str]) -> SignedRequest:
    """Admit every signed request."""
    return deployment().access.admit(request_of(event))


def _may(verb: Verb) -> Callable[[Mapping[str, Any], Mapping[str, str]], SignedRequest]:
    """Admit a signed request whose caller may do this to the town. Raises Refused."""

    def admit(event: Mapping[str, Any], ids: Mapping[str, str]) -> SignedRequest:
        request = request_of(event)
        deployment().access.require(request, verb, ids["townId"])
        return request

    return admit


_HISTORY: Final = HistoryReads(lambda: deployment())  # noqa: PLW0108 - as below
_SEEN: Final = AgentReads(lambda: deployment())  # noqa: PLW0108 - each request asks for it by its name
_READ: Final = _may("read")
_DEBUG: Final = _may("debug")
_TOWN: Final = "/api/towns/{townId}"

ROUTES: Final[tuple[Route[Any], ...]] = (
    Route("GET", "/api/health", "Whether the debug API is up", _signed, health, Query),
    Route("GET", "/openapi.json", "The description of this API", _signed, openapi, Query),
    Route("GET", f"{_TOWN}/status", "What a town is doing", _READ, status, Query),
    Route("GET", f"{_TOWN}/view", "Everything about a town, of one commit", _READ, view, ExplainQuery),
    Route("GET", f"{_TOWN}/timeline", "What happened in a window of time", _READ, _HISTORY.timeline, TimelineQuery),
    Route("GET", f"{_TOWN}/ticks/{{tick}}", "What one past tick did", _READ, _HISTORY.tick, Query),
    Route("GET", f"{_TOWN}/ticks", "What past ticks did", _READ, _HISTORY.ticks, TicksQuery),
    Route("GET", f"{_TOWN}/beads", "The beads of a town", _READ, beads, BeadsQuery),
    Route("GET", f"{_TOWN}/beads/{{beadId}}", "One bead with its history", _READ, bead, Query),
    Route("GET", f"{_TOWN}/agents", "The agents of a town", _READ, agents, Query),
    Route("GET", f"{_TOWN}/agents/{{agentId}}/log", "What an agent printed", _READ, agent_log, LogQuery),
    Route("GET", f"{_TOWN}/beads/{{beadId}}/log", "What the agent of a bead printed", _READ, bead_log, LogQuery),
    Route("GET", f"{_TOWN}/convoys", "The convoys of a town", _READ, convoys, PageQuery),
    Route("GET", f"{_TOWN}/reviews", "The reviews of a town", _READ, reviews, StatusQuery),
    Route("GET", f"{_TOWN}/escalations", "The escalations of a town", _READ, escalations, StatusQuery),
    Route("GET", f"{_TOWN}/rigs", "The rigs of a town", _READ, rigs, Query),
    Route("GET", f"{_TOWN}/mail", "The messages of a town", _READ, mail, PageQuery),
    Route("GET", f"{_TOWN}/mayor/messages", "The conversation with the mayor", _READ, mayor_messages, PageQuery),
    Route("GET", f"{_TOWN}/config", "The settings of a town", _READ, _HISTORY.config, ExplainQuery),
    Route("GET", f"{_TOWN}/config/changes", "Changes of settings", _READ, _HISTORY.config_changes, ExplainQuery),
    Route("GET", f"{_TOWN}/points", "The restore points of a town", _READ, _HISTORY.points, PointsQuery),
    Route("GET", f"{_TOWN}/points/{{txid}}", "What a restore leaves behind", _READ, _HISTORY.point, Query),
    Route("GET", f"{_TOWN}/events", "The events of a town", _READ, _HISTORY.events, EventsQuery),
    Route("GET", f"{_TOWN}/events/{{eventId}}", "One event in full", _READ, _HISTORY.one_event, Query),
    Route("GET", f"{_TOWN}/explain/beads/{{beadId}}", "Why a bead waits", _READ, explain_bead, ExplainQuery),
    Route("GET", f"{_TOWN}/explain/agents/{{agentId}}", "Why an agent waits", _READ, explain_agent, ExplainQuery),
    Route("POST", f"{_TOWN}/debug/reconcile-dry-run", "What the next tick would do", _DEBUG, reconcile_dry_run, Query),
    Route("POST", f"{_TOWN}/debug/replay-events", "Run past ticks again", _DEBUG, replay_events, Query),
    *_SEEN.routes,
)


def answered(event: Any, write_line: Callable[[str], object] = log.write_line) -> Reply:
    """Answer one request, and write its audit line. A request that matches no route gets 404 or 405."""
    return api.run(ROUTES, event, wiring.tell_bug, others=paths.OTHER_PATHS, write_line=write_line)


def lambda_handler(event: Any, context: Any) -> Reply:  # noqa: ARG001 - the handler's shape
    """Answer one request."""
    return answered(event)
