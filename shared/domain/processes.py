"""What a runtime can report about an agent's process."""

from typing import Literal

from shared.domain.shapes import answer

ProcessState = Literal[
    "starting", "running", "stopping", "stopped", "exited", "failed", "error", "not_found", "unknown"
]


@answer
class ProcessStatus:
    """What the runtime knows about an agent's newest process."""

    status: ProcessState
    exit_reason: str | None = None
    generation: int | None = None
