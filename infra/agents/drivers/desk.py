"""The desk of an agent, as its driver sees it: mail, notes of `town-agent`, a changed model, and why the agent ends."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.agents.drivers.contract import Models
from infra.agents.drivers.scrubbing import Scrubber
from infra.agents.town_agent import mailbox
from infra.agents.town_agent.mailbox import Letter
from infra.agents.town_agent.order import REPORTED, WAITING
from shared.adapters import outside_files
from shared.adapters.local_supervisor import write_atomically
from shared.domain import times
from shared.domain.orders import StartOrder
from shared.ports.clock import Clock

EXIT_REASON: Final = "exit-reason.txt"
_MODEL: Final = "model.json"
_LONGEST_REASON: Final = 1000
_LARGEST_NOTE: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Desk:
    """The directory of the start file. `of_agent` is that of all generations of the agent."""

    place: Path
    of_agent: Path
    scrub: Scrubber

    @classmethod
    def of(cls, context: Path, scrub: Scrubber) -> "Desk":
        """The desk on which this start file lies."""
        return cls(context.parent, context.parent.parent.parent, scrub)

    def letters(self) -> list[Letter]:
        """The unread mail, oldest first."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            return mailbox.unread(self.place)
        return []

    def report(self) -> str | None:
        """The type of the last report of this generation that the town has acknowledged; None if there is none."""
        said = _note(self.place / REPORTED).get("event_type")
        return said if isinstance(said, str) else None

    def waits(self) -> object:
        """A value that changes whenever the agent says that it waits; None if it never said so."""
        return _note(self.place / WAITING).get("since")

    def note_waiting(self, clock: Clock) -> None:
        """Note that the agent waits since now: what its program did after it said so was only the end of its turn."""
        write_atomically(self.place / WAITING, {"since": times.to_text(clock.now())})

    def models(self, order: StartOrder) -> Models:
        """The models to use now: those of the order, or of a change that came later."""
        changed, context = self.of_agent / _MODEL, self.place / "context.json"
        with contextlib.suppress(OSError):
            if changed.stat().st_mtime_ns > context.stat().st_mtime_ns:
                told = _note(changed)
                return Models(_name(told.get("model")), _name(told.get("small_model")) or order.small_model)
        return Models(order.model or None, order.small_model or None)

    def explain(self, reason: str) -> None:
        """Write why the agent ends."""
        shown = self.scrub(reason, most=_LONGEST_REASON)
        path = self.place / EXIT_REASON
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            path.write_text(shown, encoding="utf-8")


def _note(path: Path) -> dict[str, object]:
    with contextlib.suppress(OSError, ValueError):
        found = outside_files.json_of(path, limit=_LARGEST_NOTE)
        if isinstance(found, dict):
            return found
    return {}


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
