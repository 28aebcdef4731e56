"""Budgets (spec/events.md 2.2): how much one sender may send in a window of ten minutes, so that none floods the town.

The windows are fixed: they begin at whole multiples of their length. Each generation of an agent has a budget of its own, so a
stolen token of an older one uses up nothing. What is refused leaves no row; the journal has it.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from shared.actions import NotifyMayor
from shared.domain import limits
from shared.domain.outcomes import Applied, Rejected
from shared.domain.quoting import line
from shared.events.base import Event, EventResult
from shared.rules.voices import OVER_BUDGET
from shared.town.inbox import Fact
from shared.town.town import Town
from shared.town.town_keys import Budgets, Spent
from shared.town.writing import escalations

REFUSED: Final = Rejected("over budget")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Accounts:
    """What the senders have spent in the window of this tick. `store` writes it, if anything was counted."""

    town: Town
    _spent: dict[str, Spent] | None = field(default=None, init=False)

    def has_room(self, event: Event, fact: Fact) -> bool:
        """Whether the budget of the sender has room for the event.

        An event that is tried again was counted as an event before, what it creates was not: it failed.
        """
        name = _account_of(event, fact)
        if name is None or fact.sender is None:
            return True
        spent, scope = self._now().get(name, Spent()), fact.sender.scope
        beads_at_most = limits.BEAD_BUDGET.get(scope)
        too_many = beads_at_most is not None and event.creates > 0 and spent.beads + event.creates > beads_at_most
        too_long = fact.retry_count == 0 and spent.events + limits.weight(fact.payload) > limits.EVENT_BUDGET[scope]
        return not too_many and not too_long

    def count(self, event: Event, fact: Fact, result: EventResult | None) -> None:
        """Count an event that was applied, skipped or rejected for another reason, or that failed (None)."""
        name = _account_of(event, fact)
        if name is not None:
            spent = self._now().get(name, Spent())
            weight = limits.weight(fact.payload) if fact.retry_count == 0 else 0
            created = event.creates if result is not None and isinstance(result.outcome, Applied) else 0
            self._now()[name] = Spent(spent.events + weight, spent.beads + created, over=spent.over)

    def refuse(self, event: Event, fact: Fact) -> EventResult | None:
        """The result of an event for which there is no room: the first one in a window raises an escalation; the others, None."""
        name = _account_of(event, fact)
        if name is None or fact.sender is None:
            return None
        spent = self._now().get(name, Spent())
        if spent.over:
            return None
        self._now()[name] = replace(spent, over=True)
        title = f"{fact.sender.words} sends too much: events beyond its budget are rejected"
        made = escalations.escalate_once(self.town, f"{OVER_BUDGET}:{name}", title, category=OVER_BUDGET)
        told = (
            ()
            if made is None
            else (NotifyMayor(subject=f"escalation:{made}", message=f"Escalation (high): {line(title)}"),)
        )
        return EventResult(REFUSED, told)

    def store(self) -> None:
        """Store what was counted in this tick."""
        if self._spent is not None:
            self.town.keys.budgets = Budgets(_window_of(self.town.tick.now), self._spent)

    def _now(self) -> dict[str, Spent]:
        if self._spent is None:
            known = self.town.keys.budgets
            self._spent = dict(known.spent) if known.since == _window_of(self.town.tick.now) else {}
        return self._spent


def _account_of(event: Event, fact: Fact) -> str | None:
    """Under which name an event counts; None if it counts nowhere: people, the town itself, what leaves no row."""
    if fact.sender is None or fact.sender.scope == "operator" or type(event).transient:
        return None
    return fact.sender.account


def _window_of(now: datetime) -> datetime:
    """When the window that contains this time began."""
    return now - (now - _EPOCH) % limits.BUDGET_WINDOW
