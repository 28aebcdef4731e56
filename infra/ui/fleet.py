"""The fleet as a page shows it: each town in one of five groups, what needs somebody first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from infra.ui import words
from infra.ui.names import Names

if TYPE_CHECKING:
    from shared.questions.status import TownStatus
    from shared.questions.town_list import TownEntry

Group = Literal["alarming", "person", "recovers", "works", "quiet"]
GROUPS: Final[Mapping[Group, tuple[str, str]]] = {
    "alarming": ("Alarming", "No progress until somebody acts"),
    "person": ("Wait for a person", "The rest of the town goes on"),
    "recovers": ("Recover by themselves", ""),
    "works": ("Work", ""),
    "quiet": ("Quiet", ""),
}
SORTS: Final = {
    "need": "who needs me",
    "name": "name",
    "wait": "most waiting",
    "tick": "last tick",
    "next": "next due",
    "spend": "spend today",
    "acts": "most actions",
}


class Says(NamedTuple):
    """The state of a town in words: its group, shape and tone, what goes on, since when, and a command that helps."""

    group: Group
    state: str
    shape: str
    tone: str
    goes_on: str
    since: datetime | None = None
    command: str | None = None
    does: str | None = None


BUSY: Final = frozenset({"working", "stalled"})
"""The states of agents that are at work."""


@dataclass(frozen=True, slots=True)
class TownRow:
    """A town of the fleet. Without a status, it is not read yet or cannot be read."""

    entry: TownEntry
    status: TownStatus | None
    says: Says
    waits: Mapping[str, int] = field(default_factory=dict)
    """The numbers of its waiting beads by category."""

    @property
    def town_id(self) -> str:
        """The town's id."""
        return self.entry.town_id

    @property
    def working(self) -> int:
        """How many agents are at work."""
        return 0 if self.status is None else sum(agent.status in BUSY for agent in self.status.agents)

    def is_old(self, now: datetime | None) -> bool:
        """Whether it may have changed without a tick: it is not read yet, or some of its last hour is over."""
        if self.status is None or now is None:
            return True
        hour = self.status.last_hour
        return bool(hour.actions or hour.failures) and now - self.status.now > timedelta(minutes=hour.slot_minutes)

    @property
    def spent(self) -> int:
        """What was spent today, in millionths."""
        return 0 if self.status is None else spent_today(self.status)


def row_of(entry: TownEntry, status: TownStatus | None, problem: str | None = None) -> TownRow:
    """A town as a row."""
    problem = problem or entry.problem
    if status is None:
        if problem is None:
            return TownRow(entry, None, Says("quiet", "…", "idle", "wait", "is being read"))
        command = f"townctl doctor {entry.town_id}"
        return TownRow(
            entry, None, Says("alarming", "Not readable", "fail", "fail", problem, command=command, does="Look into it")
        )
    waits: Counter[str] = Counter(
        words.reason_word(each.reason).category for each in status.waiting if each.reason is not None
    )
    return TownRow(entry, status, _says(status), dict(waits))


def _says(town: TownStatus) -> Says:  # noqa: PLR0911 - one return for each state of a town
    found = _alarm(town)
    if found is not None:
        return found
    if town.paused:
        waiting = words.quantity(len(town.waiting), "bead")
        return Says(
            "quiet",
            "Paused",
            "pause",
            "wait",
            f"{waiting} wait until the town is started",
            command=f"townctl start {town.town_id}",
            does="Start",
        )
    if town.settling:
        return Says("recovers", "Settles", "recover", "work", "after an outage or a restore: time-based recovery waits")
    if town.draining:
        return Says("recovers", "Drains", "recover", "work", "its container is being replaced")
    person = [each for each in town.waiting if words.needs_person(each.reason)]
    known = {bead.bead_id: bead.title for bead in town.beads}
    names = Names(town.town_id, known)
    titles = {bead_id: names.of(bead_id) for bead_id in known}
    if person:
        oldest = min(person, key=lambda each: each.since)
        first = f"{words.reason_word(oldest.reason).text}: {titles.get(oldest.bead_id, oldest.bead_id)}"
        more = f" and {len(person) - 1} more" if len(person) > 1 else ""
        return Says("person", "Needs a person", "person", "attn", _capital(first + more), oldest.since)
    busy = [agent for agent in town.agents if agent.status in BUSY]
    convoys = [convoy for convoy in town.convoys if convoy.state == "active"]
    if busy or town.waiting:
        if convoys:
            return Says(
                "works", "Works", "work", "work", f"{convoys[0].title}: {convoys[0].done} of {convoys[0].total} done"
            )
        hooked = [titles[agent.hook] for agent in busy if agent.hook in titles]
        if hooked:
            others = f" and {len(hooked) - 1} more" if len(hooked) > 1 else ""
            return Says("works", "Works", "work", "work", hooked[0] + others)
        return Says("works", "Works", "work", "work", f"{words.quantity(len(town.waiting), 'bead')} wait")
    return Says("quiet", "Quiet", "idle", "wait", "Nothing waits")


