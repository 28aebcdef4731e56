"""The bodies and query parameters of operators' requests."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from functions.queries import Generation, Query, Whole
from shared.ports.agent_logs import LogKind

TOWNS_AT_MOST: Final = 200


class LogQuery(Query):
    """The log that a report is about."""

    generation: Generation = None
    kind: Annotated[
        LogKind,
        Field(description="`log`: what the agent printed; `transcript`: its turns and tool calls", examples=["log"]),
    ] = "log"


class NewTown(BaseModel):
    """A town to be created: the settings that differ from the defaults, and whether its rules wait for `town_started`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    config: dict[str, Any] = Field(default_factory=dict)
    paused: bool = False


class Words(BaseModel):
    """What a person says to the mayor. A request with a `messageId` can be repeated; without one, the answer names a new one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: str
    message_id: Annotated[
        str | None,
        Field(alias="messageId", pattern=r"^[A-Za-z0-9._:-]{8,60}$"),
    ] = None


class TownsQuery(Query):
    """A page of the list of towns."""

    limit: Annotated[
        Whole,
        Field(ge=1, le=TOWNS_AT_MOST, description=f"The maximum number of towns, 1 to {TOWNS_AT_MOST}", examples=[100]),
    ] = 100
    after: Annotated[
        str,
        Field(
            pattern="^([a-z0-9][a-z0-9-]{0,63})?$",
            description="The id of a town: the page starts after it; the `next` of the previous page",
            examples=["my-town"],
        ),
    ] = ""
