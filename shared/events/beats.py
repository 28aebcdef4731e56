"""Signs of life that say nothing because a newer one waits with them (spec/events.md 3.1)."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from shared.domain import strict_json
from shared.domain.times import from_text, to_text
from shared.events import ages

HEARTBEAT: Final = "agent_heartbeat"


class Beat(ages.Dated, Protocol):
    """An event that may be a sign of life: as it was received, or as the town has stored it."""

    @property
    def event_type(self) -> str: ...  # noqa: D102

    @property
    def agent_id(self) -> str | None: ...  # noqa: D102

    @property
    def generation(self) -> int | None: ...  # noqa: D102

    @property
    def payload(self) -> str: ...  # noqa: D102


def outdone(events: Sequence[Beat]) -> Mapping[int, int]:
    """The positions of the heartbeats that a newer one of the same agent and generation outdoes, each with the newest one's.

    The events are in order of receipt.
    """
    # A town that was not ticked for a while has many heartbeats of the same agent in its inbox, and only the newest matters:
    # it carries the latest watermark. Example: after ten minutes without ticks an agent has 20 heartbeats; 19 are dropped
    # unread and one is applied. The newest is the one with the latest activity, on our clock. Heartbeats of different
    # generations, as the token or else the payload says, are kept apart: a stale one must be skipped as stale. One that cannot
    # be parsed is never outdone: it must be poisoned, not dropped.
    groups: dict[tuple[str | None, object], list[tuple[tuple[str, str, int], int]]] = {}
    for position, event in enumerate(events):
        if event.event_type != HEARTBEAT:
            continue
        try:
            payload = strict_json.stored(event.payload)
            group = (event.agent_id, event.generation or payload.get("generation"))
            told = from_text(payload["last_event_at"]) if payload.get("last_event_at") else None
            at = event.received_at if told is None else to_text(ages.on_our_clock(event, told))
            groups.setdefault(group, []).append(((at, event.received_at, position), position))
        except (ValueError, AttributeError, TypeError):
            continue
    found: dict[int, int] = {}
    for ranked in groups.values():
        newest = max(ranked)[1]
        found |= {position: newest for _, position in ranked if position != newest}
    return found
