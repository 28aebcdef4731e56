"""What a runtime can report about an agent's process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

ProcessState = Literal[
    "starting", "running", "stopping", "stopped", "exited", "failed", "error", "not_found", "unknown"
]
ENDED: Final[frozenset[ProcessState]] = frozenset({"stopped", "exited", "failed", "error", "not_found"})
"""The process does not run any more, or was not found."""


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """What a heartbeat would say now about a process that runs, for the generation that its status names.

    `at` is the present on the clock of the server that says it, so `last_event_at` counts as an age (spec/events.md 1, rule 11).
    The server gets `at` back when a tick with this sign is committed.
    """

    # not marked @answer: see below

    at: str
    last_event_type: str | None = None
    last_event_at: str | None = None
    active_tools: tuple[object, ...] | None = None
    container_instance_id: str | None = None

    def said(self) -> dict[str, object]:
        """What it says, as in the payload of a heartbeat."""
        tools = None if self.active_tools is None else list(self.active_tools)
        given = {
            "last_event_type": self.last_event_type,
            "last_event_at": self.last_event_at,
            "active_tools": tools,
            "container_instance_id": self.container_instance_id,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """What the runtime knows about an agent's newest process. One that runs may have a `sign` of life."""

    # not marked @answer: agents import this module and must start fast; inside an answer it has camelCase names all the same

    status: ProcessState
    exit_reason: str | None = None
    generation: int | None = None
    sign: SignOfLife | None = None

    def as_json(self) -> dict[str, object]:
        """As the journal stores it."""
        plain: dict[str, object] = {
            "status": self.status,
            "exit_reason": self.exit_reason,
            "generation": self.generation,
        }
        return plain if self.sign is None else {**plain, "sign": {"at": self.sign.at, **self.sign.said()}}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "ProcessStatus":
        """What a journal row stores; rows of older releases have no signs of life."""
        sign = stored.get("sign")
        if sign is None:
            return cls(**stored)
        tools = sign.get("active_tools")
        read = SignOfLife(**{**sign, "active_tools": None if tools is None else tuple(tools)})
        return cls(**{**stored, "sign": read})
