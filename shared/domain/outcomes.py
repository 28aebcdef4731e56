"""What became of an event or an action."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Applied:
    """Done, or nothing had to change and the type allows that."""

    @property
    def text(self) -> str:
        """The journal's word."""
        return "applied"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Recognised as stale, repeated or without effect."""

    reason: str

    @property
    def text(self) -> str:
        """The journal's words."""
        return f"skipped: {self.reason}"


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that is well-formed and breaks a domain rule."""

    reason: str

    @property
    def text(self) -> str:
        """The journal's words."""
        return f"rejected: {self.reason}"


@dataclass(frozen=True, slots=True)
class Failed:
    """An action that could not be applied; its savepoint was undone."""

    error: str

    @property
    def text(self) -> str:
        """The journal's words."""
        return f"failed: {self.error}"


EventOutcome = Applied | Skipped | Rejected
ActionOutcome = Applied | Skipped | Failed

ALREADY = Skipped("already")
MOVED_ON = Skipped("moved_on")
TERMINAL = Skipped("terminal")
MISSING = Skipped("missing")
