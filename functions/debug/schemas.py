"""What operators ask."""

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class DryRunWish(BaseModel):
    """What if: at another time, with these events too, with the agents' processes asked for. Nothing: the next tick."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    now: AwareDatetime | None = None
    observe: bool = False
    events: tuple[dict[str, Any], ...] = Field(default=(), max_length=100)


class ReplayWish(BaseModel):
    """A window of the past, both ends included, as ISO 8601 times; `cursor` is that of the last answer.

    The ends are judged by the replay itself, whose refusals have fixed texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_: Any = Field(default=None, alias="from", json_schema_extra={"type": "string", "format": "date-time"})
    to: Any = Field(default=None, json_schema_extra={"type": "string", "format": "date-time"})
    cursor: str | None = Field(default=None, max_length=256)
