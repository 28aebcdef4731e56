"""What a rule is: a generator that sees the town and the tick, and yields actions and the times at which to look again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from shared.actions.base import Action
from shared.domain.tick import Tick
from shared.town.reading import TownReader


@dataclass(frozen=True, slots=True)
class Due:
    """The earliest time at which the rule could act on a row that it skipped because of time."""

    at: datetime


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
