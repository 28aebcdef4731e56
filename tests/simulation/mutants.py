"""The protocol, broken on purpose: what a worker must not do. The checkers must see every one of these.

A mutant replaces one piece of the real code while it is installed; everything else stays what it is.
"""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from unittest.mock import patch

from shared.adapters.memory_objects import MemoryObjects
from shared.domain import ids, limits
from shared.domain.errors import Conflict
from shared.domain.images import ArchiveBlock, Content
from shared.domain.report import TickReport
from shared.domain.tick import Envelope, TickInput
from shared.ports.steps import Call, Steps
from shared.ports.town_store import CommitFacts, TownImage
from shared.ports.waiting_room import DueMarker
from shared.runner import batch, inputs, sweep, worker
from shared.runner.clock_guard import ClockGuard
from shared.runner.minute import _Shift
from shared.runner.perform import Performed, perform
from shared.runner.run_report import FailedRun, RunReport
from shared.runner.surroundings import Surroundings
from shared.storage.archive import TownArchives
from shared.storage.towns import ObjectTownStore
from shared.town import inbox, outbox
from shared.town.known_events import digest_of
from shared.town.town import Town

_commit = worker._commit
_perform = perform
_store_commit = ObjectTownStore.commit
_store_event = inbox.store
_fix_input = inputs.fix_input
_not_done = batch._not_done
_publish = TownArchives.publish


