"""A ledger of requests: every request of a fleet, under the activity that made it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.counting import COUNTED

Activity = Literal["setup", "post", "dispatcher", "tick", "sweep", "retention"]

WRITES: Final = frozenset(("create", "replace", "put", "list", "versions"))
READS: Final = frozenset(("get", "get_if_changed", "start_of", "get_version", "time"))
STORE: Final = (*WRITES, *READS, "delete")
assert set(STORE) == COUNTED | {"time"}


@dataclass(slots=True)
class Ledger:
    """How often each activity happened, and the store's and the queue's requests and the bytes of log lines that it cost."""

    activity: Activity = "setup"
    happened: Counter[str] = field(default_factory=Counter)
    requests: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    line_bytes: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Of the simulated clock, for activities that wait."""

    @contextmanager
    def during(self, activity: Activity) -> Iterator[None]:
        """Charge what happens inside to this activity."""
        before, self.activity = self.activity, activity
        self.happened[activity] += 1
        yield
        self.activity = before

    def charge(self, kind: str, key: str = "") -> None:
        """One request. If a dispatcher runs a town itself, all but its looks at due markers and notes is charged to the tick."""
        activity = self.activity
        if (
            activity == "dispatcher"
            and not key.startswith("watch/")
            and not (kind == "list" and key.startswith("due/"))
        ):
            activity = "dispatcher" if kind in ("time", "send") else "tick"
        self.requests[activity][kind] += 1

    def each(self, activity: str, *kinds: str, per: float | None = None) -> float:
        """Requests of these kinds, or all to the store, for each time that the activity happened."""
        found = self.requests[activity]
        total = sum(found[kind] for kind in kinds or STORE)
        return total / (self.happened[activity] if per is None else per)


@dataclass(frozen=True, slots=True)
class LedgerObjects:
    """Any object store, whose requests are charged to a ledger."""

    behind: Any
    ledger: Ledger

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.behind, name)
        if name == "time":

            def told() -> Any:
                self.ledger.charge("time")
                return method()

            return told
        if name not in COUNTED:
            return method

        def counted(key: str, *arguments: Any, **named: Any) -> Any:
            self.ledger.charge(name, key)
            return method(key, *arguments, **named)

        return counted