def _alarm(town: TownStatus) -> Says | None:
    """What keeps the whole town from going on."""
    if town.set_aside is not None:
        runs = words.quantity(town.set_aside.deaths, "run")
        return Says(
            "alarming",
            "Set aside",
            "fail",
            "fail",
            f"{runs} ended the process that made them",
            town.set_aside.since,
            f"townctl town resume {town.town_id}",
            "Resume",
        )
    if town.ahead_seconds is not None:
        return Says(
            "alarming",
            "From the future",
            "fail",
            "fail",
            "its newest commit is ahead of the clock",
            command=f"townctl doctor {town.town_id}",
            does="Look into it",
        )
    if town.violations:
        first = town.violations[0]
        return Says(
            "alarming",
            "Invariant broken",
            "fail",
            "fail",
            first.message,
            first.opened_at,
            f"townctl doctor {town.town_id}",
            "Look into it",
        )
    if town.breaker.open:
        return Says(
            "alarming",
            "Breaker open",
            "fail",
            "fail",
            f"{words.quantity(town.breaker.failures, 'start')} failed; nothing is started until it closes",
            town.breaker.since,
            f"townctl explain bead {town.failed[0].bead_id}" if town.failed else f"townctl ticks {town.town_id}",
            "Look into it",
        )
    forge = [each for each in town.waiting if words.reason_word(each.reason).category == "forge"]
    if forge:
        oldest = min(forge, key=lambda each: each.since)
        still = words.quantity(len(forge), "review")
        return Says(
            "alarming",
            words.reason_word(oldest.reason).text.capitalize(),
            "fail",
            "fail",
            f"{still} stand still: {oldest.guards[0].says}",
            oldest.since,
            f"townctl secret set {town.town_id} github < FILE",
            "Set the token",
        )
    program = [each for each in town.waiting if each.reason == "no_agent_program"]
    if program:
        return Says(
            "alarming",
            "No program",
            "fail",
            "fail",
            program[0].guards[0].says,
            program[0].since,
            'townctl run --agent-command "..."',
            "Set the program",
        )
    if town.events.poisoned:
        return Says(
            "person",
            "Needs a person",
            "person",
            "attn",
            f"{words.quantity(town.events.poisoned, 'event')} failed permanently",
            command=f"townctl event list {town.town_id} --poisoned",
            does="Show them",
        )
    return None


def ordered(rows: Iterable[TownRow], sort: str) -> list[TownRow]:
    """The rows as they are asked for."""
    keys = {
        "name": lambda row: row.town_id,
        "wait": lambda row: (-sum(row.waits.values()), row.town_id),
        "tick": lambda row: (-_stamp(row.entry.time), row.town_id),
        "next": lambda row: (
            _stamp(None if row.status is None else row.status.next_due_at) or float("inf"),
            row.town_id,
        ),
        "spend": lambda row: (-row.spent, row.town_id),
        "acts": lambda row: (0 if row.status is None else -row.status.last_hour.actions, row.town_id),
    }
    places = list(GROUPS)
    by_need = sorted(
        rows, key=lambda row: (places.index(row.says.group), _stamp(row.says.since) or float("inf"), row.town_id)
    )
    return by_need if sort not in keys else sorted(by_need, key=keys[sort])


def totals(rows: Sequence[TownRow]) -> Counter[str]:
    """How many beads of the whole fleet wait, by category."""
    found: Counter[str] = Counter()
    for row in rows:
        found.update(row.waits)
    return found


def spent_today(town: TownStatus) -> int:
    """What a town spent on the day of its clock, in millionths of a dollar."""
    today = f"{town.now:%Y-%m-%d}"
    return sum(each.spend.cost_micros for each in town.spend if each.day == today)


def money(micros: int) -> str:
    """An amount."""
    return f"${micros / 1_000_000:,.2f}"


def _stamp(at: datetime | None) -> float:
    return 0.0 if at is None else at.timestamp()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
