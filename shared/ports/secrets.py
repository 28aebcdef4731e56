"""The secrets port: where tokens are kept."""

from typing import Protocol


class Secret:
    """A text that shows itself to nobody who does not ask for it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one request that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(...)"


class Secrets(Protocol):
    """Where tokens are kept, by names like `towns/t1/rigs/r1/forges/github.com`."""

    def get(self, name: str) -> Secret | None:
        """The secret of that name, or None if there is none. Raises SecretsUnavailable and AccessDenied."""
        ...
