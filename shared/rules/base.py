"""What a rule is: a generator that sees the town and the tick, and yields actions and the times at which to look again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from shared.actions.base import Action
from shared.domain.tick import Tick
from shared.town.reading import TownReader

Wait = Literal[
    "attempts_cool_down",
    "backoff",
    "bead_lost",
    "breaker_open",
    "escalation_bump",
    "forgetting",
    "heartbeat",
    "landing_cooldown",
    "mayor_idle",
    "nudge_life",
    "nudge_window",
    "owner_beats",
    "poll_interval",
    "poll_turn",
    "progress",
    "rate_limited",
    "review_abandoned",
    "review_orphaned",
    "review_recovery",
    "review_stuck",
    "stalled",
    "token_fresh",
    "triage_backoff",
]
"""For what a rule lets time pass. The names are stable: answers show them."""


class Due(NamedTuple):
    """The earliest time at which the rule could act on rows that it skipped because of time.

    `since` is what the wait is measured from, None where that is not one moment.
    """

    at: datetime
    rows: tuple[str, ...]
    wait: Wait
    since: datetime | None = None


Decision = Action | Due
Judge = Callable[[TownReader, Tick], Iterator[Decision]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with its code in spec/rules.md. Its wire name is made of its module and function: `beads.reopen_lost`."""

    code: str
    judge: Judge

    @property
    def name(self) -> str:
        """The name that every one of its actions carries."""
        module = self.judge.__module__.rpartition(".")[2]
        return f"{module}.{self.judge.__name__}"
