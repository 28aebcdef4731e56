"""An object store that counts its requests, by kind, and remembers which keys were touched."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

COUNTED: Final = frozenset(
    ("get", "get_if_changed", "start_of", "create", "replace", "put", "delete", "list", "versions", "get_version")
)

KINDS: Final = {"list_with_bodies": "list"}
"""What a method counts as, if not as itself."""


@dataclass
class CountingObjects:
    """Any object store, with a count of what it was asked."""

    behind: Any
    requests: Counter[str] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Begin to count anew."""
        self.requests.clear()
        self.keys.clear()

    @property
    def waiting(self) -> "CountingObjects":
        """What waits is asked for through this object too, and counted with the rest."""
        inner = self.behind.waiting
        return self if inner is self.behind else CountingObjects(inner, self.requests, self.keys)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.behind, name)
        kind = KINDS.get(name, name)
        if kind not in COUNTED:
            return method

        def counted(key: str, *arguments: Any, **named: Any) -> Any:
            self.requests[kind] += 1
            self.keys.append(key)
            return method(key, *arguments, **named)

        return counted

    @property
    def towns_touched(self) -> set[str]:
        """The towns whose objects were asked for."""
        return {key.split("/")[1] for key in self.keys if key.startswith("towns/") and key.count("/") > 1}
