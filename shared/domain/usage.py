"""What agents use: tokens, and money where the price is known (spec/data-model.md 3.18).

All numbers only grow. So the maximum of several reports is right in whatever order they come, and a repeated one adds nothing.
"""

from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Final

from shared.domain.times import to_text

MOST: Final = 2**53
"""The largest number that is counted: larger ones are not exact in every JSON reader."""
MICROS: Final = 1_000_000
"""Costs are whole millionths of a US dollar."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and their cost. `priced_tokens` are those of all tokens whose cost is known.

    `input_tokens` are those that were not read from a cache, and `cached_tokens` those that were.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    priced_tokens: int = 0
    cost_micros: int = 0

    @property
    def tokens(self) -> int:
        """All tokens that the model read or wrote."""
        return self.input_tokens + self.output_tokens + self.cached_tokens

    @property
    def is_lower_bound(self) -> bool:
        """Whether more was spent than `cost_micros`, because the price of some tokens is unknown."""
        return self.priced_tokens < self.tokens

    def at_least(self, other: "Usage") -> "Usage":
        """The larger of each number."""
        return Usage(*map(max, astuple(self), astuple(other)))

    def plus(self, other: "Usage") -> "Usage":
        """The sums, up to MOST."""
        return Usage(*(min(mine + its, MOST) for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def beyond(self, earlier: "Usage") -> "Usage":
        """What has been added since earlier totals."""
        return Usage(*(max(mine - its, 0) for mine, its in zip(astuple(self), astuple(earlier), strict=True)))


def day_of(at: datetime) -> str:
    """The day of a time (UTC), as sums are kept under it."""
    return to_text(at)[:10]
