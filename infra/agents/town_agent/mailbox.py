"""The agent's mailbox: files beside its start file, one for each message, moved away when they were read."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NUDGE: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_READ: Final = "read"


@dataclass(frozen=True, slots=True)
class Letter:
    """One message that was not read yet."""

    message_id: str
    text: str
    mode: str
    file: Path

    @property
    def is_nudge(self) -> bool:
        """Whether the town waits for its acknowledgement; what the mayor is told is delivered when it lies here."""
        return _NUDGE.fullmatch(self.message_id) is not None

    def mark_read(self) -> None:
        """Show it no more. The file stays where the runtime looks whether it has delivered this message."""
        mark = self.file.parent.parent / _READ
        mark.mkdir(exist_ok=True)
        (mark / self.file.name).touch()


def unread(place: Path) -> list[Letter]:
    """The messages that were not read yet, oldest first."""
    found = []
    for file in sorted((place / "messages").glob("*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name)):
        if not (place / _READ / file.name).exists():
            said = json.loads(file.read_text(encoding="utf-8"))
            found.append(Letter(said["message_id"], said["text"], said["mode"], file))
    return found
