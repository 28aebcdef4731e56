"""The secrets port: where tokens and keys are kept."""

from typing import Protocol


class Secret:
    """A text that logs, error messages and `repr` do not show."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one request that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"


class Secrets(Protocol):
    """Reads secrets by names such as `towns/t1/rigs/r1/forges/github.com`."""

    def get(self, name: str) -> Secret | None:
        """The secret of that name; None if none is stored, or if it is empty.

        May return a value up to five minutes old. Takes at most about 15 seconds. Raises SecretsUnavailable (it is
        unknown whether the secret exists: the caller must not continue as if it did not), AccessDenied, and Refused for an
        invalid name.
        """
        ...
