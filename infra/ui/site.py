"""The site: for each address its page, from what the place of the towns answers. It knows no browser and no server."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from infra.ui import errors, fleet, go_to
from infra.ui.address import TOWN_VIEWS, Address
from infra.ui.markup import Html
from infra.ui.names import names_in
from infra.ui.offers import Offers, offering
from infra.ui.shell import Standing
from infra.ui.tracks import Window
from infra.ui.views import life_view, list_views, machine_view, settings_view, tick_drawer, timeline_view, what_if_form
from infra.ui.views.fleet_view import fleet_page
from infra.ui.views.machine import Machine
from infra.ui.views.town_view import Town, town_page
from shared.domain.errors import Refused, TownError
from shared.domain.times import to_text

if TYPE_CHECKING:
    from infra.townctl.place import Place, Subject
    from infra.ui.fleet import TownRow
    from shared.ports.agent_logs import LogKind
    from shared.questions.agent_log import AgentLog
    from shared.questions.dry_run import DryRun
    from shared.questions.left_behind import LeftBehind
    from shared.questions.rosters import TownSettings
    from shared.questions.timeline import Timeline
    from shared.questions.town_list import TownEntry
    from shared.questions.town_view import TownView
    from shared.replay.tick_view import TickView

T = TypeVar("T")

RECENT: Final = timedelta(hours=1)
_BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Before the first tick of any town: the time machine shows the newest ticks of all that are kept."""
KEPT: Final = 64
"""Answers about the past, which stay what they are."""
READ_AT_ONCE: Final = 60
"""Towns of the fleet whose status is read for one page; the rest follows with the next ones."""


@dataclass(frozen=True, slots=True)
class Read:
    """A status of a town, and the tick that it is of."""

    tick: int | None
    row: TownRow


