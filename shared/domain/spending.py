"""What people let a town spend: the setting `budget` (spec/events.md section 6), in money, in tokens or in both."""

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from shared.domain.usage import MICROS, MOST, Usage

NEAR_PERCENT: Final = 80
"""At so much of a limit people are told."""
_MOST_USD: Final = 1_000_000_000


class _Strict(BaseModel):
    # Each validator is built on first use, because a part is mostly validated as a part of the whole.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Limit(_Strict):
    """How much may be spent: US dollars, tokens, or both, of which the one that is reached first counts."""

    usd: Annotated[float, Strict(), Field(gt=0, le=_MOST_USD, allow_inf_nan=False)] | None = None
    tokens: Annotated[StrictInt, Field(ge=1, le=MOST)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.usd is None and self.tokens is None:
            raise PydanticCustomError("no_limit", "give usd, tokens or both; null removes the limit")
        return self

    @property
    def micros(self) -> int | None:
        """The limit in millionths of a dollar."""
        return None if self.usd is None else max(round(self.usd * MICROS), 1)

    def is_spent(self, used: Usage) -> bool:
        """Whether nothing of it is left."""
        return self._percent_reached(used, 100)

    def is_nearly_spent(self, used: Usage) -> bool:
        """Whether at least NEAR_PERCENT of it are used."""
        return self._percent_reached(used, NEAR_PERCENT)

    @property
    def words(self) -> str:
        """The limit for people, as in `20.00 USD and 5000000 tokens`."""
        return _words(self.micros, self.tokens)

    def used_words(self, used: Usage) -> str:
        """What is used of it, in the same form."""
        micros = None if self.usd is None else used.cost_micros
        at_least = "at least " if micros is not None and used.is_lower_bound else ""
        return at_least + _words(micros, None if self.tokens is None else used.tokens)

    def _percent_reached(self, used: Usage, percent: int) -> bool:
        parts = ((used.cost_micros, self.micros), (used.tokens, self.tokens))
        return any(limit is not None and 100 * much >= percent * limit for much, limit in parts)


class RigBudget(_Strict):
    """The limits that a rig may have of its own."""

    per_convoy: Limit | None = None
    per_bead: Limit | None = None


class Budget(RigBudget):
    """The limits of a town. `per_day` holds for a day in UTC, the others for as long as the bead or convoy lives."""

    per_day: Limit | None = None


def money(micros: int) -> str:
    """An amount of dollars for people, as in `0.42`; amounts under a cent keep their digits."""
    if 0 < micros < MICROS // 100:
        return f"{micros / MICROS:.6f}".rstrip("0")
    return f"{micros / MICROS:.2f}"


def _words(micros: int | None, tokens: int | None) -> str:
    parts = [] if micros is None else [f"{money(micros)} USD"]
    parts += [] if tokens is None else [f"{tokens} tokens"]
    return " and ".join(parts)
