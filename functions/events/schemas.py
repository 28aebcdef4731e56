"""The bodies of operators' requests."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class NewTown(BaseModel):
    """A town to be created: the settings that differ from the defaults, and whether its rules wait for `town_started`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    config: dict[str, Any] = Field(default_factory=dict)
    paused: bool = False
