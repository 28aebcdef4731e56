"""The routes about what happened in a town: events, ticks, changes of settings, and the commits that can be restored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from functions import api
from functions.api import Call, Reply
from functions.debug.schemas import (
    EventsQuery,
    ExplainQuery,
    PointsQuery,
    TicksQuery,
    TimelineQuery,
    commit_number,
    tick_number,
)
from functions.queries import Query
from shared.ports.steps import drive
from shared.ports.town_past import TownPast
from shared.questions.filters import EventFilter
from shared.runner.surroundings import Surroundings

if TYPE_CHECKING:
    from shared.storage.restore import KeptPast


class Deployment(Protocol):
    """Where the towns are."""

    @property
    def around(self) -> Surroundings:
        """The surroundings of the towns."""
        ...

    def past(self) -> TownPast:
        """The retained past, for one request."""
        ...

    def kept_past(self, town_id: str) -> "KeptPast":
        """The objects of a town with their versions."""
        ...


@dataclass(frozen=True, slots=True)
class HistoryReads:
    """The answers about the past of a town."""

    deployment: Callable[[], Deployment]

    def timeline(self, call: Call[TimelineQuery]) -> Reply:
        """Lanes of agents, beads and reviews over a window of time, and what each of its ticks did."""
        from shared.questions import timeline as question  # noqa: PLC0415 - see the docstring of functions.debug.app

        asked = call.query
        return api.answer(
            200, drive(question.timeline(call.town_id, self.deployment().past(), start=asked.start, end=asked.end))
        )

    def tick(self, call: Call[Query]) -> Reply:
        """One past tick: its row of the journal, and the rows that it changed, found by running it once more."""
        from shared.replay import tick_view  # noqa: PLC0415 - as above

        return api.answer(
            200, drive(tick_view.tick_view(call.town_id, tick_number(call.ids["tick"]), self.deployment().past()))
        )

    def ticks(self, call: Call[TicksQuery]) -> Reply:
        """Rows of the journal, including published ones, oldest first: the newest ticks, or those after or before a tick."""
        from shared.questions import tick_list  # noqa: PLC0415 - as above

        asked = call.query
        past = self.deployment().past()
        found = tick_list.ticks(call.town_id, past, limit=asked.limit, after=asked.after, before=asked.before)
        return api.answer(200, drive(found))

    def config(self, call: Call[ExplainQuery]) -> Reply:
        """Every setting with its effective value, and the overrides of rigs, now or as they were at a past time."""
        from shared.questions import rosters, settings_then  # noqa: PLC0415 - as above

        at, here = call.query.at, self.deployment()
        asked = (
            rosters.settings(call.town_id, here.around.store)
            if at is None
            else settings_then.settings_at(call.town_id, here.past(), at)
        )
        return api.answer(200, drive(asked))

    def config_changes(self, call: Call[ExplainQuery]) -> Reply:
        """The newest changes of settings, with old and new values, and who made them, up to now or to a past time."""
        from shared.questions import setting_history  # noqa: PLC0415 - as above

        return api.answer(
            200, drive(setting_history.setting_history(call.town_id, self.deployment().past(), at=call.query.at))
        )

    def points(self, call: Call[PointsQuery]) -> Reply:
        """The newest commits that the town can be restored to, or those from before a tick, and the total number of commits."""
        from shared.questions import point_list  # noqa: PLC0415 - as above

        asked, here = call.query, self.deployment()
        found = point_list.points(here.kept_past(call.town_id), here.past(), limit=asked.limit, before=asked.before)
        return api.answer(200, drive(found))

    def point(self, call: Call[Query]) -> Reply:
        """One commit that the town can be restored to, and the beads and settings of now that a restore would leave behind."""
        from shared.questions import left_behind  # noqa: PLC0415 - as above

        here, txid = self.deployment(), commit_number(call.ids["txid"])
        return api.answer(200, drive(left_behind.point_view(here.kept_past(call.town_id), here.past(), txid)))

    def events(self, call: Call[EventsQuery]) -> Reply:
        """Events, newest first: events in the inbox, stored events, and repeats of a known id (conflicts and duplicates)."""
        from shared.questions import event_list  # noqa: PLC0415 - as above

        asked, here = call.query, self.deployment()
        wanted = EventFilter(asked.state, asked.type)
        found = event_list.events(
            call.town_id, here.around.store, here.past(), wanted, limit=asked.limit, cursor=asked.cursor
        )
        return api.answer(200, drive(found))

    def one_event(self, call: Call[Query]) -> Reply:
        """One event with its content: who sent it, its outcome and its tick, and what it changed in the settings."""
        from shared.questions import event_view  # noqa: PLC0415 - as above

        here = self.deployment()
        found = event_view.event_view(call.town_id, call.ids["eventId"], here.around.store, here.past())
        return api.answer(200, drive(found))
