"""The logs of agents that run on this machine, read from their files: see `local_state`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from shared.adapters import local_supervisor as supervisor
from shared.adapters import outside_files
from shared.adapters.local_state import GenerationFiles, RuntimeDirectory
from shared.ports.agent_logs import AgentLogs, KeptLog, LogKind, LogName
from shared.ports.logged_texts import MOST_SENT, newest_part
from shared.ports.steps import Call, Steps

TRANSCRIPT: Final = "transcript.jsonl"
"""The file on an agent's desk in which a driver notes each turn, tool call and answer."""
KINDS: Final[tuple[LogKind, ...]] = ("log", "transcript")


def written(files: GenerationFiles, kind: LogKind) -> tuple[bytes, bool, datetime] | None:
    """The newest part of what a generation wrote, whether its beginning is missing, and when it last wrote; None if nothing.

    The supervisor writes the log, the agent its transcript: a link or a file of somebody else in its place is not read.
    """
    if kind == "log":
        path, owner = files.directory / supervisor.LOG, os.geteuid()
    else:
        path, owner = files.desk / TRANSCRIPT, os.geteuid() if files.user is None else files.user
    try:
        content, cut = outside_files.end_of(path, MOST_SENT, owner=owner)
        at = path.lstat().st_mtime
    except OSError:
        return None
    return (content, cut, datetime.fromtimestamp(at, UTC)) if content else None


@dataclass(frozen=True, slots=True)
class LocalLogs:
    """The logs below the directory of the local agents. Implements `AgentLogs`."""

    root: Path

    def kept(self, town_id: str, agent_id: str) -> Steps[tuple[LogName, ...]]:
        """The logs of an agent of this machine, newest generation first."""
        found: tuple[LogName, ...] = yield Call(f"list logs of {agent_id}", partial(self._names, town_id, agent_id))
        return found

    def read(self, town_id: str, name: LogName) -> Steps[KeptLog | None]:
        """A log; None if the machine has none."""
        found: KeptLog | None = yield Call(f"read a log of {name.agent_id}", partial(self._read, town_id, name))
        return found

    def _names(self, town_id: str, agent_id: str) -> tuple[LogName, ...]:
        def found() -> Iterator[LogName]:
            for files in RuntimeDirectory(self.root).agent(town_id, agent_id).generations():
                for kind in KINDS:
                    if written(files, kind) is not None:
                        yield LogName(agent_id, files.number, kind, "machine")

        return tuple(found())

    def _read(self, town_id: str, name: LogName) -> KeptLog | None:
        files = RuntimeDirectory(self.root).agent(town_id, name.agent_id).generation(name.generation)
        found = written(files, name.kind) if name.by == "machine" else None
        if found is None:
            return None
        content, was_cut, at = found
        text, cut = newest_part(content.decode(errors="replace"))
        return KeptLog(at, text, cut or was_cut)


@dataclass(frozen=True, slots=True)
class AllLogs:
    """Several places of logs as one: a log that two of them have is read from the first."""

    places: tuple[AgentLogs, ...]

    def kept(self, town_id: str, agent_id: str) -> Steps[tuple[LogName, ...]]:
        """The logs of all places, newest generation first."""
        found: list[LogName] = []
        for place in self.places:
            found += yield from place.kept(town_id, agent_id)
        return tuple(sorted(dict.fromkeys(found), key=lambda name: -name.generation))

    def read(self, town_id: str, name: LogName) -> Steps[KeptLog | None]:
        """The log in the first place that has it."""
        for place in self.places:
            found = yield from place.read(town_id, name)
            if found is not None:
                return found
        return None
