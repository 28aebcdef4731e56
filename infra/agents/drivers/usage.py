"""Counts the tokens that a generation uses of each model, from programs that tell them by step, by turn or by session."""

from dataclasses import dataclass
from typing import Final

from infra.agents.drivers.contract import Span, Used
from shared.domain import limits
from shared.domain.usage import MOST

LONGEST_MODEL: Final = 128


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model. `cost_micros` is in millionths of a US dollar; None if it is unknown."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_micros: int | None = None

    def plus(self, other: "Usage") -> "Usage":
        """The sum, up to the largest number that the town counts. A known cost stays known."""
        costs = [cost for cost in (self.cost_micros, other.cost_micros) if cost is not None]
        return Usage(
            min(self.input_tokens + other.input_tokens, MOST),
            min(self.output_tokens + other.output_tokens, MOST),
            min(self.cached_tokens + other.cached_tokens, MOST),
            min(sum(costs), MOST) if costs else None,
        )

    def since(self, earlier: "Usage") -> "Usage":
        """What came to this since an earlier count, never less than nothing."""
        cost = None if self.cost_micros is None else max(0, self.cost_micros - (earlier.cost_micros or 0))
        return Usage(
            max(0, self.input_tokens - earlier.input_tokens),
            max(0, self.output_tokens - earlier.output_tokens),
            max(0, self.cached_tokens - earlier.cached_tokens),
            cost,
        )


class Meter:
    """Adds up the usage of a generation."""

    def __init__(self) -> None:
        self._earlier: dict[str, Usage] = {}
        self._of_turn: dict[str, Usage] = {}
        self._session = Usage()
        self._session_before = Usage()

    def count(self, used: Used, *, model: str) -> None:
        """Count what the program tells of a model. The town counts no more models than these, and a model server may name many."""
        if model not in (known := {*self._earlier, *self._of_turn}) and len(known) >= limits.MODELS_PER_GENERATION:
            return
        each = Usage(used.input_tokens, used.output_tokens, used.cached_tokens, used.cost_micros)
        match used.of:
            case Span.STEP:
                self._of_turn[model] = self._of_turn.get(model, Usage()).plus(each)
            case Span.TURN:
                self._of_turn[model] = each
            case Span.SESSION:
                self._session = each
                self._of_turn[model] = each.since(self._session_before)

    def turn_over(self) -> None:
        """The counts of the turn are final."""
        self._earlier, self._of_turn = self.totals(), {}
        self._session_before = self._session

    def totals(self) -> dict[str, Usage]:
        """The usage of each model so far."""
        names = sorted({*self._earlier, *self._of_turn})
        return {name: self._earlier.get(name, Usage()).plus(self._of_turn.get(name, Usage())) for name in names}
