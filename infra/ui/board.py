"""The board of a town: which bead stands in which column, blocked ones below the bead that blocks them, what comes first first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from infra.ui import words

if TYPE_CHECKING:
    from shared.questions.status import AgentLine
    from shared.questions.town_view import TownView, ViewedBead
    from shared.questions.waiting import Waiting

SHOWN: Final = 50
"""The rows of a column; the list has the rest."""
ON_BOARD: Final = frozenset({"issue"})
"""Types of beads on the board. Reviews, convoys, escalations and messages have places of their own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A bead with why it waits, and the agent that works on it."""

    bead: ViewedBead
    waiting: Waiting | None
    agent: AgentLine | None

    @property
    def since(self) -> datetime | None:
        """Since when it waits; else since when it is as it is."""
        return self.waiting.since if self.waiting is not None else self.bead.updated_at or self.bead.created_at


@dataclass(frozen=True, slots=True)
class Blocked:
    """Beads that wait for the same bead at the end of their chains."""

    root: str
    waits: str | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """The columns. `waiting` is first what is blocked, by root, then what waits for time, for others, and for a person."""

    blocked: tuple[Blocked, ...]
    waiting: tuple[Entry, ...]
    in_progress: tuple[Entry, ...]
    in_review: tuple[Entry, ...]
    failed: tuple[Entry, ...]
    done: tuple[Entry, ...]

    @property
    def waiting_count(self) -> int:
        """How many beads wait."""
        return len(self.waiting) + sum(len(group.entries) for group in self.blocked)

    @property
    def count(self) -> int:
        """How many beads there are."""
        return self.waiting_count + len(self.in_progress) + len(self.in_review) + len(self.failed) + len(self.done)


def board_of(view: TownView, *, convoy: str | None = None) -> Board:
    """The board of a town, or of one of its convoys; `none` stands for the beads without a convoy."""
    entries = entries_of(view, ON_BOARD)
    if convoy is not None:
        entries = [each for each in entries if (each.bead.convoy or "none") == convoy]
    by = {status: [each for each in entries if each.bead.status == status] for status in words.BEADS}
    waiting = [each for each in by["open"] if each.agent is None]
    started = [each for each in by["open"] if each.agent is not None]
    blocked, others = _grouped(waiting)
    return Board(
        blocked=blocked,
        waiting=tuple(sorted(others, key=_urgency)),
        in_progress=tuple(sorted([*started, *by["in_progress"]], key=_worst_first)),
        in_review=tuple(sorted(by["in_review"], key=_urgency)),
        failed=tuple(sorted(by["failed"], key=_newest)),
        done=tuple(sorted(by["closed"], key=_newest)),
    )


def entries_of(view: TownView, types: Iterable[str] | None = None) -> list[Entry]:
    """The beads of these types, with why they wait and who works on them."""
    waits = {each.bead_id: each for each in view.status.waiting}
    hooked = {agent.hook: agent for agent in view.status.agents if agent.hook is not None}
    wanted = None if types is None else set(types)
    return [
        Entry(bead, waits.get(bead.bead_id), hooked.get(bead.bead_id))
        for bead in view.beads
        if wanted is None or bead.type in wanted
    ]


def _grouped(entries: Sequence[Entry]) -> tuple[tuple[Blocked, ...], list[Entry]]:
    """Those that wait for another bead, by the bead at the end of their chains; and the others."""
    groups: dict[str, list[Entry]] = {}
    waits: dict[str, str | None] = {}
    others: list[Entry] = []
    for entry in entries:
        waiting = entry.waiting
        root = None if waiting is None else waiting.root
        if waiting is None or root is None or waiting.reason not in ("blocked_by", "failed_dependency"):
            others.append(entry)
            continue
        groups.setdefault(root.bead_id, []).append(entry)
        waits[root.bead_id] = root.reason or root.status
    found = [
        Blocked(
            root, waits[root], tuple(sorted(each, key=lambda entry: (_steps(entry), entry.bead.created_at or _LATE)))
        )
        for root, each in groups.items()
    ]
    return tuple(sorted(found, key=lambda group: (-len(group.entries), group.root))), others


def _steps(entry: Entry) -> int:
    root = None if entry.waiting is None else entry.waiting.root
    return 0 if root is None else root.steps


def _urgency(entry: Entry) -> tuple[object, ...]:
    """What time ends first, soonest first; then what others end; then what a person ends."""
    waiting = entry.waiting
    if waiting is None:
        return (0, _LATE, entry.bead.bead_id)
    if words.needs_person(waiting.reason):
        return (2, waiting.since, entry.bead.bead_id)
    return (0 if waiting.due_at else 1, waiting.due_at or waiting.since, entry.bead.bead_id)


def _worst_first(entry: Entry) -> tuple[object, ...]:
    status = "" if entry.agent is None else entry.agent.status
    last = None if entry.agent is None else entry.agent.last_activity_at
    return (0 if status in ("stalled", "dead") else 1, last or _LATE, entry.bead.bead_id)


def _newest(entry: Entry) -> tuple[float, str]:
    at = entry.bead.closed_at or entry.bead.updated_at or entry.bead.created_at
    return (-(at or _LATE).timestamp(), entry.bead.bead_id)


def convoys_of(view: TownView) -> Mapping[str, tuple[str, int]]:
    """The convoys that beads on the board belong to, with the title and the number of beads of each."""
    titles = {bead.bead_id: bead.title for bead in view.beads if bead.type == "convoy"}
    found: dict[str, tuple[str, int]] = {}
    for bead in view.beads:
        if bead.type in ON_BOARD and bead.convoy in titles:
            title, count = found.get(bead.convoy, (titles[bead.convoy], 0))
            found[bead.convoy] = (title, count + 1)
    return found


_LATE: Final = datetime.fromisoformat("9999-01-01T00:00:00+00:00")
