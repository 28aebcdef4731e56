"""Phase 8: ask every rule what should happen. All rules see the same state, before any action of the pass."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from shared.actions.base import Action
from shared.domain.tick import Tick
from shared.engine.drain import error_text
from shared.rules import RULES
from shared.rules.base import Decision, Due, Rule
from shared.town.no_room import require_room
from shared.town.reading import TownReader


@dataclass(slots=True)
class Decisions:
    """The actions that the rules want, in order; the times at which rules must run again; and the rules that failed."""

    intents: list[tuple[str, Action]] = field(default_factory=list)
    dues: list[tuple[str, Due]] = field(default_factory=list)
    failed_rules: list[tuple[str, str]] = field(default_factory=list)

    @property
    def due(self) -> datetime | None:
        """The earliest time at which a rule must run again."""
        return min((due.at for _, due in self.dues), default=None)


def decide(reader: TownReader, tick: Tick, *, rules: tuple[Rule, ...] = RULES) -> Decisions:
    """Run the rules in order. A rule that raises loses its own actions; the other rules still run."""
    decisions = Decisions()
    with reader.sandbox() as undo_writes:
        for rule in rules:
            try:
                wanted = _judged(rule, reader, tick, undo_writes=undo_writes)
            except Exception as error:  # noqa: BLE001 - one bad rule must not silence the others; it is alerted by name
                require_room(error)
                decisions.failed_rules.append((rule.name, error_text(error)))
                continue
            name = rule.name
            for decision in wanted:
                if isinstance(decision, Due):
                    decisions.dues.append((name, decision))
                else:
                    decisions.intents.append((name, decision))
    return decisions


def _judged(rule: Rule, reader: TownReader, tick: Tick, *, undo_writes: Callable[[], bool]) -> list[Decision]:
    try:
        wanted = list(rule.judge(reader, tick))
    finally:
        wrote = undo_writes()
    if wrote:
        raise RuntimeError("a rule wrote to the town; that was undone")
    return wanted
