"""Phase 11: check the invariants (spec/rules.md section 10). A violation is only reported; the rules repair it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from shared.domain import limits
from shared.domain.report import Violation
from shared.domain.states import AgentStatus, BeadStatus, Role
from shared.domain.tick import Tick
from shared.town import violations
from shared.town.no_room import require_room
from shared.town.reading import TownReader
from shared.town.town import Town

Sighting = tuple[str, str]
"""(subject, message)"""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A statement about every state of a town. `grace` is how long a breach may last before it counts as a violation."""

    number: int
    name: str
    breaches: Callable[[TownReader, Tick], Iterator[Sighting]]
    grace: Literal["none", "next committed tick"] = "none"


@dataclass(slots=True)
class CheckedInvariants:
    """The open violations, when to look again, and the checks that failed."""

    open: list[Violation] = field(default_factory=list)
    due: datetime | None = None
    failed: list[tuple[str, str]] = field(default_factory=list)


def row_readable(town: TownReader, tick: Tick) -> Iterator[Sighting]:
    """1: every row that this tick read holds only known values."""
    for (table, key), problem in sorted(town.unreadable.items()):
        yield f"{table} {key}", f"row {key} of {table} cannot be read: {problem}"


def worker_has_hook(town: TownReader, tick: Tick) -> Iterator[Sighting]:
    """7: no agent except the mayor works without a hook."""
    if tick.draining:
        return
    for agent in town.agents:
        if agent.status is AgentStatus.WORKING and agent.role is not Role.MAYOR and agent.hook is None:
            yield agent.id, f"agent {agent.id} is working without a hook"


def convoy_status_known(town: TownReader, tick: Tick) -> Iterator[Sighting]:
    """5: a convoy is in one of the five statuses."""
    for convoy_id, status in town.unknown_convoys:
        yield convoy_id, f"convoy {convoy_id} is in unknown status {status[:40]!r}"


def one_review_per_rig(town: TownReader, tick: Tick) -> Iterator[Sighting]:
    """3: a rig has at most one MR in progress that has no pull request and was not reported as merged."""
    by_rig: dict[str, list[str]] = {}
    for review in town.reviews:
        if review.under_review and review.rig_id is not None:
            by_rig.setdefault(review.rig_id, []).append(review.id)
    for rig_id, reviews in sorted(by_rig.items()):
        if len(reviews) > 1:
            yield rig_id, f"rig {rig_id} has {len(reviews)} reviews in progress: {', '.join(sorted(reviews))}"


def one_agent_per_hook(town: TownReader, tick: Tick) -> Iterator[Sighting]:
    """6: at most one agent is hooked to a bead."""
    for bead_id, agents in town.double_hooks:
        yield bead_id, f"{agents} agents are hooked to bead {bead_id}"


def no_hook_on_terminal_bead(town: TownReader, tick: Tick) -> Iterator[Sighting]:
    """2: no agent is hooked to a closed or failed bead."""
    for agent in town.agents:
        if agent.hooked is not None and agent.hooked.status.terminal:
            yield agent.id, f"agent {agent.id} is hooked to bead {agent.hook}, which is {agent.hooked.status}"


def review_has_live_mr(town: TownReader, tick: Tick) -> Iterator[Sighting]:
    """4: an issue in review has a live MR, unless it was updated within REVIEW_RECOVERY_AFTER."""
    for issue in town.issues:
        if issue.status is not BeadStatus.IN_REVIEW:
            continue
        reviews = town.in_review.get(issue.id)
        if reviews is not None and reviews.live == 0 and tick.stale(issue.updated_at, limits.REVIEW_RECOVERY_AFTER):
            yield issue.id, f"issue {issue.id} is in review and no live review exists"


INVARIANTS: Final = (
    Invariant(1, "row_readable", row_readable),
    Invariant(7, "worker_has_hook", worker_has_hook, "next committed tick"),
    Invariant(5, "convoy_status_known", convoy_status_known),
    Invariant(3, "one_review_per_rig", one_review_per_rig),
    Invariant(6, "one_agent_per_hook", one_agent_per_hook),
    Invariant(2, "no_hook_on_terminal_bead", no_hook_on_terminal_bead, "next committed tick"),
    Invariant(4, "review_has_live_mr", review_has_live_mr, "next committed tick"),
)


def check(
    town: Town,
    reader: TownReader,
    *,
    error_text: Callable[[Exception], str],
    invariants: tuple[Invariant, ...] = INVARIANTS,
) -> CheckedInvariants:
    """Check every invariant on the resulting state, and update the table open_violations."""
    checked = CheckedInvariants()
    before = violations.known(town)
    seen: set[tuple[int, str]] = set()
    skipped: set[int] = set()
    # Invariant 1 reports the unreadable rows that the other checks come across. So it is evaluated last, and reported first.
    sightings: dict[int, list[Sighting]] = {}
    for invariant in (*invariants[1:], *invariants[:1]):
        try:
            sightings[invariant.number] = list(invariant.breaches(reader, town.tick))
        except Exception as error:  # noqa: BLE001 - a failed check is counted and alerted; the tick continues
            require_room(error)
            checked.failed.append((invariant.name, error_text(error)))
            skipped.add(invariant.number)
    for invariant in invariants:
        for subject, message in sightings.get(invariant.number, ()):
            seen.add((invariant.number, subject))
            _take_up(town, checked, invariant, subject, message, before.get((invariant.number, subject)))
    for key in before:
        if key not in seen and key[0] not in skipped:
            violations.forget(town, *key)
    return checked


# Invariants 2, 4 and 7 have a grace of one committed tick, because a state that breaks them can be legal for one tick: the rule
# that repairs it sees only the state before the actions of its pass. Example: in tick 7 the action of a rule closes a bead to
# which agent p is hooked; invariant 2 notes that, A7 unhooks p in tick 8, and no violation ever opens. If p is still hooked
# after tick 8, the violation opens, and it is reported again every VIOLATION_REPEAT.


def _take_up(
    town: Town,
    checked: CheckedInvariants,
    invariant: Invariant,
    subject: str,
    message: str,
    known: violations.StoredViolation | None,
) -> None:
    now = town.tick.now
    if known is None:
        violations.note(town, invariant.number, subject, message)
        if invariant.grace != "none":
            _look_at(checked, now)
            return
    elif known.opened_at is not None and known.last_captured_at is not None:
        again = known.last_captured_at + limits.VIOLATION_REPEAT
        if now < again:
            checked.open.append(Violation(invariant.number, invariant.name, subject, message, captured=False))
            _look_at(checked, again)
            return
    violations.capture(town, invariant.number, subject)
    checked.open.append(Violation(invariant.number, invariant.name, subject, message, captured=True))
    _look_at(checked, now + limits.VIOLATION_REPEAT)


def _look_at(checked: CheckedInvariants, at: datetime) -> None:
    checked.due = at if checked.due is None else min(checked.due, at)
