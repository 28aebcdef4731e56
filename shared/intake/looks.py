"""What a process that answers many requests has seen of the inboxes, so that not each of them lists one.

Of what another process stores or takes, it learns with the next look. So what was seen can admit a batch, but a refusal needs a
look of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from shared.intake.crowding import Share, by_sender

_TOWNS_KNOWN: Final = 1000


@dataclass(slots=True)
class _Seen:
    """The batches of an inbox by sender: those of a look that began `at`, and those that this process has stored since then."""

    at: float
    batches: dict[str | None, dict[str, int]] = field(default_factory=dict)
    own: dict[str, tuple[float, str | None, int]] = field(default_factory=dict)

    def add(self, key: str, at: float, tag: str | None, count: int) -> None:
        """One more batch, which this process stored `at` this time."""
        before = self.batches.setdefault(tag, {})
        before[key] = before.get(key, 0) + count  # several batches may have one key
        self.own[key] = (at, tag, before[key])


class Looks:
    """The newest look at each inbox, which counts for some seconds of this clock, by default for none. Safe for threads."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0, *, seconds: float = 0.0) -> None:
        self._clock = clock
        self._seconds = seconds
        self._seen: dict[str, _Seen] = {}
        self._until: dict[str, float] = {}
        self._lock = Lock()

    def recent(self, town_id: str, share: Share | None) -> Mapping[str, int] | None:
        """What waits `beside` this batch (`crowding`), and how much each counts; None if a look is needed.

        Other threads may add to it. One caller at a time is told to look; until it has, what was seen before counts for others.
        """
        if not self._seconds:
            return None
        with self._lock:
            seen, now = self._seen.get(town_id), self._clock()
            if seen is None or now >= self._until[town_id]:
                self._until[town_id] = now + self._seconds
                return None
            return seen.batches.get(_tag(share), {})

    def began(self) -> float:
        """The time to give to `looked` for a look that begins now."""
        return self._clock()

    def looked(self, town_id: str, waiting: Sequence[str], *, at: float) -> None:
        """Note a listing of an inbox that began at this time."""
        if not self._seconds:
            return
        new = _Seen(at, {tag: dict(batches) for tag, batches in by_sender(tuple(waiting)).items()})
        with self._lock:
            before = self._seen.get(town_id)
            if before is not None and before.at > at:
                return
            for key, (stored_at, tag, count) in (before.own if before is not None else {}).items():
                if stored_at >= at:
                    new.add(key, stored_at, tag, count)
            self._seen[town_id], self._until[town_id] = new, max(self._until.get(town_id, 0.0), at + self._seconds)
            if len(self._seen) > _TOWNS_KNOWN:
                oldest = next(iter(self._seen))
                del self._seen[oldest], self._until[oldest]

    def stored(self, town_id: str, key: str, share: Share | None) -> None:
        """Note a batch that this process has stored."""
        with self._lock:
            seen = self._seen.get(town_id)
            if seen is not None:
                seen.add(key, self._clock(), _tag(share), 0 if share is None else share.weight)


def _tag(share: Share | None) -> str | None:
    return None if share is None else share.tag
