"""The port of agents' logs: what each start of an agent printed, and the transcript of its program."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from shared.ports.steps import Steps

LogKind = Literal["log", "transcript"]
"""`log` is what the program printed; `transcript` has one JSON object a line for each turn, tool call and answer."""
LogWriter = Literal["machine", "container", "agent"]
"""Who kept it: the machine on which the agent runs (its own files), the agent's container, or the agent itself."""


@dataclass(frozen=True, slots=True)
class LogName:
    """The log of one generation of an agent."""

    agent_id: str
    generation: int
    kind: LogKind
    by: LogWriter


@dataclass(frozen=True, slots=True)
class KeptLog:
    """The newest part of a log, without secrets. `at`: when it was kept; `cut`: its beginning is missing."""

    at: datetime
    text: str
    cut: bool


class AgentLogs(Protocol):
    """Reads the logs of agents."""

    def kept(self, town_id: str, agent_id: str) -> Steps[tuple[LogName, ...]]:
        """The kept logs of an agent, newest generation first; of one generation and kind, the most trusted writer first."""
        ...

    def read(self, town_id: str, name: LogName) -> Steps[KeptLog | None]:
        """A log; None if it is not kept."""
        ...
