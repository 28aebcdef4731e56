"""Towns that run in one process, and what one of them may do to the others: use up its memory, or end it.

Before a process runs towns, it notes which (`shared.ports.watch`): one object for each process, written again only when
other towns run. The note stays if the process dies. Whoever finds it runs each of these towns apart, in a run of its own: by a
worker of the queue, or in a child process where there is no queue. So the next death hits no other town.

    a note of a life that has ended     its towns run apart
    a run of its own ends in an orderly way    the town runs with the others again, unless that has cost two lives within an hour
    three runs of its own die           the town is set aside: an alert, and no more runs until somebody resumes it

An error of a run is no death: it is reported, and the process goes on. A run that dies is known by its record, which is
written before the run and corrected after it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.domain.errors import TownError
from shared.engine import alerts
from shared.ports.steps import Call, Steps
from shared.ports.watch import Apart, LifeNote, Watched
from shared.runner.surroundings import Surroundings

DEATHS_ALLOWED: Final = 3
LIVES_ALLOWED: Final = 2
"""So many processes within the memory of a record, and the town runs apart although its runs of its own end well."""
REMEMBERED: Final = timedelta(hours=1)
NOTED_FOR: Final = timedelta(minutes=10)
"""A note that is older than this was left by a process that has ended, or it would have been written again."""


def is_set_aside(record: Apart | None) -> bool:
    """Whether a town is not run at all until somebody resumes it."""
    return record is not None and record.deaths >= DEATHS_ALLOWED


def must_run_apart(record: Apart | None) -> bool:
    """Whether a town may not run together with others."""
    return record is not None and (not record.orderly or record.lives >= LIVES_ALLOWED)


@dataclass(slots=True)
class Neighbours:
    """The towns that one process runs together, and those that it must run apart.

    `life` is the note that identifies the process; `has_ended` says whether the process of another note has ended.
    """

    around: Surroundings
    life: LifeNote
    has_ended: Callable[[LifeNote, datetime], bool]
    watched: Watched = field(default_factory=Watched)
    _apart: dict[str, Apart] = field(default_factory=dict)
    _noted: LifeNote | None = None

    @property
    def set_aside(self) -> tuple[str, ...]:
        """The towns that are not run at all."""
        return tuple(sorted(town for town, record in self._apart.items() if is_set_aside(record)))

    def is_apart(self, town_id: str) -> bool:
        """Whether this town may not run together with others."""
        return must_run_apart(self._apart.get(town_id))

    def is_set_aside(self, town_id: str) -> bool:
        """Whether this town is not run at all."""
        return is_set_aside(self._apart.get(town_id))

    def look(self) -> Steps[None]:
        """Read what is noted, turn the notes of ended lives into records, and tell which towns are set aside."""
        now = yield from self.around.real_time()
        self.watched = yield from self.around.store.watched()
        found = dict(self.watched.apart)
        for note in self.watched.lives:
            if note.life == self.life.life or not self.has_ended(note, now):
                continue
            for town_id in note.towns:
                found[town_id] = _after_a_life(found.get(town_id), town_id, now)
                yield from self.around.store.keep_apart(found[town_id])
            yield from self.around.store.forget_life(note.life)
        for record in tuple(found.values()):
            if record.orderly and abs(now - record.at) >= REMEMBERED:
                del found[record.town_id]
                yield from self.around.store.forget_apart(record.town_id)
            elif is_set_aside(record) and not record.told:
                if (yield from self.around.store.apart(record.town_id)) != record:
                    continue  # a run of its own has ended since; the next look sees how
                found[record.town_id] = replace(record, told=True)
                yield from _tell(self.around, record)
                yield from self.around.store.keep_apart(found[record.town_id])
        self._apart = found

    def note(self, towns: Iterable[str]) -> Steps[None]:
        """Note the towns that run now, if the last note does not name them or is getting old."""
        running = tuple(sorted(set(towns)))
        now = yield from self.around.real_time()
        noted = self._noted
        if not running or (noted and set(running) <= set(noted.towns) and noted.until - now > NOTED_FOR / 2):
            return
        note = replace(self.life, towns=running, until=now + NOTED_FOR)
        yield from self.around.store.note_life(note)
        self._noted = note

    def done(self) -> Steps[None]:
        """No town runs any more: remove the note."""
        if self._noted is not None:
            yield from self.around.store.forget_life(self.life.life)
            self._noted = None

    def ran(self, town_id: str, record: Apart | None) -> None:
        """A run of its own of this town has ended; `record` is what is stored about it now."""
        self._apart.pop(town_id, None)
        if record is not None:
            self._apart[town_id] = record


@dataclass(slots=True)
class OwnRuns:
    """Counts the runs of their own that one process makes or starts.

    If the store fails at the wrong moment, the count of a run that did not die stays. This process lives, so it knows better:
    `_owed` is what the count of a town should be, and its next run here corrects it.
    """

    _owed: dict[str, int] = field(default_factory=dict)

    def begun(self, around: Surroundings, town_id: str) -> Steps[Apart]:
        """Count a run as a death before it is made, so that its death is counted. A run of a town set aside is not counted.

        Returns what was true before, for `ended`. If the town is set aside, the run must not be made.
        """
        now = yield from around.real_time()
        known = yield from around.store.apart(town_id)
        before = known or Apart(town_id, lives=0, deaths=0, since=now, at=now)
        before = replace(before, deaths=min(before.deaths, self._owed.get(town_id, before.deaths)))
        if not is_set_aside(before):
            try:
                yield from around.store.keep_apart(_after_a_death(before, now))
            except TownError:
                self._owed[town_id] = before.deaths  # the write may have been made all the same
                raise
        return before

    def ended(self, around: Surroundings, before: Apart, *, died: bool = False) -> Steps[Apart | None]:
        """A run has ended; if it died, its count stays. Returns what is stored about its town; None if nothing is."""
        self._owed.pop(before.town_id, None)
        if died:
            return _after_a_death(before, (yield from around.real_stamp()))
        try:
            return (yield from _ended_well(around, before))
        except TownError:
            self._owed[before.town_id] = 0
            raise


def ended_here(around: Surroundings, town_id: str) -> Steps[None]:
    """Forget the deaths of a town of which this process was a run of its own, whatever has become of the loop that counts it."""
    known = yield from around.store.apart(town_id)
    if known is not None:
        yield from _ended_well(around, known)


def _ended_well(around: Surroundings, before: Apart) -> Steps[Apart | None]:
    if before.lives == 0:
        yield from around.store.forget_apart(before.town_id)
        return None
    now = yield from around.real_stamp()
    # the time stays that of the last death, so that a town which runs well is with the others again after an hour
    after = replace(before, deaths=0, at=before.at if before.orderly else now, orderly=True, told=False)
    yield from around.store.keep_apart(after)
    return after


def resume(around: Surroundings, town_id: str) -> Steps[bool]:
    """Run a town with the others again, and at once. Returns whether it ran apart or was set aside. Raises UnknownTown."""
    yield from around.store.standing(town_id)
    try:
        was = (yield from around.store.apart(town_id)) is not None
    except TownError:
        was = True  # unreadable, and removed
    yield from around.store.forget_apart(town_id)
    if was:
        now = yield from around.stamp()
        yield from around.store.mark_due(town_id, now)
    return was


def _after_a_life(known: Apart | None, town_id: str, now: datetime) -> Apart:
    if known is None:
        return Apart(town_id, lives=1, deaths=0, since=now, at=now)
    return replace(known, lives=known.lives + 1, at=now, orderly=False)


def _after_a_death(before: Apart, now: datetime) -> Apart:
    return replace(before, deaths=before.deaths + 1, at=now, orderly=False)


def _tell(around: Surroundings, record: Apart) -> Steps[None]:
    if around.alerts is not None:
        alert = alerts.town_set_aside(record.town_id, deaths=record.deaths)
        yield Call("alerts", partial(around.alerts.raise_all, (alert,)))
