"""The place of towns that this machine opens itself: a data directory or a bucket. Each method asks one question of the store.

A method imports its question when it is called, so that a command imports only what it asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from infra.townctl.context import Context
from infra.townctl.place import Subject
from shared.ports.steps import drive
from shared.questions.receipts import AcceptedEvents, CreatedTown, ResumedTown, Said

if TYPE_CHECKING:
    from infra.townctl.away import AwayTowns
    from infra.townctl.secret_commands import SecretStore
    from infra.townctl.wiring import LocalClock
    from shared.history.retained_past import StoredPast
    from shared.intake.ingest import AcceptedBatch
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
    from shared.storage.towns import ObjectTownStore


class StoredTowns:
    """The towns of a data directory or a bucket."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._clocks: dict[str, LocalClock] = {}

    @property
    def name(self) -> str:
        """The directory or the bucket."""
        return self._context.place

    @property
    def hint(self) -> str:
        """What to do if a town does not exist."""
        return self._context.where_towns_are()

    @property
    def is_directory(self) -> bool:
        """Whether the towns are in a data directory."""
        return self._context.bucket is None

    def create(self, town_id: str, config: Mapping[str, Any], *, paused: bool) -> CreatedTown:
        """Create a town; in a new directory, its first write creates the directory."""
        from shared.adapters import ids
        from shared.runner.founding import found_town

        around = self._context.around(self._context.founding_store())
        image = drive(found_town(town_id, around, worker_id=ids.worker_id(), config=dict(config), paused=paused))
        return CreatedTown(town_id, image.txid, image.image_digest)

    def towns(self) -> TownList:
        """Every town, with its latest tick."""
        from shared.questions.town_list import TownList, entries

        store = self._context.store()
        return TownList(drive(entries(drive(store.towns()), store)), None)

    def town_ids(self) -> tuple[str, ...]:
        """The ids of the towns."""
        return drive(self._context.store().towns())

    def status(self, town_id: str) -> TownStatus:
        """What a town is doing."""
        from shared.questions import status

        store = self._context.store()
        around = self._context.around(store, clock=self._clock(town_id))
        return drive(status.status(town_id, around, self._context.logs, self._past))

    def view(self, town_id: str, at: datetime | None) -> TownView:
        """Everything that a page about a town shows, now or as it was at a time."""
        from shared.questions.town_view import town_view

        around = self._context.around(self._context.store(), clock=self._clock(town_id))
        return drive(town_view(town_id, around, self._past(), at=at, logs=self._context.logs))

    def timeline(self, town_id: str, start: datetime, end: datetime) -> Timeline:
        """What happened in a window of time."""
        from shared.questions.timeline import timeline

        return drive(timeline(town_id, self._past(), start=start, end=end))

    def tick(self, town_id: str, number: int) -> TickView:
        """One past tick in full."""
        from shared.replay.tick_view import tick_view

        return drive(tick_view(town_id, number, self._past()))

    def resume(self, town_id: str) -> ResumedTown:
        """Remove the record that sets the town aside."""
        from shared.runner.neighbours import resume

        around = self._context.around(self._context.store(), clock=self._clock(town_id))
        return ResumedTown(town_id, drive(resume(around, town_id)))

    def settings(self, town_id: str, at: datetime | None = None) -> TownSettings:
        """The configuration of a town, now or as it was at a time."""
        if at is not None:
            from shared.questions import settings_then

            return drive(settings_then.settings_at(town_id, self._past(), at))
        from shared.questions import rosters

        return drive(rosters.settings(town_id, self._context.store()))

    def setting_history(self, town_id: str, at: datetime | None = None) -> SettingHistory:
        """The newest changes of settings, up to now or to a time."""
        from shared.questions.setting_history import setting_history

        return drive(setting_history(town_id, self._past(), at=at))

    def agents(self, town_id: str) -> AgentList:
        """Every agent of a town."""
        from shared.questions import rosters

        return drive(rosters.agents(town_id, self._context.store()))

    def beads(self, town_id: str, wanted: BeadFilter, *, limit: int, cursor: str | None) -> BeadList:
        """A page of the beads that match."""
        from shared.questions import bead_list

        store = self._context.store()
        now = self._clock(town_id).now()
        return drive(bead_list.beads(town_id, store, wanted, now=now, limit=limit, cursor=cursor))

    def bead(self, town_id: str, bead_id: str) -> BeadAnswer:
        """A bead in full."""
        from shared.questions import bead_view

        return drive(bead_view.bead(town_id, bead_id, self._context.store()))

    def convoys(self, town_id: str, *, limit: int, cursor: str | None) -> ConvoyList:
        """A page of convoys."""
        from shared.questions import bead_list

        return drive(bead_list.convoys(town_id, self._context.store(), limit=limit, cursor=cursor))

    def reviews(self, town_id: str, *, status: StatusFilter | None, limit: int, cursor: str | None) -> ReviewList:
        """A page of reviews."""
        from shared.questions import town_lists

        return drive(town_lists.reviews(town_id, self._context.store(), status=status, limit=limit, cursor=cursor))

    def escalations(
        self, town_id: str, *, status: StatusFilter | None, limit: int, cursor: str | None
    ) -> EscalationList:
        """A page of escalations."""
        from shared.questions import town_lists

        return drive(town_lists.escalations(town_id, self._context.store(), status=status, limit=limit, cursor=cursor))

    def rigs(self, town_id: str) -> RigList:
        """Every rig."""
        from shared.questions import town_lists

        return drive(town_lists.rigs(town_id, self._context.store()))

    def mail(self, town_id: str, *, limit: int, cursor: str | None) -> LetterList:
        """A page of messages."""
        from shared.questions import letters

        return drive(letters.mail(town_id, self._context.store(), limit=limit, cursor=cursor))

    def conversation(self, town_id: str, *, limit: int, cursor: str | None) -> Conversation:
        """A page of the conversation with the mayor."""
        from shared.questions import letters

        return drive(letters.conversation(town_id, self._context.store(), limit=limit, cursor=cursor))

    def say(self, town_id: str, text: str, message_id: str) -> Said:
        """Post it as the user of this machine."""
        from getpass import getuser

        from shared.intake import ingest
        from shared.intake.voice import said_to_the_mayor

        said = said_to_the_mayor(text, by=getuser(), message_id=message_id)
        store = self._context.store()
        batch = ingest.batch_of([said], received_at=self._time_of(store, town_id))
        self._stored(town_id, batch, store)
        return Said(town_id, message_id)

    def post(self, town_id: str, body: bytes) -> AcceptedEvents:
        """Validate the events and store them."""
        from shared.intake import ingest

        store = self._context.store()
        batch = ingest.accept(body, received_at=self._time_of(store, town_id))
        return self._stored(town_id, batch, store)

    def redrive(self, town_id: str, event_id: str) -> AcceptedEvents:
        """Post a copy of a poisoned event."""
        from shared.intake.redrive import redriven

        store = self._context.store()
        batch = drive(redriven(town_id, event_id, store, now=self._time_of(store, town_id)))
        return self._stored(town_id, batch, store)

    def _time_of(self, store: ObjectTownStore, town_id: str) -> datetime:
        """When a town receives something now: by its own clock if it has one. Raises ClocksDisagree, UnknownTown."""
        now = self._context.checked_time(store)
        if drive(store.standing(town_id)).time <= now:
            return now
        return max(now, self._context.clock_of(store, town_id).now())

    def _stored(self, town_id: str, batch: AcceptedBatch, store: ObjectTownStore) -> AcceptedEvents:
        from shared.intake.crowding import beside
        from shared.intake.repeats import require_no_other

        writing = store.post(
            town_id,
            batch.body,
            received_at=self._time_of(store, town_id),
            batch_id=batch.id,
            wake=not batch.transient_only,
            admit=lambda waiting: tuple(beside(batch.share, waiting)),
            judge=partial(require_no_other, batch),
        )
        drive(writing)
        return AcceptedEvents(batch.id, tuple(event.event_id for event in batch.envelopes))

    def events(self, town_id: str, wanted: EventFilter, *, limit: int, cursor: str | None) -> EventList:
        """A page of the events that match."""
        from shared.questions import event_list

        asked = event_list.events(town_id, self._context.store(), self._past(), wanted, limit=limit, cursor=cursor)
        return drive(asked)

    def event(self, town_id: str, event_id: str) -> EventView:
        """One event in full."""
        from shared.questions.event_view import event_view

        return drive(event_view(town_id, event_id, self._context.store(), self._past()))

    def ticks(self, town_id: str, *, limit: int, after: int | None, before: int | None) -> TickList:
        """A page of past ticks."""
        from shared.questions import tick_list

        return drive(tick_list.ticks(town_id, self._past(), limit=limit, after=after, before=before))

    def points(self, town_id: str, *, limit: int, before: int | None = None) -> PointList:
        """The newest restore points, or the newest from before a tick."""
        from shared.questions import point_list

        return drive(point_list.points(self._context.kept_past(town_id), self._past(), limit=limit, before=before))

    def point(self, town_id: str, txid: int) -> PointView:
        """A commit that can be restored, and what a restore would leave behind."""
        from shared.questions import left_behind

        return drive(left_behind.point_view(self._context.kept_past(town_id), self._past(), txid))

    def meant(self, town_id: str, kind: Subject, word: str, *, limit: int) -> Sequence[str]:
        """The ids that a word may stand for in the newest commit."""
        from shared.questions.lives import meant
        from shared.town import migrations

        with migrations.readable(drive(self._context.store().load(town_id)).image) as sql:
            return meant(sql, word, is_agent=kind == "agent", limit=limit)

    def explain(self, town_id: str, kind: Subject, subject: str, at: datetime | None) -> Explanation:
        """The history of a bead or agent, and why it waits."""
        from shared.questions import explain

        tell = explain.explain_bead if kind == "bead" else explain.explain_agent
        logs = self._context.logs()
        return drive(tell(town_id, subject, self._past(), now=self.now(town_id), at=at, logs=logs))

    def log(self, town_id: str, kind: Subject, subject: str, *, wanted: LogKind, generation: int | None) -> AgentLog:
        """What a start of an agent, or a start that worked on a bead, printed."""
        from shared.questions import agent_log

        store, logs = self._context.store(), self._context.logs()
        tell = agent_log.bead_log if kind == "bead" else agent_log.agent_log
        return drive(tell(town_id, subject, logs, store, kind=wanted, generation=generation))

    def dry_run(self, town_id: str, asked: Mapping[str, Any]) -> DryRun:
        """What the next tick would do."""
        from shared.adapters import ids
        from shared.questions.dry_run_call import reconcile_dry_run

        store = self._context.store()
        clock = self._clock(town_id)
        runtime = self._context.agents(clock) if asked.get("observe") else None
        around = self._context.around(store, clock=clock, runtime=runtime)
        return drive(reconcile_dry_run(town_id, around, asked, worker_id=ids.worker_id()))

    def now(self, town_id: str) -> datetime:
        """The present time of the town's clock."""
        return self._clock(town_id).now()

    def replay(self, town_id: str, asked: Mapping[str, Any]) -> Replay | WhatIf:
        """The replay of a window, or a what-if."""
        from shared.replay.replay_call import replay_events
        from shared.replay.time_window import WHOLE_DAY

        store = self._context.store()
        around = self._context.around(store, clock=self._clock(town_id))
        return drive(replay_events(town_id, self._past(), around, asked, page=WHOLE_DAY))

    def secrets(self, prefix: str | None) -> SecretStore:
        """The tokens below a prefix, in the region of the bucket if one is named; without a prefix those of the directory."""
        from infra.townctl.forges import secret_files
        from infra.townctl.stack_secrets import secrets_of_stack

        if prefix is None:
            return secret_files(self._context.data)
        bucket = self._context.bucket
        return secrets_of_stack(prefix, region=None if bucket is None else bucket.region)

    def away(self) -> AwayTowns:
        """The archived towns of the directory or bucket."""
        from infra.townctl.away import StoredAway

        return StoredAway(self._context)

    def require(self, town_id: str) -> None:
        """Check that a town exists."""
        self._context.require_towns(self._context.store(), town_id)

    def _clock(self, town_id: str) -> LocalClock:
        """The clock of a town, one for the whole call: a second clock of a town in the future would start later than the first."""
        if town_id not in self._clocks:
            self._clocks[town_id] = self._context.clock_of(self._context.store(), town_id)
        return self._clocks[town_id]

    def _past(self) -> StoredPast:
        from shared.history.retained_past import StoredPast

        objects = self._context.objects()
        return StoredPast(objects, objects)
