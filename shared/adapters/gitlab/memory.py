"""What a process remembers of GitLab between two polls, so that a poll that finds nothing new is one request.

Nothing here is needed for a right answer: a process without it asks once more. What is remembered is compared with every answer,
so that it cannot outlive the truth.
"""

import time
from threading import Lock
from typing import Final

from shared.ports.forge import ChangeRequest, Comment, RepositoryAt

AT_MOST: Final = 1000
TRAINS_KNOWN_FOR: Final = 3600.0
"""The seconds for which a project's setting for trains is not read again: so it is a request for a project and not for a merge."""


class GitLabMemory:
    """Where projects moved, which have trains, who requests changes of which merge request, and what its open threads say."""

    def __init__(self) -> None:
        self._moved: dict[tuple[str, str], RepositoryAt] = {}
        self._opinions: dict[tuple[str, str, int], tuple[str, tuple[ChangeRequest, ...]]] = {}
        self._comments: dict[tuple[str, str, int], tuple[str, tuple[Comment, ...]]] = {}
        self._trains: dict[tuple[str, str], tuple[float, bool]] = {}
        self._lock = Lock()

    def moved(self, host: str, name: str) -> RepositoryAt | None:
        """Where a former name of a project led."""
        with self._lock:
            return self._moved.get((host, name.lower()))

    def keep_moved(self, host: str, name: str, to: RepositoryAt | None) -> None:
        """A former name leads to this project; None: it does not lead to the one that is remembered."""
        with self._lock:
            self._moved.pop((host, name.lower()), None)
            if to is not None:
                if len(self._moved) >= AT_MOST:
                    self._moved.clear()
                self._moved[host, name.lower()] = to

    def trains(self, host: str, project: str) -> bool | None:
        """Whether a project merges by trains; None if it was not read in the last hour."""
        with self._lock:
            at, has = self._trains.get((host, project), (0.0, False))
        return has if at and time.monotonic() - at < TRAINS_KNOWN_FOR else None

    def keep_trains(self, host: str, project: str, *, has: bool) -> None:
        """Whether a project merges by trains, read now."""
        with self._lock:
            if len(self._trains) >= AT_MOST:
                self._trains.clear()
            self._trains[host, project] = (time.monotonic(), has)

    def opinions(self, host: str, project: str, number: int, updated_at: str) -> tuple[ChangeRequest, ...] | None:
        """Who requested changes when the merge request had been changed at that time; None if it is not known."""
        with self._lock:
            known = self._opinions.get((host, project, number))
        return known[1] if known is not None and known[0] == updated_at else None

    def keep_opinions(
        self, host: str, project: str, number: int, updated_at: str, found: tuple[ChangeRequest, ...]
    ) -> None:
        """Who requests changes. Every request and every withdrawal changes the time of the merge request."""
        with self._lock:
            if len(self._opinions) >= AT_MOST:
                self._opinions.clear()
            self._opinions[host, project, number] = (updated_at, found)

    def comments(self, host: str, project: str, number: int, updated_at: str) -> tuple[Comment, ...] | None:
        """What the open threads said when the merge request had been changed at that time; None if it is not known."""
        with self._lock:
            known = self._comments.get((host, project, number))
        return known[1] if known is not None and known[0] == updated_at else None

    def keep_comments(self, host: str, project: str, number: int, updated_at: str, found: tuple[Comment, ...]) -> None:
        """What the open threads say. Every comment and every resolution changes the time of the merge request."""
        with self._lock:
            if len(self._comments) >= AT_MOST:
                self._comments.clear()
            self._comments[host, project, number] = (updated_at, found)
