"""The query parameters of the debug API."""

from typing import Annotated

from pydantic import Field

from functions.queries import AnId, Cursor, Moment, Query, Whole
from shared.domain.errors import Refused
from shared.ports.agent_logs import LogKind
from shared.questions.filters import (
    LIMIT,
    LIMIT_AT_MOST,
    POINTS,
    POINTS_AT_MOST,
    TICKS,
    TICKS_AT_MOST,
    StateFilter,
    StatusFilter,
    TypeFilter,
)

_A_TICK = 2**53 - 1


class TicksQuery(Query):
    """A page of ticks: forwards after a tick, or backwards before one."""

    limit: Annotated[
        Whole,
        Field(
            ge=1, le=TICKS_AT_MOST, description=f"The maximum number of ticks, 1 to {TICKS_AT_MOST}", examples=[TICKS]
        ),
    ] = TICKS
    after: Annotated[
        Whole | None,
        Field(ge=0, le=_A_TICK, description="The number of a tick: the page starts after it", examples=[40]),
    ] = None
    before: Annotated[
        Whole | None,
        Field(ge=0, le=_A_TICK, description="The number of a tick: the page ends before it", examples=[60]),
    ] = None


class PageQuery(Query):
    """A page of a list."""

    limit: Annotated[
        Whole,
        Field(
            ge=1, le=LIMIT_AT_MOST, description=f"The maximum number of entries, 1 to {LIMIT_AT_MOST}", examples=[LIMIT]
        ),
    ] = LIMIT
    cursor: Cursor = None


class StatusQuery(PageQuery):
    """A page of the beads with a status."""

    status: Annotated[
        StatusFilter | None,
        Field(
            description="Only beads with this status; `live` stands for open, in_progress and in_review",
            examples=["live"],
        ),
    ] = None


class BeadsQuery(StatusQuery):
    """A page of the beads that match all filters."""

    type: Annotated[
        TypeFilter | None,
        Field(description="Only beads of this type; by default, all types except agent", examples=["merge_request"]),
    ] = None
    convoy: Annotated[AnId | None, Field(description="Only beads of this convoy", examples=["c0de0000"])] = None
    rig: Annotated[AnId | None, Field(description="Only beads of this rig", examples=["work"])] = None
    label: Annotated[
        str | None, Field(min_length=1, max_length=256, description="Only beads with this label", examples=["gt:held"])
    ] = None
    text: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=256,
            description="Only beads with this text in their id, title or body",
            examples=["lexer"],
        ),
    ] = None


class EventsQuery(PageQuery):
    """A page of the events that match all filters."""

    state: Annotated[
        StateFilter,
        Field(description="Only events in this state; `pending` includes the inbox", examples=["conflict"]),
    ] = "all"
    type: Annotated[
        str | None,
        Field(min_length=1, max_length=64, description="Only events of this type", examples=["agent_done"]),
    ] = None


class PointsQuery(Query):
    """The newest restore points, or the newest from before a tick."""

    limit: Annotated[
        Whole,
        Field(
            ge=1,
            le=POINTS_AT_MOST,
            description=f"The maximum number of restore points, 1 to {POINTS_AT_MOST}",
            examples=[POINTS],
        ),
    ] = POINTS
    before: Annotated[
        Whole | None,
        Field(ge=1, le=_A_TICK, description="The number of a tick: only commits from before it", examples=[60]),
    ] = None


class LogQuery(Query):
    """Which log of an agent or bead."""

    kind: Annotated[
        LogKind,
        Field(description="`log`: what the agent printed; `transcript`: its turns and tool calls", examples=["log"]),
    ] = "log"
    generation: Annotated[
        Whole | None,
        Field(
            ge=1, le=_A_TICK, description="The number of the agent's start; by default, the newest one", examples=[3]
        ),
    ] = None


class TimelineQuery(Query):
    """A window of a town's history."""

    start: Annotated[Moment, Field(description="The start of the window", examples=["2026-01-10T12:00:00Z"])]
    end: Annotated[Moment, Field(description="The end of the window", examples=["2026-01-10T12:40:00Z"])]


class ExplainQuery(Query):
    """The time that an answer is about."""

    at: Annotated[
        Moment | None,
        Field(description="A past time; by default, the present", examples=["2026-01-10T12:00:00Z"]),
    ] = None


def tick_number(text: str) -> int:
    """The number of a tick in a path. Raises Refused (404)."""
    return _number(text, "tick", "for example /ticks/41")


def commit_number(text: str) -> int:
    """The number of a commit in a path. Raises Refused (404)."""
    return _number(text, "txid", "for example /points/41; /points lists the commits")


def _number(text: str, path: str, hint: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < len(str(_A_TICK))):
        what = {"tick": "tick", "txid": "commit"}[path]
        raise Refused(f"the number of a {what} is a whole number", status=404, path=path, hint=hint)
    return int(text)
