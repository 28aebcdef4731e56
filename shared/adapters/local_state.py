"""The files of the local runtime, which outlive townctl: one directory for each agent.

    <root>/<town>/<agent>/lock               held while the agent is started or stopped
    <root>/<town>/<agent>/model.json         the newest model that it was told to use
    <root>/<town>/<agent>/uid                its user, if it has one of its own (`local_users`)
    <root>/<town>/<agent>/work/              the agent's own working directory, kept for the next generation
    <root>/<town>/<agent>/home/, tmp/        HOME and TMPDIR of an agent with a user of its own
    <root>/<town>/<agent>/lent.git/          what its clone borrows from the cache of a repository; only it may read that
    <root>/<town>/<agent>/00000007/          generation 7: what the runtime knows of it. The agent writes nothing here
        context.json     the start order
        process.json     pid and identity of agent and supervisor (written once the command runs)
        rejected.json    why the command could not be started; instead of process.json
        stopped.json     the stop of this generation was requested; it is never started (again)
        exit.json        the exit code (written by the supervisor, once no process of the agent is left)
        ended-by-us.json why the runtime ended it, if not on request
        messages/        the messages that were delivered: one file for each message id
        agent.log        what the agent printed
        agent/           the agent's side: it may add files here, and alter none of ours
            context.json, messages/    what the agent reads
            exit-reason.txt            the reason that the agent itself gives for its end, if it gives one
            waiting.json, spoke        what `town-agent` notes

What an agent wrote is read only through `written_by_agent`, and removed with `local_removal.remove`. Ids come from
outside. In a path segment, every character with a meaning to a file system is escaped.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from shared.adapters import local_supervisor as supervisor
from shared.adapters import outside_files
from shared.adapters.local_removal import remove
from shared.domain import wire
from shared.domain.orders import StartOrder
from shared.domain.quoting import cleaned

_LONGEST_SEGMENT: Final = 150


USER: Final = "uid"
LENT: Final = "lent.git"
_DESK: Final = "agent"
_OWN_REASON: Final = "exit-reason.txt"
_LONGEST_REASON: Final = 1000
_DESK_OF_OTHERS: Final = 0o1770
"""Whoever is in the group may add files, and may remove or replace only its own."""


def segment(text: str) -> str:
    """An id as one safe file name. Different ids have different names."""
    escaped = quote(text, safe=" ").replace(".", "%2E") or "%"
    return escaped if len(escaped) <= _LONGEST_SEGMENT else "%" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AgentProcesses:
    """The processes of one generation, as the supervisor recorded them."""

    effect_id: str
    pid: int
    started: str
    supervisor_pid: int
    supervisor_started: str

    @property
    def agent_is_alive(self) -> bool:
        """Whether the agent's own process runs. Its children may outlive it for a moment."""
        return supervisor.is_alive(self.pid, self.started)

    @property
    def supervisor_is_alive(self) -> bool:
        """Whether an exit code may still be written."""
        return supervisor.is_alive(self.supervisor_pid, self.supervisor_started)


