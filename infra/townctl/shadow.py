"""`townctl shadow`: the code of a working tree beside the live code. Each new tick is run again with it, and nothing is applied.

It follows the commits of a share of the towns. The other code gets the image that was committed before each tick and that tick's
recorded input, so a difference is the tick's own, and the deployment is neither changed nor asked for anything. Code that
ends its process or hangs costs its town the new ticks of that look; the other towns are followed on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from infra.townctl.backtests import Code, Towns, told, view
from infra.townctl.context import TheContext
from infra.townctl.loop import Stop
from infra.townctl.other_code import Job, OtherCode, checked_limit, checked_tree
from infra.townctl.output import FOUND, OK, Answer
from infra.townctl.wording import message_of, quantity
from shared.domain.errors import Refused, TownError
from shared.history.journal_rows import ticks_text
from shared.history.self_check import chosen
from shared.ports.steps import drive
from shared.replay.backtest.summary import Unread, summary_of
from shared.replay.backtest.window import WindowBacktest, joined

if TYPE_CHECKING:
    from infra.townctl.context import Context
    from shared.storage.towns import ObjectTownStore
    from shared.telemetry.emf import EmfMetrics

EVERY_SECONDS: Final = 5
TICK_SECONDS: Final = 60
"""A tick takes milliseconds, and its image at most seconds to read; one that takes this long is taken for a hang."""

RECENT: Final = 100
"""So many past ticks of each town run with --once."""
_LONGEST_SECONDS: Final = 3600
_SHOWN: Final = 5


def shadow(
    *,
    towns: Towns = None,
    share: Annotated[
        float, Parameter(help="The share of the towns, above 0 and at most 1; the same towns are chosen each time.")
    ] = 1.0,
    code: Code = None,
    every: Annotated[int, Parameter(help="Seconds between two looks at the towns.")] = EVERY_SECONDS,
    limit: Annotated[
        int, Parameter(help="Seconds that the code may take for one tick; then it is ended.")
    ] = TICK_SECONDS,
    once: Annotated[bool, Parameter(negative="", help="Run the newest 100 ticks of each town, and end.")] = False,
    emf: Annotated[
        bool, Parameter(negative="", help="Write metrics to standard error, as lines in CloudWatch's embedded format.")
    ] = False,
    context: TheContext,
) -> Answer:
    """Run each new tick again with the code of a working tree until Ctrl-C, and show and count where it would do otherwise.

    Nothing is changed. Exit code 1 if anything differed, or if a tick could not be run.
    """
    _check(share, every)
    seconds = checked_limit(limit, default=TICK_SECONDS)
    tree = checked_tree(code)
    store = context.store()
    known = context.require_towns(store, *(towns or ()))
    followed = [town for town in sorted(set(towns or known)) if chosen(town, share)]
    context.talk(f"{quantity(len(followed), 'town')} of {len(set(towns or known))}, beside the code in {tree}")
    stop = _Stop()
    with stop.on_signals(), OtherCode(tree, context, children=1, limit=seconds) as children:
        stop.children = children
        follower = Follower(context, store, children, followed, metrics=_metrics() if emf else None)
        follower.start(recent=RECENT if once else 0)
        follower.look()
        while not once and not stop.wait(every):
            follower.look()
    made = summary_of(follower.found, accepted=False)
    return Answer(made, tuple(view(made)), OK if made.is_the_same else FOUND)


def _check(share: float, every: int) -> None:
    if not 0 < share <= 1:
        hint = "give 0.1 for every tenth town"
        raise Refused(f"--share must be above 0 and at most 1, not {share}", status=400, path="share", hint=hint)
    if not 1 <= every <= _LONGEST_SECONDS:
        hint = f"leave --every out for {EVERY_SECONDS} seconds"
        raise Refused(f"--every must be 1 to {_LONGEST_SECONDS}, not {every}", status=400, path="every", hint=hint)


def _metrics() -> EmfMetrics:
    from shared.telemetry.emf import EmfMetrics

    return EmfMetrics(lambda line: print(line, file=sys.stderr, flush=True), stage="shadow")


class _Stop(Stop):
    """Also ends the children, which may be in the middle of a tick that never ends."""

    children: OtherCode | None = None

    def ask(self) -> None:
        """End the children, then the loop."""
        super().ask()
        if self.children is not None:
            self.children.end()


@dataclass
class Follower:
    """Follows the ticks of towns."""

    context: Context
    store: ObjectTownStore
    children: OtherCode
    towns: Sequence[str]
    metrics: EmfMetrics | None = None
    _ran: dict[str, WindowBacktest] = field(default_factory=dict)
    _not_run: list[Unread] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)
    _unreadable: dict[str, str] = field(default_factory=dict)
    _troubled: set[str] = field(default_factory=set)

    @property
    def found(self) -> list[WindowBacktest | Unread]:
        """What was found so far: a window for each town, and what could not be run."""
        return [*self._ran.values(), *self._not_run]

    def start(self, *, recent: int) -> None:
        """Begin with the newest ticks of each town, so many of them."""
        self._seen = {town: max(tick - recent, 0) for town, tick in self._newest().items()}

    def look(self) -> None:
        """Run the ticks that are new, say where they differ, and count them.

        Towns whose newest tick could not be run come last, so that they do not hold up the others again.
        """
        for town, newest in sorted(self._newest().items(), key=lambda each: each[0] in self._troubled):
            self._follow(town, newest)

    def _follow(self, town: str, newest: int) -> None:
        """Run the new ticks of a town one by one. After one that cannot be run, the others of this look are left out."""
        seen = self._seen.setdefault(town, newest)
        while seen < newest and (made := self.children.ask(Job(town, after=seen))) is not None:
            if isinstance(made, Unread):
                self._troubled.add(town)
                self._cannot(Unread(town, f"{made.problem}; {ticks_text(seen + 1, newest)} left out"))
                seen = newest
            else:
                self._troubled.discard(town)
                self._count(made)
                seen = made.last_tick
            self._seen[town] = seen

    def _count(self, made: WindowBacktest) -> None:
        before = self._ran.get(made.town_id)
        self._ran[made.town_id] = made if before is None else joined(before, made)
        for line in _said(made):
            self.context.talk(line)
        if self.metrics is not None:
            values = {"shadowTicks": made.ticks, "shadowDifferences": made.ticks_that_differ}
            about = {"event": "shadow.ran", "town_id": made.town_id, "last_tick": made.last_tick}
            self.metrics.write(values, about)

    def _cannot(self, unread: Unread) -> None:
        self._not_run.append(unread)
        self.context.talk(f"{unread.town_id}: {unread.problem}")

    def _newest(self) -> dict[str, int]:
        """The newest tick of each town that can be read; of the others it is said once why they cannot. Only heads are read."""
        found: dict[str, int] = {}
        for town, standing in zip(self.towns, drive(self.store.standings(self.towns)), strict=True):
            if not isinstance(standing, TownError):
                found[town] = standing.tick_no
                self._unreadable.pop(town, None)
            elif self._unreadable.get(town) != standing.message:
                self._unreadable[town] = standing.message
                self._cannot(Unread(town, message_of(standing)))
        return found


def _said(made: WindowBacktest) -> Iterator[str]:
    if made.failed is not None:
        yield f"{made.town_id}: the code failed in {made.failed}"
    for change in made.changes[:_SHOWN]:
        yield f"{made.town_id} tick {change.tick}: {told(change)}"
    if len(made.changes) > _SHOWN:
        yield f"{made.town_id}: and {len(made.changes) - _SHOWN} more"
