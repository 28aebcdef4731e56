"""`townctl watch`: a town at a glance, live: what needs somebody, who works, what just happened, and what comes next.

It asks for the same answers as `town status` and `ticks`, every few seconds, so it works wherever these do. Between two answers
only the times move. If an answer fails, the picture stays and the error stands below it: a watcher outlives an outage.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from infra.townctl import status_view
from infra.townctl.arguments import TownName
from infra.townctl.output import Answer, plain, screen, table
from infra.townctl.people import when
from infra.townctl.place import Place, ThePlace
from infra.townctl.summaries import done_in
from infra.townctl.wording import message_of
from shared.domain.errors import Refused, TownError

if TYPE_CHECKING:
    from shared.questions.status import TownStatus
    from shared.questions.tick_list import PastTick

_EVERY_SECONDS: Final = 3
_LONGEST_SECONDS: Final = 3600
_TICKS_LOOKED_AT: Final = 30
_TICKS_SHOWN: Final = 6
_LEAST_BEADS: Final = 5
_HELPS_SHOWN: Final = 3
_BESIDES: Final = 16
"""Lines of a picture that are not rows of tables: headings, rules and the lines at the top and the bottom."""

Every = Annotated[int, Parameter(help="Seconds between two looks at the town.")]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at a town has found: its status, and its newest ticks, oldest first."""

    status: TownStatus
    ticks: tuple[PastTick, ...]


def watch(town_id: TownName, /, *, every: Every = _EVERY_SECONDS, place: ThePlace) -> Answer:
    """Show a town live until Ctrl-C: what waits for somebody, who works, what just happened and what comes next.

    Without a terminal it shows the town once.
    """
    if not 1 <= every <= _LONGEST_SECONDS:
        hint = f"leave --every out for {_EVERY_SECONDS} seconds"
        raise Refused(f"--every must be 1 to {_LONGEST_SECONDS}, not {every}", status=400, path="every", hint=hint)
    seen = look(place, town_id)
    if not sys.stdout.isatty():
        return Answer(seen.status, picture(seen, rows=_rows()))
    with Live(console=screen(sys.stdout), screen=True, auto_refresh=False) as live:
        shown = Watcher(place, town_id, seen, every=every, show=lambda parts: live.update(Group(*parts), refresh=True))
        try:
            shown.run(sleep=time.sleep)
        except KeyboardInterrupt:
            seen = shown.seen
    return Answer(seen.status, picture(seen, rows=_rows()))


class Watcher:
    """Shows a town again every second, and looks at it again every few seconds."""

    def __init__(
        self, place: Place, town_id: str, seen: Seen, *, every: int, show: Callable[[list[RenderableType]], None]
    ) -> None:
        self.seen = seen
        self._place, self._town_id, self._every, self._show = place, town_id, every, show
        self._age = 0
        self._problem: str | None = None

    def run(self, *, sleep: Callable[[float], None]) -> None:
        """Show it until something is raised, such as KeyboardInterrupt."""
        while True:
            self._show(self.picture())
            sleep(1)
            self._age += 1
            if self._age % self._every == 0:
                self._look()

    def picture(self) -> list[RenderableType]:
        """The picture of this moment: as it was seen at last, so many seconds later."""
        moved = replace(self.seen.status, now=self.seen.status.now + timedelta(seconds=self._age))
        parts = list(picture(replace(self.seen, status=moved), rows=_rows()))
        if self._problem is not None:
            parts.append(Text(plain(f"not answered for {self._age} s: {self._problem}"), style="red"))
        return [*parts, Text("Ctrl-C ends", style="dim")]

    def _look(self) -> None:
        try:
            self.seen, self._age, self._problem = look(self._place, self._town_id), 0, None
        except TownError as error:
            self._problem = message_of(error)


def look(place: Place, town_id: str) -> Seen:
    """One look at a town. Raises the errors of the place."""
    status = place.status(town_id)
    return Seen(status, place.ticks(town_id, limit=_TICKS_LOOKED_AT, after=None, before=None).ticks)


def picture(seen: Seen, *, rows: int) -> Iterator[RenderableType]:
    """The town at a glance, in at most so many rows of tables."""
    town = seen.status
    happened = list(_happened(seen))[:_TICKS_SHOWN]
    busy = sum(1 for agent in town.agents if not status_view.rests(agent))
    yield from status_view.head(town)
    yield from status_view.failed(town)
    yield from status_view.beads(town, most=max(_LEAST_BEADS, rows - len(happened) - len(town.failed) - busy))
    yield from status_view.helps(town, most=_HELPS_SHOWN)
    yield from status_view.agents(town)
    if happened:
        yield table("just happened", "events", "actions", "rules", "tick", rows=happened)


def _happened(seen: Seen) -> Iterator[tuple[object, ...]]:
    """The newest ticks that did more than process signs of life, newest first."""
    for tick in reversed(seen.ticks):
        done = done_in(tick.row)
        if tick.restore is not None:
            yield when(tick.time, seen.status.now), plain(tick.restore.says()), None, None, tick.tick
        elif done.worth_a_line:
            yield when(tick.time, seen.status.now), done.news, done.actions, done.rules, tick.tick


def _rows() -> int:
    """The rows of tables for which the terminal has room."""
    return shutil.get_terminal_size().lines - _BESIDES
