"""What each route promises: its answer, the statuses with which it may refuse, its request body and an example of that.

The functions do not import these shapes at start, so the tables of routes lack them.
"""

from typing import Any, Final, NamedTuple

from functions.accepted import AcceptedReport
from functions.archive.schemas import ArchiveTown, DeleteTown
from functions.credentials.answers import IssuedCredential
from functions.debug.answers import Health
from functions.events.schemas import NewTown, Words
from infra.ops.event_schemas import POSTED
from shared.questions.agent_log import AgentLog
from shared.questions.bead_list import BeadList, ConvoyList
from shared.questions.bead_view import BeadAnswer
from shared.questions.dry_run import DryRun
from shared.questions.dry_run_call import DryRunRequest
from shared.questions.event_list import EventList
from shared.questions.event_view import EventView
from shared.questions.explain import Explanation
from shared.questions.left_behind import PointView
from shared.questions.letters import Conversation, LetterList
from shared.questions.point_list import PointList
from shared.questions.receipts import AcceptedEvents, CreatedTown, KeptLogReport, ResumedTown, Said
from shared.questions.rosters import AgentList, TownSettings
from shared.questions.setting_history import SettingHistory
from shared.questions.status import TownStatus
from shared.questions.tick_list import TickList
from shared.questions.timeline import Timeline
from shared.questions.town_list import TownList
from shared.questions.town_lists import EscalationList, ReviewList, RigList
from shared.questions.town_view import TownView
from shared.replay.replayed import Replay
from shared.replay.requests import ReplayRequest
from shared.replay.tick_view import TickView
from shared.replay.what_if.run import WhatIf
from shared.storage.deletion import DeletedTown
from shared.storage.put_away import ArchivedTowns, PutAway

TEXT: Final = "text"
"""In place of the model of a body: plain text."""


PAGE: Final = "page"
"""In place of the model of an answer: a page for people, also where it refuses."""


class Contract(NamedTuple):
    """The operation id of a route, its success status and answer, the statuses with which it may refuse, and its request body."""

    name: str
    status: int
    says: str
    answer: Any
    refuses: tuple[int, ...]
    body: Any = None


