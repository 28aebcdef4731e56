"""What a ledger checks about a stolen token in every tick.

Its events bear the name of their sender, they count for no other, and only so many of them create something.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol

from shared.domain import limits
from shared.domain.senders import Sender
from shared.domain.tick import Envelope, TickInput
from shared.engine import tick
from shared.history import self_check
from shared.town import database

STOLEN: Final = "stolen-key"
_OWN_WORDS: Final = (
    "agent_done",
    "agent_completed",
    "agent_heartbeat",
    "agent_status",
    "changes_requested",
    "nudge_acknowledged",
)
"""What an agent says about itself. While its generation runs, that is its word, and the town acts on it."""

_COMPARED: Final = 0.3
"""The share of the ticks that are run again without his events."""

_CREATING: Final = ("bead_created", "escalation_raised")

_SUPERSEDED: Final = "agent_heartbeat"
"""All heartbeats of a generation but the newest are dropped unread, and count as applied, also those of a stale generation."""


class Failing(Protocol):
    """A ledger, which is told what is wrong."""

    def __call__(self, what: str, detail: str) -> None:
        """Something happened that must not."""
        ...


class Walls:
    """The checks of one town. Without a stolen token they cost nothing."""

    def __init__(self, town_id: str, fail: Failing) -> None:
        self._town_id = town_id
        self._fail = fail
        self._thief: Sender | None = None
        self._beads: set[str] = set()
        self._created: Counter[float] = Counter()
        self.compared = 0

    def robbed(self, token: Sender, bead_id: str) -> None:
        """The token of a generation that works on this bead is in wrong hands."""
        self._thief = token
        self._beads.add(bead_id)

    def is_his(self, event_id: str) -> bool:
        """Whether an event stands under the name of the agent whose token was stolen."""
        return self._thief is not None and event_id.endswith(f"@{self._thief.agent}")

    def judge(
        self,
        row: dict[str, Any],
        *,
        events: Sequence[Envelope],
        before: bytes,
        after: database.Database,
        generations: Mapping[str, int],
    ) -> None:
        """Judge one tick: its journal row, the image before it, and the town after it. `generations` are those before it."""
        thief = self._thief
        if thief is None:
            return
        outcomes = {seen["event_id"]: seen["outcome"] for seen in row["outputs"]["events"]}
        said = [event for event in events if event.sender is not None and event.sender.key == STOLEN]
        self._under_his_name(thief, events)
        is_stale = generations.get(str(thief.agent), 0) > (thief.generation or 0)
        applied = [event for event in said if outcomes.get(event.event_id) == "applied"]
        self._within_budget(row["now"], sum(event.event_type in _CREATING for event in applied))
        names = sorted({event.event_type for event in applied} - {_SUPERSEDED})
        if is_stale and names:
            self._fail("wall", f"generation {thief.generation} is over, and its {', '.join(names)} were applied")
        own_word = not is_stale and any(event.event_type in _OWN_WORDS for event in applied)
        if said and not own_word and self_check.chosen(row["tick_id"], _COMPARED):
            own = () if is_stale else (str(thief.agent), *self._beads)
            self._counts_for_nobody(row, said, before=before, after=after, own=own)

    def _within_budget(self, now: str, created: int) -> None:
        """New beads and escalations of one window."""
        began = datetime.fromisoformat(now).timestamp() // limits.BUDGET_WINDOW.total_seconds()
        self._created[began] += created
        if created and self._created[began] > limits.BEAD_BUDGET["agent"]:
            self._fail("wall", f"his {self._created[began]} new beads and escalations of one window were applied")

    def _under_his_name(self, thief: Sender, events: Sequence[Envelope]) -> None:
        for event in events:
            his_id = event.event_id.endswith(f"@{thief.agent}")
            if event.sender is None or event.sender.key != STOLEN:
                continue
            if event.sender != thief:
                self._fail("audit", f"{event.event_id} names {event.sender} as its sender, not {thief}")
            if not his_id or event.agent_id != thief.agent:
                self._fail("audit", f"{event.event_id} of {thief.agent} stands under {event.agent_id}")

    def _counts_for_nobody(
        self,
        row: dict[str, Any],
        said: Sequence[Envelope],
        *,
        before: bytes,
        after: database.Database,
        own: Sequence[str],
    ) -> None:
        """The same tick without his events comes to the same for every bead and every agent but his own."""
        given = TickInput.from_record(row)
        his = {event.event_id for event in said}
        honest = replace(given, new_events=tuple(each for each in given.new_events if each.event_id not in his))
        with database.opened(before) as sql:
            existing = _state(sql)
            tick.run(sql, honest, town_id=self._town_id)
            without = _state(sql, known=existing)
        with_him = _state(after, known=existing)
        self.compared += 1
        # what he names stays in the image for some time, as it would in the archive
        may_leave = () if given.archived is None else given.archived.bead_ids
        for name, known in existing.items():
            if (
                name not in own
                and name not in may_leave
                and known[0] != "mayor"
                and with_him.get(name) != without.get(name)
            ):
                self._fail(
                    "wall", f"{name} is {with_him.get(name)} with a thief's events and {without.get(name)} without"
                )


_HOOK: Final = 9


def _state(sql: database.Database, *, known: Mapping[str, tuple[Any, ...]] | None = None) -> dict[str, tuple[Any, ...]]:
    """Of each bead what others see of it; of an agent also its hook and its generation; of a review what it is about.

    A hook on a bead that is not `known` is told without its id: the ids of a tick depend on how many it makes.
    """
    query = (
        "SELECT b.bead_id, COALESCE(a.role, b.type), b.status, b.title, b.body, b.priority, b.labels, b.dispatch_attempts, "
        "a.generation, a.status, a.current_hook_bead_id, a.agent_status_message, a.last_activity_at, a.last_event_type, "
        "r.branch, r.target_branch, r.pr_url, r.merge_commit FROM beads b LEFT JOIN agent_metadata a USING (bead_id) "
        "LEFT JOIN review_metadata r USING (bead_id) ORDER BY b.bead_id"
    )
    rows = {name: list(rest) for name, *rest in sql.execute(query)}
    for rest in rows.values():
        if known is not None and rest[_HOOK] is not None and rest[_HOOK] not in known:
            rest[_HOOK] = "a new bead"
    return {name: tuple(rest) for name, rest in rows.items()}
