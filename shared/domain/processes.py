"""What a runtime can report about an agent's process."""

from dataclasses import dataclass
from typing import Literal

ProcessState = Literal[
    "starting", "running", "stopping", "stopped", "exited", "failed", "error", "not_found", "unknown"
]


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """What the runtime knows about an agent's newest process."""

    status: ProcessState
    exit_reason: str | None = None
    generation: int | None = None