class Site:
    """Every page of a place. `open_place` opens it anew for each page, because clocks and listings belong to one question."""

    def __init__(self, open_place: Callable[[], Place], *, writes: bool = False) -> None:
        self._open = open_place
        self.offers = Offers()
        self.writes = writes
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._fleet: dict[str, Read] = {}
        self._lock = threading.Lock()

    def page(self, address: Address) -> Html:
        """The page of an address. An error of the place is a page too."""
        place = self._open()
        offering.set(self.offers if self.writes else None)
        try:
            return self._page(address, place)
        except TownError as error:
            return errors.error_page(Standing(address, self.writes), error, place)

    def stamp(self, address: Address) -> Hashable:
        """What changes when the page of an address has news: the ticks of its towns. Raises TownError."""
        entries = self._open().towns().towns
        wanted = entries if not address.town else [entry for entry in entries if entry.town_id == address.town]
        return tuple((entry.town_id, entry.tick, entry.problem) for entry in wanted)

    def places(self, address: Address) -> list[dict[str, str]]:
        """Everything that has a name and a page, for the finder; if the town cannot be shown, only the towns. Raises TownError."""
        place = self._open()
        found = [
            {"text": town, "id": town, "kind": "town", "href": Address("town", town).href} for town in place.town_ids()
        ]
        if not address.town:
            return found
        try:
            view = self._view(place, address)
        except TownError:
            return found  # the page itself says what is wrong, and the finder leads away from it
        names = names_in(view, address.at)
        kinds = {bead.bead_id: bead.type.replace("_", " ") for bead in view.beads}
        return [
            *(
                {
                    "text": names.of(id_),
                    "id": id_,
                    "kind": "agent" if id_ in names.agents else kinds.get(id_, "bead"),
                    "href": names.address(id_).href,
                }
                for id_ in names.titles
            ),
            *settings_view.places(address),
            *found,
        ]

    def time_typed(self, address: Address, typed: str) -> str:
        """The time that somebody typed to go to, of which there is something to show. Raises TownError."""
        place = self._open()
        now = place.now(address.town)
        at = to_text(go_to.time_typed(typed, now))
        self._view(place, address.at_time(at))
        return at

    def _page(self, address: Address, place: Place) -> Html:
        if not address.town:
            return self._fleet_page(address, place)
        if not address.exists:
            place.require(address.town)
            raise Refused(
                f"There is no page {address.view[:60]} of town {address.town}.",
                status=404,
                path="view",
                hint=f"A town has these pages: {', '.join(TOWN_VIEWS)}; and one for each bead and each agent.",
            )
        if address.view == "timeline":
            return self._timeline_page(address, place)
        if address.view in ("bead", "agent"):
            return self._life_page(address, place)
        if address.view == "machine":
            return self._machine_page(address, place)
        if address.view == "settings":
            return self._settings_page(address, place)
        show = {
            "beads": list_views.beads_page,
            "agents": list_views.agents_page,
            "reviews": list_views.reviews_page,
        }.get(address.view, town_page)
        return show(self.town(address, place))

    def _settings_page(self, address: Address, place: Place) -> Html:
        view = self._view(place, address)
        at, tick = address.time, view.status.as_of.tick
        history = self._once(("changes", address.town, tick), lambda: place.setting_history(address.town, at))
        return settings_view.settings_page(self._standing(address, view), self._settings(place, address, tick), history)

    def _settings(self, place: Place, address: Address, tick: int) -> TownSettings:
        """The settings at the time of an address; at a past time they never change."""
        at = address.time
        if at is None:
            return place.settings(address.town)
        return self._once(("settings", address.town, to_text(at), tick), lambda: place.settings(address.town, at))

    def _life_page(self, address: Address, place: Place) -> Html:
        town = self.town(address, place)
        subject, kind = address.subject, cast("Subject", address.view)
        at = address.time
        told = (
            place.explain(address.town, kind, subject, at)
            if at is None
            else self._once(
                ("explain", address.town, subject, to_text(at)), lambda: place.explain(address.town, kind, subject, at)
            )
        )
        log, problem = self._log(place, address, kind)
        return life_view.life_page(town, told, log, problem)

    def _machine_page(self, address: Address, place: Place) -> Html:
        town = self.town(address, place)
        present = town.view if not town.view.is_past else place.view(address.town, None)
        end = present.at
        found = place.timeline(address.town, _BEGINNING, end)
        settings = self._settings(place, address, town.view.status.as_of.tick)
        left = self._left(place, town.view, present) if town.view.is_past else None
        replay: Any = None
        what_if: Any = None
        problem: str | None = None
        hint: str | None = None
        if town.view.is_past:
            window = {"from": to_text(town.view.at), "to": to_text(end)}
            asked = what_if_form.asked_of(address.query.get("what"))
            try:
                if address.query.get("replay"):
                    replay = self._once(
                        ("replay", address.town, *window.values()), lambda: place.replay(address.town, window)
                    )
                if asked:
                    what_if = self._once(
                        ("what", address.town, *window.values(), str(asked)),
                        lambda: place.replay(address.town, {**window, "overrides": asked}),
                    )
            except Refused as refused:
                problem, hint = refused.message, refused.hint
        return machine_view.machine_page(Machine(town, present, found, settings, left, replay, what_if, problem, hint))

    def _left(self, place: Place, then: TownView, now: TownView) -> LeftBehind | None:
        """What a restore of a past commit would leave behind; None if that cannot be said: the rest of the page can be shown."""
        town, commit = then.status.town_id, then.status.as_of.txid
        try:
            return self._once(("left", town, commit, now.status.as_of.txid), lambda: place.point(town, commit)).left
        except TownError:
            return None

    def _log(self, place: Place, address: Address, kind: Subject) -> tuple[AgentLog | None, str | None]:
        """The newest log of a bead or agent; without one why there is none."""
        wanted: LogKind = "transcript" if address.query.get("log") == "transcript" else "log"
        try:
            return place.log(address.town, kind, address.subject, wanted=wanted, generation=None), None
        except Refused as refused:
            return None, refused.message

    def _timeline_page(self, address: Address, place: Place) -> Html:
        view = self._view(place, address)
        standing, names = self._standing(address, view), names_in(view, address.at)
        first = None
        opened = address.query.get("tick", "")
        seen = self._tick(place, address.town, int(opened)) if opened.isdecimal() else None
        if address.query.get("span") == "all":
            overview = self.timeline(place, address.town, view.at - RECENT, view.at, is_past=view.is_past).overview
            first = overview[0].start if overview else None
        window = timeline_view.window_of(address, view.at, first)
        if seen is not None and "from" not in address.query and not window.holds(seen.past.time):
            half = window.length / 2
            window = Window(seen.past.time - half, seen.past.time + half)
        found = self.timeline(place, address.town, window.start, min(window.end, view.at), is_past=view.is_past)
        drawer = None
        if seen is not None:
            drawer = tick_drawer.tick_drawer(
                standing, seen, names.more(found.names), timeline_view.steps_of(found, seen.past.tick)
            )
        return timeline_view.timeline_page(standing, found, names, window, drawer=drawer)

    def _tick(self, place: Place, town: str, number: int) -> TickView:
        return self._once(("tick", town, number), lambda: place.tick(town, number))

    def _standing(self, address: Address, view: TownView) -> Standing:
        status = view.status
        return Standing(
            address,
            self.writes,
            now=view.at,
            tick=status.as_of.tick,
            tick_at=status.as_of.time,
            commit=status.as_of.txid,
            is_past=view.is_past,
        )

    def town(self, address: Address, place: Place) -> Town:
        """What the views of a town are made of."""
        view = self._view(place, address)
        standing = self._standing(address, view)
        following, no_next = (None, None) if view.is_past else self._dry_run(place, address.town)
        recent = self.timeline(place, address.town, view.at - RECENT, view.at, is_past=view.is_past)
        return Town(standing, view, names_in(view, address.at), recent, following, no_next)

    def _view(self, place: Place, address: Address) -> TownView:
        if address.at is not None and address.time is None:
            raise Refused(
                f"`at` is not a time: {address.at[:40]}",
                status=400,
                path="at",
                hint="Write a whole time in UTC, for example at=2026-01-10T12:00:00Z. The field `Go to` of the time machine also "
                f"takes {go_to.FORMS}.",
            )
        if address.time is None:
            return place.view(address.town, None)
        at = address.time
        return self._once(("view", address.town, to_text(at)), lambda: place.view(address.town, at))

    def timeline(self, place: Place, town: str, start: datetime, end: datetime, *, is_past: bool) -> Timeline:
        """A window of the history."""
        if not is_past:
            return place.timeline(town, start, end)
        return self._once(("timeline", town, to_text(start), to_text(end)), lambda: place.timeline(town, start, end))

    def _dry_run(self, place: Place, town: str) -> tuple[DryRun | None, str | None]:
        """The next tick; without it why there is none: rights to read do not include it."""
        try:
            return place.dry_run(town, {}), None
        except Refused as refused:
            if refused.status == 403:
                return None, "These credentials may not ask for a dry run."
            raise

    def _once(self, key: Hashable, ask: Callable[[], T]) -> T:
        """An answer that never changes, asked for once."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                found: T = self._kept[key]
                return found
        found = ask()
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def _fleet_page(self, address: Address, place: Place) -> Html:
        entries = place.towns().towns
        budget = READ_AT_ONCE
        newest = max(
            (each.row.status.now for each in self._fleet.values() if each.row.status is not None), default=None
        )
        rows: list[TownRow] = []
        for entry in entries:
            known = self._fleet.get(entry.town_id)
            if budget and (
                known is None or known.row.is_old(newest) or known.tick != entry.tick or len(entries) <= READ_AT_ONCE
            ):
                known = Read(entry.tick, _row(entry, place))
                self._fleet[entry.town_id] = known
                budget -= 1
            rows.append(known.row if known is not None else fleet.row_of(entry, None))
        now = max((row.status.now for row in rows if row.status is not None), default=None)
        said = f"{len(rows)} town{'' if len(rows) == 1 else 's'}"
        return fleet_page(Standing(address, self.writes, now=now, said=said), rows)


def _row(entry: TownEntry, place: Place) -> TownRow:
    """A town as a row; one that cannot be read says why."""
    if entry.problem is not None:
        return fleet.row_of(entry, None)
    try:
        return fleet.row_of(entry, place.status(entry.town_id))
    except TownError as error:
        return fleet.row_of(entry, None, error.message)