@dataclass(frozen=True)
class Mutant:
    """One way to do it wrong: `name` says what is done. It shows in worlds of so many minutes."""

    name: str
    target: Any
    attribute: str
    instead: Any
    minutes: float = 3

    @contextmanager
    def installed(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(patch.object(self.target, self.attribute, self.instead))
            yield


def _effects_first(
    around: Surroundings, base: Any, image: Content, report: TickReport, nonce: str | None
) -> Steps[RunReport]:
    at: datetime = yield Call("clock", around.clock.now)
    post = partial(worker._post_results, around, report.town_id, report.input.tick_id, [])
    yield from _perform(report.effects, around.outside, time=around.time, claimed_at=at, post=post)
    return (yield from _commit(around, base, image, replace(report, effects=()), nonce))


def _clear_first(
    around: Surroundings, base: Any, image: Content, report: TickReport, nonce: str | None
) -> Steps[RunReport]:
    yield from around.store.clear_inbox(base.batches)
    return (yield from _commit(around, base, image, report, nonce))


def _conceal_the_drain(
    around: Surroundings, base: Any, image: Content, report: TickReport, nonce: str | None
) -> Steps[RunReport]:
    return (yield from _commit(around, base, image, report, None))


def _conflict_is_success(
    self: ObjectTownStore, base: TownImage, image: Content, facts: CommitFacts, **more: Any
) -> Steps[TownImage]:
    try:
        return (yield from _store_commit(self, base, image, facts, **more))
    except Conflict:
        return replace(base, content=image, facts=facts, txid=base.txid + 1)


def _store_again(town: Town, envelope: Envelope, **_known: Any) -> str:
    town.sql.execute("DELETE FROM town_events WHERE event_id = ? AND processed_at IS NOT NULL", (envelope.event_id,))
    town.sql.execute("DELETE FROM known_events WHERE event = ?", (digest_of(envelope.event_id),))
    return _store_event(town, envelope)


def _key_of_attempt(effects: tuple[Any, ...], *arguments: Any, **more: Any) -> Steps[Performed]:
    other = tuple(replace(effect, effect_id=f"{effect.effect_id}{effect.attempt}") for effect in effects)
    return (yield from _perform(other, *arguments, **more))


def _delete_markers_first(
    around: Surroundings,
    image: TownImage,
    markers: tuple[DueMarker, ...],
    *,
    due: datetime | None,
    now: datetime,
    look: bool = True,
) -> Steps[tuple[datetime, ...]]:
    yield from around.store.clear_due(tuple(marker.key for marker in markers))
    if due is not None:
        yield from around.store.mark_due(image.town_id, due)
    return ()


def _never_look_again(
    around: Surroundings,
    image: TownImage,
    markers: tuple[DueMarker, ...],
    *,
    due: datetime | None,
    now: datetime,
    look: bool = True,
) -> Steps[tuple[datetime, ...]]:
    keep = None if due is None else (yield from around.store.mark_due(image.town_id, due)).key
    yield from around.store.clear_due(tuple(marker.key for marker in markers if marker.key != keep))
    return ()


def _look_at_the_inbox_alone(
    around: Surroundings,
    image: TownImage,
    markers: tuple[DueMarker, ...],
    *,
    due: datetime | None,
    now: datetime,
    look: bool = True,
) -> Steps[tuple[datetime, ...]]:
    yield from _never_look_again(around, image, markers, due=due, now=now)
    if look and markers and (yield from around.store.read_inbox(image.town_id, limit=1)).objects:
        yield from around.store.mark_due(image.town_id, now)
        return (now,)
    return ()


def _results_at_the_end(effects: tuple[Any, ...], *arguments: Any, post: Any, **more: Any) -> Steps[Performed]:
    kept: list[Any] = []

    def later(results: tuple[Any, ...]) -> Steps[None]:
        kept.extend(results)
        yield from ()

    done = yield from _perform(effects, *arguments, post=later, **more)
    yield from post(tuple(kept))
    return done


def _acknowledge_failures(town: Any, done: Any) -> batch.Again:
    return [] if isinstance(done, FailedRun) else _not_done(town, done)


def _only_one_page(towns: tuple[str, ...], page: int) -> None:
    return None


def _forget_what_was_taken(self: Any, taken: Any) -> None:
    return None


def _wall_clock(around: Surroundings, image: TownImage, about: Any, *, now: datetime, **more: Any) -> TickInput:
    return replace(_fix_input(around, image, about, now=now, **more), now=now)


def _replace_anyway(self: MemoryObjects, key: str, body: bytes, etag: str) -> str:
    return self.put(key, body)


def _claim_uncounted(town: Town, effect: outbox.Effect) -> None:
    until = town.tick.now + limits.EFFECT_CLAIM
    town.sql.execute(
        "UPDATE outbox SET state = 'claimed', claimed_until = ? WHERE effect_id = ?",
        (until.isoformat(timespec="milliseconds")[:23] + "Z", effect.id),
    )


def _publish_nothing(self: TownArchives, town_id: str, txid: int, block: ArchiveBlock, *, index: int) -> Steps[Any]:
    return (yield from _publish(self, town_id, txid, replace(block, body=b'{"families":[],"format":1}'), index=index))


def _trust_the_clock(self: ClockGuard) -> Steps[datetime]:
    now: datetime = yield Call("clock", self._clock.now)
    return now


def _random_id(_: ids.IdMaker) -> str:
    return str(uuid.uuid4())


MUTANTS: Final = (
    Mutant("effects are performed before the commit", worker, "_commit", _effects_first),
    Mutant("the inbox is cleared before the commit", worker, "_commit", _clear_first),
    Mutant("a head conceals that its town drains", worker, "_commit", _conceal_the_drain),
    Mutant("a lost race is taken for a commit", ObjectTownStore, "commit", _conflict_is_success),
    Mutant("heads are written without a condition", MemoryObjects, "replace", _replace_anyway),
    Mutant("event ids are not de-duplicated", inbox, "store", _store_again),
    Mutant("the key depends on the attempt", worker, "perform", _key_of_attempt),
    Mutant("claims end at once", limits, "EFFECT_CLAIM", timedelta(0)),
    Mutant("attempts are not counted", outbox, "claim", _claim_uncounted),
    Mutant("old markers go before the new one comes", worker, "_keep_due", _delete_markers_first),
    Mutant("the inbox is not looked at again", worker, "_keep_due", _never_look_again),
    Mutant("time is the wall clock's", worker, "fix_input", _wall_clock),
    Mutant("ids are random", ids.IdMaker, "new", _random_id),
    Mutant("a batch acknowledges a failed record", batch, "_not_done", _acknowledge_failures),
    Mutant("a sweep stops after its first page", sweep, "_behind", _only_one_page),
    Mutant("results are posted after the last round only", worker, "perform", _results_at_the_end),
    Mutant("the head is not looked at again", worker, "_keep_due", _look_at_the_inbox_alone),
    Mutant("beads leave for a block that does not hold them", TownArchives, "publish", _publish_nothing),
    Mutant("a clock is not compared with the store's", ClockGuard, "time", _trust_the_clock, minutes=12),
    Mutant("a dispatcher forgets what it handed over", _Shift, "_remember", _forget_what_was_taken),
)
