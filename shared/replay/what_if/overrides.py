"""The overrides of a what-if (configuration, events, clock), and what history recorded of effects and events in its window."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final, Self

from shared.domain.errors import Refused, UnreadableEvent
from shared.domain.shapes import answer
from shared.domain.tick import Envelope
from shared.history import recorded_results
from shared.history.rerun import time_of
from shared.ports.town_past import JournalRow
from shared.replay.what_if.knowledge import Attempt

_NEAR: Final = 3


@answer
class Overrides:
    """The changes. `config` is merged into the town's; `leave_out` are event ids; the events in `add` are given to the
    first tick at or after their time of receipt; every tick happens `shift_ms` later.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    add: tuple[Envelope, ...] = ()
    shift_ms: int = 0

    @property
    def shift(self) -> timedelta:
        """How much later every tick happens."""
        return timedelta(milliseconds=self.shift_ms)


@dataclass(frozen=True, slots=True)
class RecordedEffects:
    """The effects in history: all attempts, and for each result its tick and event; and the ticks and the ids of the
    events of the window.
    """

    tried: frozenset[Attempt]
    results: Mapping[Attempt, tuple[int, Envelope]]
    events: tuple[str, ...] = ()
    ticks: int = 0
    own_values: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """The newest event of the window that gave a rig a value of its own, by the rig and the first part of the setting's name."""

    @classmethod
    def of(cls, rows: Iterable[JournalRow], *, since: datetime | None = None) -> Self:
        """The effects in these journal rows; the window begins at `since`."""
        tried: set[Attempt] = set()
        found: dict[Attempt, tuple[int, Envelope]] = {}
        events: dict[str, None] = {}
        own_values: dict[tuple[str, str], str] = {}
        ticks = 0
        for row in rows:
            ticks += since is None or time_of(row) >= since
            for event in row["inputs"]["new_events"]:
                if since is None or time_of(row) >= since:
                    events[event["event_id"]] = None
                    own_values.update(dict.fromkeys(_own_values(event), event["event_id"]))
                attempt = recorded_results.attempt_of(event["event_id"])
                if attempt is not None:
                    found[attempt] = (row["tick_no"], Envelope.from_json(event))
            tried.update((effect["effect_id"], effect["attempt"]) for effect in row["outputs"]["effects"])
        return cls(frozenset(tried), found, tuple(events), ticks, own_values)

    def require(self, leave_out: Iterable[str]) -> None:
        """Refuse (422) to leave out an event that the window does not have, and name those with a similar id."""
        for position, event_id in enumerate(leave_out):
            if event_id in self.events:
                continue
            begun = [each for each in self.events if event_id and each.startswith(event_id)]
            near = (begun or get_close_matches(event_id, self.events, n=_NEAR, cutoff=0.6))[:_NEAR]
            hint = "`townctl ticks TOWN --json` has the events of each tick with their ids; widen the window if it is older"
            raise Refused(
                f"no event {event_id[:80]!r} occurred in this window",
                status=422,
                path=f"overrides.leaveOut[{position}]",
                hint=f"did you mean {' or '.join(near)}?" if near else hint,
            )


def _own_values(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The rig and the settings of which an event gives it values of its own."""
    if event["event_type"] not in ("rig_registered", "town_configured"):
        return
    from shared.events import parse  # noqa: PLC0415 - most windows change no settings
    from shared.events.town import RigRegistered, TownConfigured  # noqa: PLC0415

    try:
        said = parse(event["event_type"], event["payload"])
    except UnreadableEvent:
        return
    if isinstance(said, RigRegistered):
        yield from ((said.rig_id, name) for name in said.config or ())
    if isinstance(said, TownConfigured):
        yield from ((rig_id, name) for rig_id, own in said.rigs.items() for name in own)
