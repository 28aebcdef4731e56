"""The base of all rules. A rule is a generator that reads the town and the tick. It yields actions and the times to run again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from shared.actions.base import Action
from shared.domain.limits import just_after
from shared.domain.tick import Tick
from shared.town.reading import TownReader

Wait = Literal[
    "attempts_cool_down",
    "backoff",
    "bead_lost",
    "breaker_open",
    "budget_spent",
    "dequeue_again",
    "escalation_bump",
    "forge_backoff",
    "forgetting",
    "heartbeat",
    "landing_cooldown",
    "mail_again",
    "mayor_idle",
    "no_agent_program",
    "merge_look",
    "nobody_told",
    "nudge_life",
    "nudge_window",
    "owner_beats",
    "poll_interval",
    "poll_turn",
    "progress",
    "rate_limited",
    "review_abandoned",
    "review_recovery",
    "review_stuck",
    "stalled",
    "token_fresh",
    "triage_backoff",
    "update_turn",
]
"""The thing that a rule waits for. The names are wire format: answers show them."""


class Due(NamedTuple):
    """The earliest time at which the rule could act on rows that it skipped because of time.

    `since` is the start of the wait, None where the wait has no single start.
    """

    at: datetime
    rows: tuple[str, ...]
    wait: Wait
    since: datetime | None = None

    # A rule that acts when MORE than its limit has passed (`tick.stale`, ">") cannot act yet when exactly the limit has
    # passed, so it must ask for the millisecond after it: `later_than`. A rule that acts when the limit HAS passed (">=")
    # asks for that moment itself: `at_least`. Example: a heartbeat at 12:00:00.000 is lost when more than 90 s have passed,
    # so A2 asks for 12:01:30.001. A tick at 12:01:30.000 would find nothing to do, name the same time again, and the town
    # would be ticked in a loop. A time that is later than necessary delays the rule, so no rule adds a margin of its own: the
    # millisecond always comes from `just_after`.

    @classmethod
    def later_than(cls, since: datetime, limit: timedelta, *, rows: tuple[str, ...], wait: Wait) -> "Due":
        """The first time at which more than `limit` has passed: for rules that test with ">"."""
        return cls(just_after(since + limit), rows, wait, since)

    @classmethod
    def at_least(cls, since: datetime, limit: timedelta, *, rows: tuple[str, ...], wait: Wait) -> "Due":
        """The first time at which `limit` has passed: for rules that test with ">="."""
        return cls(since + limit, rows, wait, since)


Decision = Action | Due
RuleFunction = Callable[[TownReader, Tick], Iterator[Decision]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with its code in spec/rules.md. Its wire name is its module and function: `beads.reopen_lost`."""

    code: str
    judge: RuleFunction
    name: str = field(init=False)
    """The name under which the journal lists its actions."""

    def __post_init__(self) -> None:
        module = self.judge.__module__.rpartition(".")[2]
        object.__setattr__(self, "name", f"{module}.{self.judge.__name__}")
