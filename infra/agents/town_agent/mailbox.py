"""The agent's mailbox: one file per message, beside its start file. A file of the same name in `read` marks it as read."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.adapters import outside_files

_NUDGE: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_READ: Final = "read"


@dataclass(frozen=True, slots=True)
class Letter:
    """One unread message."""

    message_id: str
    text: str
    mode: str
    file: Path

    @property
    def is_nudge(self) -> bool:
        """Whether the town waits for an acknowledgement. Messages to the mayor need none."""
        return _NUDGE.fullmatch(self.message_id) is not None

    def mark_read(self) -> None:
        """Mark the message as read. Its file stays, because it tells the runtime that the message was delivered."""
        mark = self.file.parent.parent / _READ
        mark.mkdir(exist_ok=True)
        (mark / self.file.name).touch()


def unread(place: Path) -> list[Letter]:
    """The unread messages, oldest first."""
    found = []
    for file in sorted((place / "messages").glob("*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name)):
        if not (place / _READ / file.name).exists():
            said = outside_files.json_of(file)
            found.append(Letter(said["message_id"], said["text"], said["mode"], file))
    return found
