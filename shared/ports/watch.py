"""The watch port: what processes and towns note for the others to see. All of it is read with one listing.

- The note of a *life*: the towns that one process runs together. It stays if the process dies.
- The record of a town that runs *apart*, because a process that ran it died.
- The marker of a town with an open violation of an invariant.

Every method yields its store calls as steps and raises what the object store raises.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.domain.shapes import Time, answer
from shared.ports.steps import Steps


@answer
class LifeNote:
    """The towns that a process runs together, written before it runs them. `host` and `pid` say which process it is.

    `until`: if the note has not been written again by then, the process has ended.
    """

    life: str
    towns: tuple[str, ...]
    until: Time
    host: str = ""
    pid: int = 0


@answer
class Apart:
    """A town that runs apart from others: a process that ran it, perhaps with others, died.

    - `lives`: how many processes died while they ran it together with other towns.
    - `deaths`: how many of its runs of its own have not ended in an orderly way, without an orderly one in between.
    - `since`: when the first of these was found, `at`: when the last thing of this record happened.
    - `orderly`: its last run of its own ended in an orderly way.
    - `told`: an alert has said that it is set aside.
    """

    town_id: str
    lives: int
    deaths: int
    since: Time
    at: Time
    orderly: bool = False
    told: bool = False


@dataclass(frozen=True, slots=True)
class Watched:
    """Everything that is noted at one time. Objects that cannot be read are left out; `unreadable` has their keys."""

    lives: tuple[LifeNote, ...] = ()
    apart: Mapping[str, Apart] = field(default_factory=dict)
    violated: frozenset[str] = frozenset()
    unreadable: tuple[str, ...] = ()


class Watch(Protocol):
    """Notes that outlive the process that made them."""

    def watched(self) -> Steps[Watched]:
        """Everything that is noted: one listing, and one read for each life and each town that runs apart."""
        ...

    def note_life(self, note: LifeNote) -> Steps[None]:
        """Write or replace the note of a life."""
        ...

    def forget_life(self, life: str) -> Steps[None]:
        """Delete the note of a life that has ended. No error if it is gone."""
        ...

    def apart(self, town_id: str) -> Steps[Apart | None]:
        """The record of a town; None if it does not run apart."""
        ...

    def keep_apart(self, record: Apart) -> Steps[None]:
        """Write or replace the record of a town."""
        ...

    def forget_apart(self, town_id: str) -> Steps[None]:
        """Delete the record of a town. No error if it is gone."""
        ...

    def mark_violated(self, town_id: str, *, open_: bool) -> Steps[None]:
        """Write the marker of a town with an open violation, or delete it."""
        ...
