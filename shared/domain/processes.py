"""What a runtime can report about an agent's process."""

from dataclasses import dataclass
from typing import Literal

ProcessState = Literal[
    "starting", "running", "stopping", "stopped", "exited", "failed", "error", "not_found", "unknown"
]


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """What the runtime knows about an agent's newest process."""

    # not marked @answer: agents import this module and must start fast; inside an answer it has camelCase names all the same

    status: ProcessState
    exit_reason: str | None = None
    generation: int | None = None
