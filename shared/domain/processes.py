"""What a runtime can report about an agent's process."""

from dataclasses import dataclass
from typing import Final, Literal

ProcessState = Literal[
    "starting", "running", "stopping", "stopped", "exited", "failed", "error", "not_found", "unknown"
]
ENDED: Final[frozenset[ProcessState]] = frozenset({"stopped", "exited", "failed", "error", "not_found"})
"""The process does not run any more, or was not found."""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """What the runtime knows about an agent's newest process."""

    # not marked @answer: agents import this module and must start fast; inside an answer it has camelCase names all the same

    status: ProcessState
    exit_reason: str | None = None
    generation: int | None = None
