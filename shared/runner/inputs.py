"""Phases 1 to 3 of a run: the waiting events, the observations and the one clock reading, which are the input of the tick."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.limits import MILLISECOND
from shared.domain.processes import ENDED, ProcessStatus
from shared.domain.tick import Envelope, Observations, TickInput, config_digest
from shared.events import BY_TYPE
from shared.events.beats import outdone
from shared.events.containers import beat_in
from shared.images import summary
from shared.intake import ingest
from shared.ports.steps import Call, Steps, Together
from shared.ports.town_store import Publication, Published, TownImage
from shared.ports.waiting_room import DueMarker, InboxReading
from shared.runner.surroundings import Surroundings
from shared.storage import keys
from shared.town import database


@dataclass(frozen=True, slots=True)
class Reading:
    """The part of the inbox that one tick takes. `taken` are the batches that are whole in `envelopes`, with the ids of events that
    stand for theirs: their own, or, for a heartbeat that was left out, the newer one that outdoes it.

    `waiting` counts the events that stay in the inbox, as `TickInput` does; `waiting_since` is when the oldest was received.
    """

    envelopes: tuple[Envelope, ...]
    taken: tuple[tuple[str, tuple[str, ...]], ...]
    more: bool
    waiting: int = 0
    waiting_since: datetime | None = None


CONTAINER: Final = "container"


def taken_by(reading: Reading, given: TickInput) -> tuple[str, ...]:
    """The keys of the batches all of whose events were given to the tick."""
    events = {event.event_id for event in given.new_events}
    return tuple(key for key, ids in reading.taken if events.issuperset(ids))


def require_same_image(exactly: TickInput, image: TownImage) -> None:
    """Raise Refused if a dry run was made of another image than this one."""
    if exactly.prev_image_digest != image.image_digest or exactly.tick_no != image.facts.tick_no + 1:
        raise Refused(
            f"town {image.town_id} has moved on: it is at tick {image.facts.tick_no}, "
            f"and the given input is for tick {exactly.tick_no} of another image",
            status=409,
            path="input",
            hint="make a new dry run and run its input",
        )


def as_marked(about: summary.BeforeTick, markers: tuple[DueMarker, ...]) -> summary.BeforeTick:
    """The values of the image, without a due time that a quiet tick has dealt with: no marker is left for it.

    A quiet tick commits nothing, so the image still holds that due time, and this tick would count it as its lag (tickLagMs). A
    tick without markers, as by hand, keeps it.
    """
    due = about.next_due
    if due is None or not markers or any(marker.at <= due < marker.at + timedelta(seconds=1) for marker in markers):
        return about
    return replace(about, next_due=None)


def observed(
    town_id: str, around: Surroundings, watched: tuple[str, ...], publication: Publication
) -> Steps[tuple[Observations, Published]]:
    """Phase 2, and at the same time the objects are written that the committed image is due to publish."""
    asking = _questions(town_id, around, watched)
    calls = (*publication.calls, *asking)
    answers = (yield Together(calls)) if calls else []
    published = yield from publication.settled(tuple(answers[: len(publication.calls)]))
    return _observations(watched, answers[len(publication.calls) :]), published


def heard_out(
    town_id: str, around: Surroundings, reading: Reading, observations: Observations
) -> Steps[tuple[Reading, Observations]]:
    """The inbox as it is after the runtime was asked, if a process has ended: its last report may have come in between.

    If the tick cannot take all that waits, the report may be in the rest. Then the end of the process is not known yet.
    """
    # A process that has ended sends nothing more, so an inbox that is read after its end holds all that it ever said. Example: at
    # 12:00:00.1 the inbox is read, at .2 the refinery reports that it is done and ends, at .3 the runtime says `exited`. Without
    # the report, R6 would start the refinery again for a review that is over.
    if not any(status.status in ENDED for _, status in observations.agents):
        return reading, observations
    waiting = yield from around.store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)
    reading = read_batches(waiting, behind=(yield from batches_behind(around, town_id, waiting)))
    if not reading.more:
        return reading, observations
    alive = tuple(
        (agent_id, ProcessStatus("unknown") if status.status in ENDED else status)
        for agent_id, status in observations.agents
    )
    return reading, replace(observations, agents=alive)


def fix_input(
    around: Surroundings,
    image: TownImage,
    about: summary.BeforeTick,
    *,
    now: datetime,
    worker_id: str,
    reading: Reading,
    observations: Observations,
    code: str,
) -> TickInput:
    """Phase 3: the input of the tick. Its time strictly increases from tick to tick, whatever the wall clock says.

    `code` is the code version, which only the journal stores: a question that runs no tick need not compute it.
    """
    tick_no = image.facts.tick_no + 1
    return TickInput(
        tick_no=tick_no,
        tick_id=f"{tick_no}-{worker_id}",
        now=now if about.last_tick_at is None else max(now, about.last_tick_at + MILLISECOND),
        code_version=code,
        sqlite_version=database.SQLITE_VERSION,
        config_digest=config_digest(about.config),
        prev_image_digest=image.image_digest,
        new_events=reading.envelopes,
        more_waiting=reading.more,
        waiting=reading.waiting,
        waiting_since=reading.waiting_since,
        observations=observations,
        due_at=about.next_due,
        restore_window=around.restore_window,
        settings=around.settings,
        own_clock=around.own_clock,
        fleet_channels=around.fleet_channels,
    )


def observe(town_id: str, around: Surroundings, watched: tuple[str, ...]) -> Steps[Observations]:
    """Phase 2: ask for the status of every working or stalled agent and of the container; without an answer it is `unknown`."""
    asking = _questions(town_id, around, watched)
    answers = (yield Together(asking)) if asking else []
    return _observations(watched, answers)


def _questions(town_id: str, around: Surroundings, watched: tuple[str, ...]) -> tuple[Call, ...]:
    runtime = around.outside.runtime
    if runtime is None:
        return ()
    within = limits.OBSERVE_WITHIN.total_seconds()
    agents = [
        Call(f"status {agent_id}", partial(runtime.status, town_id, agent_id), within) for agent_id in sorted(watched)
    ]
    return (*agents, Call(CONTAINER, partial(runtime.container_state, town_id), within))


def _observations(watched: tuple[str, ...], answers: Sequence[Any]) -> Observations:
    if not answers:
        return Observations(asked=False)
    *statuses, container = answers
    seen = tuple(
        (agent_id, ProcessStatus("unknown") if isinstance(status, Exception) else _believed(status))
        for agent_id, status in zip(sorted(watched), statuses, strict=True)
    )
    return Observations(agents=seen, container="unknown" if isinstance(container, Exception) else container)


def _believed(status: ProcessStatus) -> ProcessStatus:
    """The same without a sign of life that no heartbeat could be: the tick does not hear it, so nobody is told that it did."""
    return status if status.sign is None or beat_in(status) is not None else replace(status, sign=None)


def batches_behind(around: Surroundings, town_id: str, waiting: InboxReading) -> Steps[int]:
    """The number of batches that a reading of the inbox left unread; no call is made if it left none."""
    if not waiting.more:
        return 0
    after = waiting.objects[-1].key if waiting.objects else ""
    return (yield from around.store.count_inbox(town_id, after=after))


def wakes(waiting: InboxReading) -> bool:
    """Whether a batch contains more than signs of life. What cannot be read does as well.

    The first such event is the answer, so a town that has one does not decode all that waits a second time.
    """
    events = (each for batch in waiting.objects for each in ingest.read_object(batch.key, batch.body, size=batch.size))
    kinds = (BY_TYPE.get(each.event_type) for each in islice(events, limits.EVENTS_PER_TICK))
    return any(kind is None or not kind.transient for kind in kinds)


def read_batches(waiting: InboxReading, *, behind: int = 0) -> Reading:
    """At most 1,000 events, in order of receipt; a batch that is taken in part stays until a tick takes the rest.

    `behind` is the number of batches that were not read.
    """
    return _without_outdone(_read(waiting, behind))


def _without_outdone(reading: Reading) -> Reading:
    """The same without the heartbeats that a newer one outdoes. Their batch is taken when the tick has the newer one."""
    # Most events of a busy town are heartbeats, and a tick of a minute finds two of each agent. The journal keeps what ticks
    # read, so what no tick needs is left out before.
    found = outdone(reading.envelopes)
    if not found:
        return reading
    ids = [event.event_id for event in reading.envelopes]
    newer = {ids[position]: ids[newest] for position, newest in found.items()}
    kept = tuple(event for position, event in enumerate(reading.envelopes) if position not in found)
    there = {event.event_id for event in kept}
    taken = tuple(
        (key, tuple(each if each in there else newer.get(each, each) for each in of_batch))
        for key, of_batch in reading.taken
    )
    return replace(reading, envelopes=kept, taken=taken)


def _read(waiting: InboxReading, behind: int) -> Reading:
    envelopes: list[Envelope] = []
    taken: list[tuple[str, tuple[str, ...]]] = []
    for number, batch in enumerate(waiting.objects):
        events = ingest.read_object(batch.key, batch.body, size=batch.size)
        room = limits.EVENTS_PER_TICK - len(envelopes)
        envelopes.extend(events[:room])
        if len(events) > room:
            later = waiting.objects[number + 1 :]
            left = len(events) - room + sum(ingest.number_of_events(each.key, each.body) for each in later)
            since = keys.received_at(batch.key)
            return Reading(tuple(envelopes), tuple(taken), more=True, waiting=left + behind, waiting_since=since)
        taken.append((batch.key, tuple(event.event_id for event in events)))
    # The first unread batch is not known, and it is no older than the last one that was read.
    since = keys.received_at(waiting.objects[-1].key) if behind and waiting.objects else None
    return Reading(tuple(envelopes), tuple(taken), more=waiting.more, waiting=behind, waiting_since=since)
