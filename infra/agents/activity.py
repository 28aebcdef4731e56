"""The note of a driver about what its program did last. The driver writes it on the desk; the control server reads it.

An agent may write anything there, so a reader believes no time from the future and nothing too long.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain import strict_json, times

ACTIVITY: Final = "activity.json"
LONGEST_NOTE: Final = 4096
LONGEST_NAME: Final = 100
_MOST_TOOLS: Final = 20


@dataclass(frozen=True, slots=True)
class Activity:
    """What the program did last, when, and the tools that run."""

    kind: str
    at: datetime
    tools: tuple[str, ...] = ()

    def note(self) -> dict[str, object]:
        """As it lies on the desk, within the limits of a reader."""
        tools = [tool[:LONGEST_NAME] for tool in self.tools[:_MOST_TOOLS]]
        return {
            "last_event_type": self.kind[:LONGEST_NAME],
            "last_event_at": times.to_text(self.at),
            "active_tools": tools,
        }


def activity_in(note: str, *, now: datetime) -> Activity | None:
    """The activity in a note; None if it is no such note."""
    try:
        found = strict_json.foreign(note, limit=LONGEST_NOTE)
        kind, at, tools = found["last_event_type"], times.from_text(found["last_event_at"]), found["active_tools"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(kind, str) or not isinstance(tools, list) or not all(isinstance(tool, str) for tool in tools):
        return None
    names = tuple(tool[:LONGEST_NAME] for tool in tools[:_MOST_TOOLS])
    return Activity(kind[:LONGEST_NAME], min(at, now), names)
