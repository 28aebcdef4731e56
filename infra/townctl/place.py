"""The place where the towns are: a data directory, a bucket, or the API of a deployment. Commands are written once, against it.

Each question and each fact is a method that returns the answer model, the same wherever the town is. Commands that work on the
files themselves use `Context` instead, and do not work with an API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from cyclopts import Parameter

if TYPE_CHECKING:
    from infra.townctl.away import AwayTowns
    from infra.townctl.secret_commands import SecretStore
    from shared.ports.agent_logs import LogKind
    from shared.questions.agent_log import AgentLog
    from shared.questions.bead_list import BeadList, ConvoyList
    from shared.questions.bead_view import BeadAnswer
    from shared.questions.dry_run import DryRun
    from shared.questions.event_list import EventList
    from shared.questions.event_view import EventView
    from shared.questions.explain import Explanation
    from shared.questions.filters import BeadFilter, EventFilter, StatusFilter
    from shared.questions.left_behind import PointView
    from shared.questions.letters import Conversation, LetterList
    from shared.questions.point_list import PointList
    from shared.questions.receipts import AcceptedEvents, CreatedTown, ResumedTown, Said
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

Subject = Literal["bead", "agent"]


class Place(Protocol):
    """Where the towns are. Every method may raise Refused, UnknownTown, and the errors of a store."""

    @property
    def name(self) -> str:
        """The name of the place, for messages."""
        ...

    @property
    def hint(self) -> str:
        """What to do if a town does not exist."""
        ...

    @property
    def is_directory(self) -> bool:
        """Whether it is a data directory of this machine, which does not contain a deployment's towns."""
        ...

    def create(self, town_id: str, config: Mapping[str, Any], *, paused: bool) -> CreatedTown:
        """Create a town with these settings. Raises TownExists."""
        ...

    def towns(self) -> TownList:
        """Every town that the caller may read, with its latest tick."""
        ...

    def town_ids(self) -> tuple[str, ...]:
        """The ids of these towns. No town is read."""
        ...

    def status(self, town_id: str) -> TownStatus:
        """What a town is doing."""
        ...

    def view(self, town_id: str, at: datetime | None) -> TownView:
        """Everything that a page about a town shows, now or as it was at a time."""
        ...

    def timeline(self, town_id: str, start: datetime, end: datetime) -> Timeline:
        """What happened in a window of time."""
        ...

    def tick(self, town_id: str, number: int) -> TickView:
        """One past tick in full."""
        ...

    def resume(self, town_id: str) -> ResumedTown:
        """Run a town again that was set aside."""
        ...

    def settings(self, town_id: str, at: datetime | None = None) -> TownSettings:
        """The configuration of a town, now or as it was at a time."""
        ...

    def setting_history(self, town_id: str, at: datetime | None = None) -> SettingHistory:
        """The newest changes of settings, up to now or to a time."""
        ...

    def agents(self, town_id: str) -> AgentList:
        """Every agent of a town."""
        ...

    def beads(self, town_id: str, wanted: BeadFilter, *, limit: int, cursor: str | None) -> BeadList:
        """A page of the beads that match."""
        ...

    def bead(self, town_id: str, bead_id: str) -> BeadAnswer:
        """A bead in full."""
        ...

    def convoys(self, town_id: str, *, limit: int, cursor: str | None) -> ConvoyList:
        """A page of convoys."""
        ...

    def reviews(self, town_id: str, *, status: StatusFilter | None, limit: int, cursor: str | None) -> ReviewList:
        """A page of reviews."""
        ...

    def escalations(
        self, town_id: str, *, status: StatusFilter | None, limit: int, cursor: str | None
    ) -> EscalationList:
        """A page of escalations."""
        ...

    def rigs(self, town_id: str) -> RigList:
        """Every rig."""
        ...

    def mail(self, town_id: str, *, limit: int, cursor: str | None) -> LetterList:
        """A page of messages."""
        ...

    def conversation(self, town_id: str, *, limit: int, cursor: str | None) -> Conversation:
        """A page of the conversation with the mayor."""
        ...

    def say(self, town_id: str, text: str, message_id: str) -> Said:
        """Say something to the mayor, in the name of the person who runs the command, as the place knows it."""
        ...

    def post(self, town_id: str, body: bytes) -> AcceptedEvents:
        """Store the events of a body durably."""
        ...

    def redrive(self, town_id: str, event_id: str) -> AcceptedEvents:
        """Post a copy of a poisoned event."""
        ...

    def events(self, town_id: str, wanted: EventFilter, *, limit: int, cursor: str | None) -> EventList:
        """A page of the events that match."""
        ...

    def event(self, town_id: str, event_id: str) -> EventView:
        """One event in full."""
        ...

    def ticks(self, town_id: str, *, limit: int, after: int | None, before: int | None) -> TickList:
        """A page of past ticks."""
        ...

    def points(self, town_id: str, *, limit: int, before: int | None = None) -> PointList:
        """The newest restore points, or the newest from before a tick."""
        ...

    def point(self, town_id: str, txid: int) -> PointView:
        """A commit that can be restored, and what a restore would leave behind."""
        ...

    def meant(self, town_id: str, kind: Subject, word: str, *, limit: int) -> Sequence[str]:
        """The ids that a word may stand for: an id, a prefix of one, or the name of an agent."""
        ...

    def explain(self, town_id: str, kind: Subject, subject: str, at: datetime | None) -> Explanation:
        """The history of a bead or agent, and why it waits."""
        ...

    def log(self, town_id: str, kind: Subject, subject: str, *, wanted: LogKind, generation: int | None) -> AgentLog:
        """What a start of an agent, or a start that worked on a bead, printed."""
        ...

    def dry_run(self, town_id: str, asked: Mapping[str, Any]) -> DryRun:
        """What the next tick would do; `asked` is the body of reconcile-dry-run."""
        ...

    def now(self, town_id: str) -> datetime:
        """The end of the past that can be replayed."""
        ...

    def replay(self, town_id: str, asked: Mapping[str, Any]) -> Replay | WhatIf:
        """The replay of a window, or a what-if; `asked` is the body of replay-events."""
        ...

    def secrets(self, prefix: str | None) -> SecretStore:
        """The tokens for the towns' forges; `prefix` is their prefix in Secrets Manager."""
        ...

    def away(self) -> AwayTowns:
        """The towns that are archived."""
        ...

    def require(self, town_id: str) -> None:
        """Check that a town exists. Raises UnknownTown."""
        ...


ThePlace = Annotated[Place, Parameter(parse=False)]


def posted(place: Place, town_id: str, event_type: str, payload: Mapping[str, Any], **about: str) -> AcceptedEvents:
    """Post one event with an id of its own. `about` are the other fields that it has, such as `bead_id`."""
    from infra.townctl.output import compact
    from shared.adapters import ids

    event = {"event_id": ids.event_id("cli"), "event_type": event_type, **about, "payload": payload}
    return place.post(town_id, compact(event).encode())
