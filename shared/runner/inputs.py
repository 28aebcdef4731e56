"""Phases 1 to 3 of a run: the waiting events, the observations and the one clock reading, which are the input of the tick."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from shared.domain import limits
from shared.domain.limits import MILLISECOND
from shared.domain.processes import ProcessStatus
from shared.domain.tick import Envelope, Observations, TickInput, config_digest
from shared.images import summary
from shared.intake import ingest
from shared.ports.steps import Call, Steps, Together
from shared.ports.town_store import Publication, Published, TownImage
from shared.ports.waiting_room import DueMarker, InboxReading
from shared.runner.code_version import code_version
from shared.runner.surroundings import Surroundings
from shared.town import database


@dataclass(frozen=True, slots=True)
class Reading:
    """The part of the inbox that one tick takes. `taken` are the batches that are whole in `envelopes`, with their event ids."""

    envelopes: tuple[Envelope, ...]
    taken: tuple[tuple[str, tuple[str, ...]], ...]
    more: bool


CONTAINER: Final = "container"


def taken_by(reading: Reading, given: TickInput) -> tuple[str, ...]:
    """The keys of the batches all of whose events were given to the tick."""
    events = {event.event_id for event in given.new_events}
    return tuple(key for key, ids in reading.taken if events.issuperset(ids))


def as_marked(about: summary.BeforeTick, markers: tuple[DueMarker, ...]) -> summary.BeforeTick:
    """The values of the image, without a due time that a quiet tick has dealt with: no marker is left for it.

    A quiet tick commits nothing, so the image still holds that due time, and this tick would count it as its lag (tickLagMs). A
    tick without markers, as by hand, keeps it.
    """
    due = about.next_due
    if due is None or not markers or any(marker.at <= due < marker.at + timedelta(seconds=1) for marker in markers):
        return about
    return replace(about, next_due=None)


def gathered(
    around: Surroundings,
    image: TownImage,
    reading: Reading,
    about: summary.BeforeTick,
    publication: Publication,
    *,
    worker_id: str,
) -> Steps[tuple[TickInput, Published]]:
    """Phases 1 to 3: the events, the observations, the one clock reading.

    The objects that the committed image is due to publish are written at the same time.
    """
    asking = _questions(image.town_id, around, about.watched)
    calls = (*publication.calls, *asking)
    answers = (yield Together(calls)) if calls else []
    published = yield from publication.settled(tuple(answers[: len(publication.calls)]))
    observations = _observations(about.watched, answers[len(publication.calls) :])
    wall: datetime = yield Call("clock", around.clock.now)
    given = fix_input(
        around,
        image,
        about,
        now=wall,
        worker_id=worker_id,
        reading=reading,
        observations=observations,
        code=code_version(),
    )
    return replace(given, journal_published_to=published.journal_to), published


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
        observations=observations,
        due_at=about.next_due,
        restore_window=around.restore_window,
        settings=around.settings,
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
        (agent_id, ProcessStatus("unknown") if isinstance(status, Exception) else status)
        for agent_id, status in zip(sorted(watched), statuses, strict=True)
    )
    return Observations(agents=seen, container="unknown" if isinstance(container, Exception) else container)


def read_batches(waiting: InboxReading) -> Reading:
    """At most 1,000 events, in order of receipt; a batch that is taken in part stays until a tick takes the rest."""
    envelopes: list[Envelope] = []
    taken: list[tuple[str, tuple[str, ...]]] = []
    for batch in waiting.objects:
        events = ingest.read_object(batch.key, batch.body, size=batch.size)
        room = limits.EVENTS_PER_TICK - len(envelopes)
        envelopes.extend(events[:room])
        if len(events) > room:
            return Reading(tuple(envelopes), tuple(taken), more=True)
        taken.append((batch.key, tuple(event.event_id for event in events)))
    return Reading(tuple(envelopes), tuple(taken), more=waiting.more)