@dataclass(frozen=True, slots=True)
class GenerationFiles:
    """The files of one start of an agent: the order, the processes, the end."""

    directory: Path
    number: int

    @property
    def mark(self) -> str:
        """The path of the context, which every process of this generation has in its environment."""
        return str(self.desk / supervisor.CONTEXT)

    @property
    def desk(self) -> Path:
        """The agent's side of the files. Until 0.2, it was the directory itself."""
        desk = self.directory / _DESK
        return self.directory if (self.directory / supervisor.CONTEXT).exists() and not desk.exists() else desk

    @property
    def user(self) -> int | None:
        """The user that only this agent has; None if it runs as our own user."""
        return AgentHome(self.directory.parent).user

    def lay_out(self, order: StartOrder, *, user: int | None) -> None:
        """Lay the order and an empty mailbox on the desk, before the agent can write there, and keep the order ourselves."""
        desk = self.directory / _DESK
        remove(desk)
        (desk / _MESSAGES).mkdir(mode=0o700, parents=True)
        if user is not None:
            self.directory.chmod(0o711)
            for place, mode in ((desk, _DESK_OF_OTHERS), (desk / _MESSAGES, 0o750)):
                os.chown(place, -1, user)
                place.chmod(mode)
        supervisor.write_atomically(desk / supervisor.CONTEXT, order.as_json(), reader=user)
        supervisor.write_atomically(self.directory / supervisor.CONTEXT, order.as_json())

    def context(self) -> StartOrder | None:
        """The start file; None if there is none that can be read."""
        with contextlib.suppress(wire.Unfit):
            return wire.read(StartOrder, _read(self.directory / supervisor.CONTEXT))
        return None

    def recorded(self) -> AgentProcesses | None:
        """The processes, once the command has been run."""
        facts = _read(self.directory / supervisor.PROCESS)
        return AgentProcesses(**facts) if facts else None

    def rejection(self) -> str | None:
        """Why the command could not be run; None if it was not rejected."""
        facts = _read(self.directory / supervisor.REJECTED)
        return str(facts["reason"]) if facts else None

    def reject(self, effect_id: str, reason: str) -> None:
        """Record why it will never run, so that a repeated start gets the same answer."""
        supervisor.write_atomically(self.directory / supervisor.REJECTED, {"effect_id": effect_id, "reason": reason})

    def announce(self) -> None:
        """Make the directory before taking the lock, so that a start of an older generation that is still preparing gives up."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def was_stopped(self) -> bool:
        """Whether its stop was requested."""
        return (self.directory / _STOPPED).exists()

    def mark_stopped(self, effect_id: str) -> None:
        """Record that this generation must not run, before it is killed and even if it never started."""
        self.announce()
        supervisor.write_atomically(self.directory / _STOPPED, {"effect_id": effect_id})

    def exit_reason(self) -> str | None:
        """How it ended, in words; None until its supervisor has recorded it."""
        facts = _read(self.directory / supervisor.EXIT)
        if facts is None:
            return None
        return self._our_words() or self._own_words() or self._in_words(int(facts["code"]))

    def explain(self, reason: str) -> None:
        """Record why we end it; counts more than the agent's own words."""
        supervisor.write_atomically(self.directory / _OUR_REASON, {"reason": reason})

    def reason_without_code(self) -> str:
        """How it ended, if no supervisor was left to record the exit code."""
        return (
            "stopped" if self.was_stopped else "ended without an exit code (its supervisor or this machine was stopped)"
        )

    def written_by_agent(self, name: str, *, most: int) -> str:
        """The beginning of a file that the agent may have written on its desk; empty if it cannot be read, or is no plain file of
        the agent's. A link is not followed, and a pipe is not waited for.
        """
        user = self.user
        with contextlib.suppress(OSError):
            found = outside_files.start_of(self.desk / name, most, owner=os.geteuid() if user is None else user)
            return found.decode(errors="replace")
        return ""

    def has_message(self, message_id: str) -> bool:
        """Whether this message is in the mailbox, or the agent was started with it."""
        if self._message(message_id).exists():
            return True
        order = _read(self.directory / supervisor.CONTEXT)
        return order is not None and order.get("message_id") == message_id and self.recorded() is not None

    def deliver(self, message_id: str, message: dict[str, str]) -> None:
        """Put a message into the mailbox, and record that."""
        record = self._message(message_id)
        record.parent.mkdir(mode=0o700, exist_ok=True)
        if self.desk != self.directory:
            supervisor.write_atomically(self.desk / _MESSAGES / record.name, message, reader=self.user)
        supervisor.write_atomically(record, message)

    def _message(self, message_id: str) -> Path:
        return self.directory / _MESSAGES / f"{segment(message_id)}.json"

    def _in_words(self, code: int) -> str:
        """An exit code in words. Negative codes are signals."""
        if code == 0:
            return "completed"
        if code > 0:
            return f"crashed (exit code {code})"
        return "stopped" if self.was_stopped else f"killed by signal {-code}"

    def _our_words(self) -> str:
        facts = _read(self.directory / _OUR_REASON)
        return "" if facts is None else str(facts["reason"])

    def _own_words(self) -> str:
        said = cleaned(self.written_by_agent(_OWN_REASON, most=4 * _LONGEST_REASON))
        return said.strip()[:_LONGEST_REASON]


@dataclass(frozen=True, slots=True)
class AgentHome:
    """The directory of one agent."""

    directory: Path

    @property
    def user(self) -> int | None:
        """The user that only this agent has; None if it runs as our own user."""
        try:
            return int((self.directory / USER).read_text(encoding="ascii"))
        except FileNotFoundError:
            return None

    def own_directory(self, name: str, *, user: int | None) -> Path:
        """A directory of the agent, which nobody else may read if the agent has a user of its own."""
        place = self.directory / name
        if place.is_symlink() or (place.exists() and user is not None and place.stat().st_uid != user):
            remove(place)
        place.mkdir(mode=0o700, exist_ok=True)
        if user is not None:
            os.chown(place, user, user, follow_symlinks=False)
        return place

    def generation(self, number: int) -> GenerationFiles:
        """The files of that generation, whether they exist or not."""
        return GenerationFiles(self.directory / f"{number:08d}", number)

    def generations(self) -> list[GenerationFiles]:
        """The generations that exist, newest first."""
        with contextlib.suppress(FileNotFoundError):
            names = (path.name for path in self.directory.iterdir())
            numbers = (int(name) for name in names if name.isascii() and name.isdigit())
            return [self.generation(number) for number in sorted(numbers, reverse=True)]
        return []

    def newest(self) -> GenerationFiles | None:
        """The newest generation; None if there is none."""
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
_MESSAGES: Final = "messages"
_OUR_REASON: Final = "ended-by-us.json"


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is none. Writes are atomic, so it is never incomplete."""
    try:
        value = outside_files.json_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return value if isinstance(value, dict) else None
