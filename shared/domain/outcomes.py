"""The outcomes of events and actions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Applied:
    """It was carried out. For some types that includes finding nothing to change."""

    @property
    def text(self) -> str:
        """The outcome as the journal writes it."""
        return "applied"


@dataclass(frozen=True, slots=True)
class Skipped:
    """It was not carried out, because it is stale, a repetition or a no-op."""

    reason: str

    @property
    def text(self) -> str:
        """The outcome as the journal writes it."""
        return f"skipped: {self.reason}"


@dataclass(frozen=True, slots=True)
class Rejected:
    """The event is well-formed but breaks a rule of the domain."""

    reason: str

    @property
    def text(self) -> str:
        """The outcome as the journal writes it."""
        return f"rejected: {self.reason}"


@dataclass(frozen=True, slots=True)
class Failed:
    """The action could not be applied; its savepoint was rolled back."""

    error: str

    @property
    def text(self) -> str:
        """The outcome as the journal writes it."""
        return f"failed: {self.error}"


EventOutcome = Applied | Skipped | Rejected
ActionOutcome = Applied | Skipped | Failed

ALREADY = Skipped("already")
MOVED_ON = Skipped("moved_on")
TERMINAL = Skipped("terminal")
MISSING = Skipped("missing")
EXISTS = Skipped("exists")
TAKEN = Rejected("somebody else's bead has this id")
