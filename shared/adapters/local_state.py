"""Where the local runtime remembers its agents: plain files that survive townctl, a directory each.

    <root>/<town>/<agent>/lock               held by whoever starts or stops it
    <root>/<town>/<agent>/model.json         the newest model it was told to use
    <root>/<town>/<agent>/work/              the agent's own working directory, kept for the next generation
    <root>/<town>/<agent>/00000007/          generation 7
        context.json     the start order, as the agent reads it
        process.json     pid and identity of agent and supervisor (written once the command runs)
        rejected.json    why the command could not be started; instead of process.json
        stopped.json     somebody asked for this generation's end; it is never started (again)
        exit.json        the exit code (the supervisor writes it, once nothing of the agent is left)
        exit-reason.txt  what the agent itself says about its end, if it says anything
        messages/        the mailbox: one file for each message id
        agent.log        what the agent printed

Ids come from outside; a path segment is an id with everything escaped that a file system could take for something
else.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from shared.adapters import local_supervisor as supervisor

_LONGEST_SEGMENT: Final = 150


def segment(text: str) -> str:
    """An id as one harmless file name; different ids have different names."""
    escaped = quote(text, safe=" ").replace(".", "%2E") or "%"
    return escaped if len(escaped) <= _LONGEST_SEGMENT else "%" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AgentProcesses:
    """The processes of one generation, as the supervisor wrote them down."""

    effect_id: str
    pid: int
    started: str
    supervisor_pid: int
    supervisor_started: str

    @property
    def agent_is_alive(self) -> bool:
        """Whether the agent's own process runs (its children may outlive it for a moment)."""
        return supervisor.is_alive(self.pid, self.started)

    @property
    def supervisor_is_alive(self) -> bool:
        """Whether an exit code may still be written."""
        return supervisor.is_alive(self.supervisor_pid, self.supervisor_started)


@dataclass(frozen=True, slots=True)
class GenerationFiles:
    """One start of one agent: what was asked, what runs, how it ended."""

    directory: Path
    number: int

    @property
    def mark(self) -> str:
        """The value that every process of this generation has in its environment: the path of its context."""
        return str(self.directory / supervisor.CONTEXT)

    def context(self) -> dict[str, Any]:
        """The start order; empty if there is none."""
        return _read(self.directory / supervisor.CONTEXT) or {}

    def recorded(self) -> AgentProcesses | None:
        """The processes, once the command has been run."""
        facts = _read(self.directory / supervisor.PROCESS)
        return AgentProcesses(**facts) if facts else None

    def rejection(self) -> str | None:
        """Why the command could not be run, if it could not."""
        facts = _read(self.directory / supervisor.REJECTED)
        return str(facts["reason"]) if facts else None

    def reject(self, effect_id: str, reason: str) -> None:
        """Note why it will never run; the same start again gets the same answer."""
        supervisor.write_atomically(self.directory / supervisor.REJECTED, {"effect_id": effect_id, "reason": reason})

    def announce(self) -> None:
        """Make its place before its turn has come: a start of an older generation that still prepares gives up."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def was_stopped(self) -> bool:
        """Whether somebody asked for its end."""
        return (self.directory / _STOPPED).exists()

    def mark_stopped(self, effect_id: str) -> None:
        """Remember that this generation must not run, before a kill and even if it never started."""
        self.announce()
        supervisor.write_atomically(self.directory / _STOPPED, {"effect_id": effect_id})

    def exit_reason(self) -> str | None:
        """How it ended, in words; None as long as its supervisor has not said so."""
        facts = _read(self.directory / supervisor.EXIT)
        if facts is None:
            return None
        return self._own_words() or self._in_words(int(facts["code"]))

    def reason_without_code(self) -> str:
        """How it ended, where nobody was left to learn its exit code."""
        return (
            "stopped" if self.was_stopped else "ended without an exit code (its supervisor or this machine was stopped)"
        )

    def has_message(self, message_id: str) -> bool:
        """Whether this message lies in the mailbox."""
        return self._message(message_id).exists()

    def deliver(self, message_id: str, message: dict[str, str]) -> None:
        """Put a message into the mailbox."""
        path = self._message(message_id)
        path.parent.mkdir(exist_ok=True)
        supervisor.write_atomically(path, message)

    def _message(self, message_id: str) -> Path:
        return self.directory / "messages" / f"{segment(message_id)}.json"

    def _in_words(self, code: int) -> str:
        """An exit code as `exit_reason` shows it; negative codes are signals."""
        if code == 0:
            return "completed"
        if code > 0:
            return f"crashed (exit code {code})"
        return "stopped" if self.was_stopped else f"killed by signal {-code}"

    def _own_words(self) -> str:
        with contextlib.suppress(OSError):
            return (self.directory / "exit-reason.txt").read_text(encoding="utf-8", errors="replace").strip()[:1000]
        return ""


@dataclass(frozen=True, slots=True)
class AgentHome:
    """The directory of one agent."""

    directory: Path

    def generation(self, number: int) -> GenerationFiles:
        """The place of that generation, whether it exists or not."""
        return GenerationFiles(self.directory / f"{number:08d}", number)

    def generations(self) -> list[GenerationFiles]:
        """Those that exist, newest first."""
        with contextlib.suppress(FileNotFoundError):
            numbers = (int(path.name) for path in self.directory.iterdir() if path.name.isdigit())
            return [self.generation(number) for number in sorted(numbers, reverse=True)]
        return []

    def newest(self) -> GenerationFiles | None:
        """The generation that counts."""
        return next(iter(self.generations()), None)


@dataclass(frozen=True, slots=True)
class RuntimeDirectory:
    """All agents of all towns on this machine."""

    root: Path

    def agent(self, town_id: str, agent_id: str) -> AgentHome:
        """The home of an agent, whether it exists or not."""
        return AgentHome(self.root / segment(town_id) / segment(agent_id))

    def agents(self, town_id: str | None = None) -> Iterator[AgentHome]:
        """Every agent that was ever started here, of one town or of all."""
        pattern = f"{segment(town_id)}/*/lock" if town_id is not None else "*/*/lock"
        for lock in sorted(self.root.glob(pattern)):
            yield AgentHome(lock.parent)


_STOPPED: Final = "stopped.json"


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object; None if there is none (writes are atomic, so there is no half of one)."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return value if isinstance(value, dict) else None
