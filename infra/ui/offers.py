"""The commands that the page's buttons run with --write: only those that the server itself has put on a page."""

from __future__ import annotations

import hashlib
import shlex
from collections import OrderedDict
from contextvars import ContextVar
from typing import Final

ACTS: Final = (
    ("event", "post"),
    ("bead", "reopen"),
    ("bead", "cancel"),
    ("bead", "update"),
    ("convoy", "start"),
    ("convoy", "close"),
    ("convoy", "remove"),
    ("agent", "reset"),
    ("escalation", "acknowledge"),
    ("setting", "set"),
    ("start",),
    ("pause",),
    ("town", "resume"),
    ("restore",),
)
"""The commands that a button may run. A command with a blank to fill in is only copied."""
KEPT: Final = 2000


class Offers:
    """The commands that were offered, by a key that a browser sends back: it cannot send a command of its own."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def key_of(self, command: str) -> str | None:
        """The key under which a command is offered; None if a button may only copy it."""
        arguments = tuple(shlex.split(command))[1:]
        if not any(arguments[: len(act)] == act for act in ACTS) or "..." in command:
            return None
        key = hashlib.sha256(command.encode()).hexdigest()[:20]
        self._known[key] = arguments
        self._known.move_to_end(key)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return key

    def arguments(self, key: str) -> tuple[str, ...] | None:
        """The arguments of an offered command; None if it was not offered."""
        return self._known.get(key)


offering: ContextVar[Offers | None] = ContextVar("offering", default=None)
"""Where the buttons of the page that is being made offer their commands; None on a page that only reads."""
