"""The place of towns behind an API: of a deployed stack, or of `townctl serve`. Each method is one route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode

from infra.townctl.api import Api
from infra.townctl.place import Subject
from shared.adapters.clock import SystemClock
from shared.adapters.path_ids import written
from shared.domain.errors import Refused, Terminal, TownError, TownExists, UnknownTown
from shared.domain.times import text_or_none, to_text
from shared.questions.receipts import AcceptedEvents, CreatedTown, ResumedTown, Said
from shared.storage.keys import checked_town_id

if TYPE_CHECKING:
    from infra.townctl.away import AwayTowns
    from infra.townctl.secret_commands import SecretStore
    from shared.ports.agent_logs import LogKind
    from shared.questions.agent_log import AgentLog
    from shared.questions.bead_list import BeadEntry, BeadList, ConvoyList
    from shared.questions.bead_view import BeadAnswer
    from shared.questions.dry_run import DryRun
    from shared.questions.event_list import EventList
    from shared.questions.event_view import EventView
    from shared.questions.explain import Explanation
    from shared.questions.filters import BeadFilter, EventFilter, StatusFilter
    from shared.questions.left_behind import PointView
    from shared.questions.letters import Conversation, LetterList
    from shared.questions.point_list import PointList
    from shared.questions.rosters import AgentList, TownSettings
    from shared.questions.setting_history import SettingHistory
    from shared.questions.status import TownStatus
    from shared.questions.tick_list import TickList
    from shared.questions.timeline import Timeline
    from shared.questions.town_list import TownList
    from shared.questions.town_lists import EscalationList, ReviewList, RigList
    from shared.questions.town_view import TownView
    from shared.replay.replayed import Replay
    from shared.replay.tick_view import TickView
    from shared.replay.what_if.run import WhatIf

T = TypeVar("T")

_PAGE: Final = 100
_LONGEST_PAGE: Final = 500
_MOST_PAGES: Final = 2000
"""Of one list. A server that names another page for ever must not keep its caller busy for ever."""


class ApiTowns:
    """The towns of a deployment that the caller may read."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @property
    def name(self) -> str:
        """The URL."""
        return self._api.url

    @property
    def hint(self) -> str:
        """What to do if a town does not exist."""
        return f"check the id and your rights; `townctl --api {self.name} town list` shows the towns that you may read"

    @property
    def is_directory(self) -> bool:
        """It is not."""
        return False

    def create(self, town_id: str, config: Mapping[str, Any], *, paused: bool) -> CreatedTown:
        """PUT /api/towns/{townId}."""
        try:
            return self._ask(CreatedTown, "PUT", town_id, "", {"config": dict(config), "paused": paused})
        except Refused as refused:
            if refused.status == 409:
                raise TownExists(refused.message, hint=refused.hint) from refused
            raise

    def towns(self) -> TownList:
        """GET /api/towns, page by page."""
        from shared.questions.town_list import TownEntry, TownList

        found: list[TownEntry] = []
        after: str | None = ""
        for _ in range(_MOST_PAGES):
            query = urlencode({"limit": _PAGE} | ({"after": after} if after else {}))
            page = self._api.read(TownList, self._api.ask("GET", f"/api/towns?{query}"))
            if page.next is not None and (page.next == after or len(page.towns) > _PAGE):
                break
            found += page.towns
            after = page.next
            if after is None:
                return TownList(tuple(found), None)
        raise self._endless_list()

    def town_ids(self) -> tuple[str, ...]:
        """The ids of the towns."""
        return tuple(town.town_id for town in self.towns().towns)

    def status(self, town_id: str) -> TownStatus:
        """GET .../status."""
        from shared.questions.status import TownStatus

        return self._get(TownStatus, town_id, "status")

    def view(self, town_id: str, at: datetime | None) -> TownView:
        """GET .../view."""
        from shared.questions.town_view import TownView

        return self._get(TownView, town_id, "view", at=text_or_none(at))

    def timeline(self, town_id: str, start: datetime, end: datetime) -> Timeline:
        """GET .../timeline."""
        from shared.questions.timeline import Timeline

        return self._get(Timeline, town_id, "timeline", start=to_text(start), end=to_text(end))

    def tick(self, town_id: str, number: int) -> TickView:
        """GET .../ticks/{tick}."""
        from shared.replay.tick_view import TickView

        return self._get(TickView, town_id, f"ticks/{number}")

    def resume(self, town_id: str) -> ResumedTown:
        """POST .../resume."""
        return self._ask(ResumedTown, "POST", town_id, "/resume")

    def settings(self, town_id: str, at: datetime | None = None) -> TownSettings:
        """GET .../config."""
        from shared.questions.rosters import TownSettings

        return self._get(TownSettings, town_id, "config", at=text_or_none(at))

    def setting_history(self, town_id: str, at: datetime | None = None) -> SettingHistory:
        """GET .../config/changes."""
        from shared.questions.setting_history import SettingHistory

        return self._get(SettingHistory, town_id, "config/changes", at=text_or_none(at))

    def agents(self, town_id: str) -> AgentList:
        """GET .../agents."""
        from shared.questions.rosters import AgentList

        return self._get(AgentList, town_id, "agents")

    def beads(self, town_id: str, wanted: BeadFilter, *, limit: int, cursor: str | None) -> BeadList:
        """GET .../beads."""
        from shared.questions.bead_list import BeadList

        return self._get(BeadList, town_id, "beads", **asdict(wanted), limit=limit, cursor=cursor)

    def bead(self, town_id: str, bead_id: str) -> BeadAnswer:
        """GET .../beads/{beadId}."""
        from shared.questions.bead_view import BeadAnswer

        return self._get(BeadAnswer, town_id, f"beads/{written(bead_id)}")

    def convoys(self, town_id: str, *, limit: int, cursor: str | None) -> ConvoyList:
        """GET .../convoys."""
        from shared.questions.bead_list import ConvoyList

        return self._get(ConvoyList, town_id, "convoys", limit=limit, cursor=cursor)

    def reviews(self, town_id: str, *, status: StatusFilter | None, limit: int, cursor: str | None) -> ReviewList:
        """GET .../reviews."""
        from shared.questions.town_lists import ReviewList

        return self._get(ReviewList, town_id, "reviews", status=status, limit=limit, cursor=cursor)

    def escalations(
        self, town_id: str, *, status: StatusFilter | None, limit: int, cursor: str | None
    ) -> EscalationList:
        """GET .../escalations."""
        from shared.questions.town_lists import EscalationList

        return self._get(EscalationList, town_id, "escalations", status=status, limit=limit, cursor=cursor)

    def rigs(self, town_id: str) -> RigList:
        """GET .../rigs."""
        from shared.questions.town_lists import RigList

        return self._get(RigList, town_id, "rigs")

    def mail(self, town_id: str, *, limit: int, cursor: str | None) -> LetterList:
        """GET .../mail."""
        from shared.questions.letters import LetterList

        return self._get(LetterList, town_id, "mail", limit=limit, cursor=cursor)

    def conversation(self, town_id: str, *, limit: int, cursor: str | None) -> Conversation:
        """GET .../mayor/messages."""
        from shared.questions.letters import Conversation

        return self._get(Conversation, town_id, "mayor/messages", limit=limit, cursor=cursor)

    def say(self, town_id: str, text: str, message_id: str) -> Said:
        """POST .../mayor/messages; the API knows who signed the request."""
        return self._ask(Said, "POST", town_id, "/mayor/messages", {"text": text, "messageId": message_id})

    def post(self, town_id: str, body: bytes) -> AcceptedEvents:
        """POST .../events with the town token of the environment; without one POST .../operator/events, signed."""
        token = self._api.token
        if token is None:
            return self._ask(AcceptedEvents, "POST", town_id, "/operator/events", body)
        try:
            return self._api.read(AcceptedEvents, self._api.report(f"{_path(town_id)}/events", body, token))
        except Refused as refused:
            raise self._known(refused, town_id) from refused

    def redrive(self, town_id: str, event_id: str) -> AcceptedEvents:
        """POST .../events/{eventId}/redrive."""
        return self._ask(AcceptedEvents, "POST", town_id, f"/events/{written(event_id)}/redrive")

    def events(self, town_id: str, wanted: EventFilter, *, limit: int, cursor: str | None) -> EventList:
        """GET .../events."""
        from shared.questions.event_list import EventList

        return self._get(EventList, town_id, "events", **asdict(wanted), limit=limit, cursor=cursor)

    def event(self, town_id: str, event_id: str) -> EventView:
        """GET .../events/{eventId}."""
        from shared.questions.event_view import EventView

        return self._get(EventView, town_id, f"events/{written(event_id)}")

    def ticks(self, town_id: str, *, limit: int, after: int | None, before: int | None) -> TickList:
        """GET .../ticks."""
        from shared.questions.tick_list import TickList

        return self._get(TickList, town_id, "ticks", limit=limit, after=after, before=before)

    def points(self, town_id: str, *, limit: int, before: int | None = None) -> PointList:
        """GET .../points."""
        from shared.questions.point_list import PointList

        return self._get(PointList, town_id, "points", limit=limit, before=before)

    def point(self, town_id: str, txid: int) -> PointView:
        """GET .../points/{txid}."""
        from shared.questions.left_behind import PointView

        return self._get(PointView, town_id, f"points/{txid}")

    def meant(self, town_id: str, kind: Subject, word: str, *, limit: int) -> Sequence[str]:
        """The ids that a word may stand for, from the lists of agents and beads."""
        if kind == "agent":
            found = [a.agent_id for a in self.agents(town_id).agents if _may_be(word, a.agent_id, a.identity)]
        else:
            with_it = list(self._beads_with(town_id, word))
            titled = [bead.bead_id for bead in with_it if bead.title.casefold() == word.casefold()]
            found = [bead.bead_id for bead in with_it if bead.bead_id.startswith(word)] or titled
        return [word] if word in found else sorted(found)[:limit]

    def _beads_with(self, town_id: str, word: str) -> Iterator[BeadEntry]:
        from shared.questions.filters import BeadFilter

        cursor: str | None = ""
        for _ in range(_MOST_PAGES):
            page = self.beads(town_id, BeadFilter(text=word), limit=_LONGEST_PAGE, cursor=cursor or None)
            if page.next is not None and (page.next == cursor or len(page.beads) > _LONGEST_PAGE):
                break
            yield from page.beads
            cursor = page.next
            if cursor is None:
                return
        raise self._endless_list()

    def _endless_list(self) -> Terminal:
        """The error of a server whose list does not end, or whose pages are longer than asked for."""
        hint = "check that the URL is the one of your deployment"
        return Terminal(f"{self.name} sends a list without an end", hint=hint)

    def explain(self, town_id: str, kind: Subject, subject: str, at: datetime | None) -> Explanation:
        """GET .../explain/beads/{beadId} or .../explain/agents/{agentId}."""
        from shared.questions.explain import Explanation

        return self._get(Explanation, town_id, f"explain/{kind}s/{written(subject)}", at=text_or_none(at))

    def log(self, town_id: str, kind: Subject, subject: str, *, wanted: LogKind, generation: int | None) -> AgentLog:
        """GET .../agents/{agentId}/log or .../beads/{beadId}/log."""
        from shared.questions.agent_log import AgentLog

        return self._get(AgentLog, town_id, f"{kind}s/{written(subject)}/log", kind=wanted, generation=generation)

    def dry_run(self, town_id: str, asked: Mapping[str, Any]) -> DryRun:
        """POST .../debug/reconcile-dry-run."""
        from shared.questions.dry_run import DryRun

        return self._ask(DryRun, "POST", town_id, "/debug/reconcile-dry-run", asked)

    def now(self, town_id: str) -> datetime:
        """The time of the newest tick, because the clocks of this machine and of the deployment may differ."""
        newest = self.ticks(town_id, limit=1, after=None, before=None).ticks
        return newest[-1].time if newest else SystemClock().now()

    def replay(self, town_id: str, asked: Mapping[str, Any]) -> Replay | WhatIf:
        """POST .../debug/replay-events."""
        from shared.replay.replayed import Replay
        from shared.replay.what_if.run import WhatIf

        shape: type[Replay | WhatIf] = Replay if asked.get("overrides") is None else WhatIf
        return self._ask(shape, "POST", town_id, "/debug/replay-events", asked)

    def secrets(self, prefix: str | None) -> SecretStore:
        """The tokens of the deployment, in the region of its API. No API accepts a token, so townctl writes it directly."""
        from infra.townctl.forges import PREFIX_VARIABLE
        from infra.townctl.stack_secrets import secrets_of_stack

        if prefix is None:
            hint = f"give the stack's output SecretsPrefix with --secrets-prefix or {PREFIX_VARIABLE}"
            problem = (
                f"--secrets-prefix is required with --api {self.name}: it says where the deployment keeps its tokens"
            )
            raise Refused(problem, status=400, path="secrets-prefix", hint=hint)
        return secrets_of_stack(prefix, region=self._api.region_named)

    def away(self) -> AwayTowns:
        """The archived towns of the deployment."""
        from infra.townctl.away import ApiAway

        return ApiAway(self._api)

    def require(self, town_id: str) -> None:
        """Check that a town exists."""
        self._document("GET", town_id, "/status")

    def _get(self, shape: type[T], town_id: str, what: str, **query: Any) -> T:
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask(shape, "GET", town_id, f"/{what}" + (f"?{urlencode(given)}" if given else ""))

    def _ask(self, shape: type[T], method: str, town_id: str, rest: str, body: Any = None) -> T:
        return self._api.read(shape, self._document(method, town_id, rest, body))

    def _document(self, method: str, town_id: str, rest: str, body: Any = None) -> dict[str, Any]:
        path = _path(town_id)
        try:
            return self._api.ask(method, path + rest, body)
        except Refused as refused:
            raise self._known(refused, town_id) from refused

    def _known(self, refused: Refused, town_id: str) -> TownError:
        """The error of a store for a town that does not exist; any other error unchanged."""
        if refused.status == 404 and refused.path == "townId":
            return UnknownTown(f"there is no town {town_id} at {self.name}, or it is not yours", hint=self.hint)
        return refused


def _path(town_id: str) -> str:
    return f"/api/towns/{checked_town_id(town_id)}"


def _may_be(word: str, agent_id: str, identity: str) -> bool:
    return agent_id.startswith(word) or identity.startswith(f"{word}-")