_ALWAYS: Final = (401, 413, 422, 500)
_ABOUT_A_TOWN: Final = (403, 404, 503, *_ALWAYS)
_ASKED_BY_AN_AGENT: Final = (429, *_ABOUT_A_TOWN)
_WITH_A_BODY: Final = (400, 409, 410, 415, *_ABOUT_A_TOWN)
_OF_A_LINK: Final = (401, 410, 429, 500, 503)
_LINK: Final = "/acknowledge/{link}"
_TOWN: Final = "/api/towns/{townId}"
_AGENTS: Final = "/api/agents/towns/{townId}"
CONTRACTS: Final[dict[tuple[str, str], Contract]] = {
    ("post", f"{_TOWN}/events"): Contract(
        "postEvents", 202, "The events are stored.", AcceptedReport, (429, *_WITH_A_BODY), POSTED
    ),
    ("post", f"{_TOWN}/operator/events"): Contract(
        "postOperatorEvents", 202, "The events are stored.", AcceptedEvents, (429, *_WITH_A_BODY), POSTED
    ),
    ("put", f"{_TOWN}/agents/{{agentId}}/log"): Contract(
        "putAgentLog", 200, "The newest part of the log is kept.", KeptLogReport, _ASKED_BY_AN_AGENT, TEXT
    ),
    ("get", f"{_TOWN}/agents/{{agentId}}/log"): Contract("getAgentLog", 200, "The log.", AgentLog, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/beads/{{beadId}}/log"): Contract("getBeadLog", 200, "The log.", AgentLog, _ABOUT_A_TOWN),
    ("post", f"{_TOWN}/agents/{{agentId}}/refresh-token"): Contract(
        "refreshToken",
        200,
        "The credential, or why there is none.",
        IssuedCredential,
        (400, 415, 429, *_ABOUT_A_TOWN),
    ),
    ("put", _TOWN): Contract(
        "createTown",
        201,
        "The town was created; its first tick is due.",
        CreatedTown,
        (400, 403, 409, 415, 503, *_ALWAYS),
        NewTown,
    ),
    ("get", "/api/towns"): Contract("listTowns", 200, "A page of towns.", TownList, (503, *_ALWAYS)),
    ("post", f"{_TOWN}/events/{{eventId}}/redrive"): Contract(
        "redriveEvent", 202, "A copy of the event is stored.", AcceptedEvents, (400, 409, 410, *_ABOUT_A_TOWN)
    ),
    ("get", _LINK): Contract("showEscalation", 200, "The page.", PAGE, _OF_A_LINK),
    ("post", _LINK): Contract("acknowledgeEscalation", 202, "The acknowledgement is stored.", PAGE, _OF_A_LINK),
    ("post", f"{_TOWN}/resume"): Contract(
        "resumeTown", 200, "The town runs with the others.", ResumedTown, _ABOUT_A_TOWN
    ),
    ("post", f"{_TOWN}/archive"): Contract(
        "archiveTown", 200, "The town is archived.", PutAway, (400, 409, 415, *_ABOUT_A_TOWN), ArchiveTown
    ),
    ("post", f"{_TOWN}/bring-back"): Contract(
        "bringTownBack", 200, "The town is a town again, still paused.", PutAway, (400, 409, *_ABOUT_A_TOWN)
    ),
    ("post", f"{_TOWN}/delete"): Contract(
        "deleteTown",
        200,
        "The town is deleted for good, or a part of it: then `left` is not 0.",
        DeletedTown,
        (400, 409, 415, *_ABOUT_A_TOWN),
        DeleteTown,
    ),
    ("get", "/api/archived-towns"): Contract(
        "listArchivedTowns", 200, "The archived towns.", ArchivedTowns, (503, *_ALWAYS)
    ),
    ("get", "/api/health"): Contract("getHealth", 200, "The API works.", Health, _ALWAYS),
    ("get", "/openapi.json"): Contract("getOpenapiDocument", 200, "This document.", None, _ALWAYS),
    ("get", f"{_TOWN}/status"): Contract("getTownStatus", 200, "The town's status.", TownStatus, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/ticks"): Contract("listTicks", 200, "A page of ticks.", TickList, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/beads"): Contract("listBeads", 200, "A page of beads.", BeadList, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/beads/{{beadId}}"): Contract(
        "getBead", 200, "The bead with its history.", BeadAnswer, _ABOUT_A_TOWN
    ),
    ("get", f"{_TOWN}/agents"): Contract("listAgents", 200, "The agents.", AgentList, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/convoys"): Contract("listConvoys", 200, "A page of convoys.", ConvoyList, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/reviews"): Contract("listReviews", 200, "A page of reviews.", ReviewList, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/escalations"): Contract(
        "listEscalations", 200, "A page of escalations.", EscalationList, _ABOUT_A_TOWN
    ),
    ("get", f"{_TOWN}/rigs"): Contract("listRigs", 200, "The rigs.", RigList, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/mail"): Contract("listMail", 200, "A page of messages.", LetterList, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/mayor/messages"): Contract(
        "listMayorMessages", 200, "A page of the conversation.", Conversation, _ABOUT_A_TOWN
    ),
    ("post", f"{_TOWN}/mayor/messages"): Contract(
        "sayToMayor", 202, "The message is stored.", Said, (429, *_WITH_A_BODY), Words
    ),
    ("get", f"{_AGENTS}/reviews"): Contract(
        "listReviewsForAgent", 200, "A page of reviews.", ReviewList, _ASKED_BY_AN_AGENT
    ),
    ("get", f"{_AGENTS}/escalations"): Contract(
        "listEscalationsForAgent", 200, "A page of escalations.", EscalationList, _ASKED_BY_AN_AGENT
    ),
    ("get", f"{_AGENTS}/rigs"): Contract("listRigsForAgent", 200, "The rigs.", RigList, _ASKED_BY_AN_AGENT),
    ("get", f"{_AGENTS}/mail"): Contract(
        "listMailForAgent", 200, "A page of messages.", LetterList, _ASKED_BY_AN_AGENT
    ),
    ("get", f"{_TOWN}/config"): Contract("getTownConfig", 200, "The settings.", TownSettings, (400, *_ABOUT_A_TOWN)),
    ("get", f"{_TOWN}/config/changes"): Contract(
        "listSettingChanges", 200, "The newest changes.", SettingHistory, (400, *_ABOUT_A_TOWN)
    ),
    ("get", f"{_TOWN}/points"): Contract(
        "listRestorePoints", 200, "The newest restore points.", PointList, _ABOUT_A_TOWN
    ),
    ("get", f"{_TOWN}/points/{{txid}}"): Contract(
        "getRestorePoint", 200, "The restore point.", PointView, _ABOUT_A_TOWN
    ),
    ("get", f"{_TOWN}/events"): Contract("listEvents", 200, "A page of events.", EventList, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/events/{{eventId}}"): Contract("getEvent", 200, "The event.", EventView, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/view"): Contract("getTownView", 200, "The town, of one commit.", TownView, (400, *_ABOUT_A_TOWN)),
    ("get", f"{_TOWN}/timeline"): Contract(
        "getTimeline", 200, "The window of the town's history.", Timeline, (400, *_ABOUT_A_TOWN)
    ),
    ("get", f"{_TOWN}/ticks/{{tick}}"): Contract("getTick", 200, "The past tick.", TickView, _ABOUT_A_TOWN),
    ("get", f"{_TOWN}/explain/beads/{{beadId}}"): Contract(
        "explainBead", 200, "The bead's history and its wait.", Explanation, (400, *_ABOUT_A_TOWN)
    ),
    ("get", f"{_TOWN}/explain/agents/{{agentId}}"): Contract(
        "explainAgent", 200, "The agent's history and its wait.", Explanation, (400, *_ABOUT_A_TOWN)
    ),
    ("get", f"{_AGENTS}/status"): Contract(
        "getTownForAgent", 200, "The town's status.", TownStatus, _ASKED_BY_AN_AGENT
    ),
    ("get", f"{_AGENTS}/beads"): Contract("listBeadsForAgent", 200, "A page of beads.", BeadList, _ASKED_BY_AN_AGENT),
    ("get", f"{_AGENTS}/beads/{{beadId}}"): Contract(
        "getBeadForAgent", 200, "The bead with its history.", BeadAnswer, _ASKED_BY_AN_AGENT
    ),
    ("get", f"{_AGENTS}/agents"): Contract("listAgentsForAgent", 200, "The agents.", AgentList, _ASKED_BY_AN_AGENT),
    ("get", f"{_AGENTS}/convoys"): Contract(
        "listConvoysForAgent", 200, "A page of convoys.", ConvoyList, _ASKED_BY_AN_AGENT
    ),
    ("get", f"{_AGENTS}/explain/beads/{{beadId}}"): Contract(
        "explainBeadForAgent", 200, "The bead's history and its wait.", Explanation, (400, *_ASKED_BY_AN_AGENT)
    ),
    ("get", f"{_AGENTS}/explain/agents/{{agentId}}"): Contract(
        "explainAgentForAgent", 200, "The agent's history and its wait.", Explanation, (400, *_ASKED_BY_AN_AGENT)
    ),
    ("post", f"{_TOWN}/debug/reconcile-dry-run"): Contract(
        "reconcileDryRun", 200, "The tick that would run next.", DryRun, _WITH_A_BODY, DryRunRequest
    ),
    ("post", f"{_TOWN}/debug/replay-events"): Contract(
        "replayEvents",
        200,
        "The replayed window; with overrides, the ticks that would have happened.",
        Replay | WhatIf,
        _WITH_A_BODY,
        ReplayRequest,
    ),
}
BODIES: Final[dict[tuple[str, str], Any]] = {
    ("post", f"{_TOWN}/mayor/messages"): {"text": "Plan a parser, and start it.", "messageId": "message-001"},
    ("post", f"{_TOWN}/operator/events"): {
        "event_id": "paused-0001",
        "event_type": "town_paused",
        "payload": {"by": "ann"},
    },
    ("post", f"{_TOWN}/archive"): {"confirm": "my-town", "reason": "the project has ended"},
    ("post", f"{_TOWN}/delete"): {"confirm": "my-town", "now": False},
    ("put", _TOWN): {"config": {"max_polecats_per_rig": 3}, "paused": False},
    ("put", f"{_TOWN}/agents/{{agentId}}/log"): "12 tests passed\n",
    ("post", f"{_TOWN}/events"): {
        "event_id": "convoy-started-1",
        "event_type": "convoy_started",
        "payload": {"convoy_id": "parser"},
    },
    ("post", f"{_TOWN}/debug/reconcile-dry-run"): {"observe": False, "now": "2026-01-10T12:05:00Z"},
    ("post", f"{_TOWN}/debug/replay-events"): {
        "from": "2026-01-10T12:01:00Z",
        "to": "2026-01-10T12:02:00Z",
        "overrides": {"config": {"max_polecats_per_rig": 1}, "shiftMs": 60000},
    },
}
