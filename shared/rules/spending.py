"""What people let a town spend (spec/rules.md section 12): who waits because a budget is spent, and who is told before it is."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from shared.actions import MarkBudget, NotifyMayor, WarnOfBudget
from shared.domain.spending import Limit
from shared.domain.states import BeadType, Label
from shared.domain.tick import Tick
from shared.domain.usage import day_of
from shared.rules.base import Decision, Due
from shared.town.live import Issue, LiveReview, UsageSum
from shared.town.reading import TownReader

BUDGET_SPENT: Final = "budget_spent"
"""The reason of the escalations, and of the beads that wait."""
_FOLLOW_UPS: Final = frozenset({Label.REWORK, Label.PR_FIXUP, Label.PR_CONFLICT, Label.PR_FEEDBACK})


class Account(NamedTuple):
    """A sum with the limit that people have set for it."""

    sum: UsageSum
    limit: Limit

    @property
    def subject(self) -> str:
        """As causes of escalations name it."""
        return f"{self.sum.kind} {self.sum.subject}"

    @property
    def words(self) -> str:
        """What is spent, and what to do about it."""
        used = f"{self.limit.used_words(self.sum.used)} of {self.limit.words}"
        return f"the budget of the {self.subject} is spent ({used}): raise the setting budget.per_{self.sum.kind}"

    @property
    def is_spent(self) -> bool:
        """Whether nothing of it is left."""
        return self.limit.is_spent(self.sum.used)

    @property
    def is_nearly_spent(self) -> bool:
        """Whether people are to be told."""
        return self.limit.is_nearly_spent(self.sum.used)


def watch_budgets(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """V3: people are told once when most of a budget is used, and it is noted since when all of it is."""
    for account in accounts(town, tick):
        used, limit = account.sum, account.limit
        if account.is_nearly_spent and used.told != limit.words:
            message = f"{limit.used_words(used.used)} of {limit.words} are used"
            yield WarnOfBudget(kind=used.kind, subject=used.subject, limit=limit.words, message=message)
            yield NotifyMayor(
                subject=f"{BUDGET_SPENT}:{account.subject}", message=f"budget of {account.subject}: {message}"
            )
        if account.is_spent != (used.spent_since is not None):
            yield MarkBudget(kind=used.kind, subject=used.subject, spent=account.is_spent)


def day_wait(town: TownReader, tick: Tick, *, rows: tuple[str, ...]) -> Due | None:
    """The wait for the next day, if the budget of this one is spent; None otherwise."""
    today = _today(town, tick)
    if today is None or not today.is_spent:
        return None
    return Due(_next_day(tick.now), rows, BUDGET_SPENT, today.sum.spent_since or tick.now)


def overspent(town: TownReader) -> Mapping[str, Account]:
    """The live beads on which nobody starts to work, because the budget of their task or convoy is spent, by id."""
    return town.once("overspent", lambda: _overspent(town))


def may_start(town: TownReader, tick: Tick, bead_id: str) -> bool:
    """Whether the budgets let an agent start to work on a bead."""
    return bead_id not in overspent(town) and day_wait(town, tick, rows=()) is None


def accounts(town: TownReader, tick: Tick) -> Iterator[Account]:
    """Every sum of this day and of live tasks and convoys that has a limit."""
    today = _today(town, tick)
    if today is not None:
        yield today
    rigs = {**{bead.id: bead.rig_id for bead in _beads(town)}, **{each.id: each.first_rig for each in town.convoys}}
    for each in town.sums:
        settings = town.settings(rigs.get(each.subject))
        limit = settings.per_convoy if each.kind == "convoy" else settings.per_bead
        if limit is not None and _task_of(town, each.subject) == each.subject:
            yield Account(each, limit)


def holds(town: TownReader, tick: Tick, subject: str) -> bool:
    """Whether most of that budget is still used, so that the escalation about it stays."""
    return any(account.subject == subject and account.is_nearly_spent for account in accounts(town, tick))


def end_of_day(tick: Tick, subject: str) -> datetime | None:
    """When the budget of this day ends, if that is the subject."""
    return _next_day(tick.now) if subject == f"day {day_of(tick.now)}" else None


def _today(town: TownReader, tick: Tick) -> Account | None:
    limit = town.per_day
    used = None if limit is None else town.sum_of_day(day_of(tick.now))
    return None if limit is None or used is None else Account(used, limit)


def _next_day(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


def _overspent(town: TownReader) -> dict[str, Account]:
    if not town.sums:
        return {}
    known = {(each.kind, each.subject): each for each in town.sums}
    found: dict[str, Account] = {}
    for bead in _beads(town):
        settings, task = town.settings(bead.rig_id), _task_of(town, bead.id)
        convoy = task if _is_convoy(town, task) else town.convoys_of_issues.get(task, "")
        for kind, subject, limit in (("bead", task, settings.per_bead), ("convoy", convoy, settings.per_convoy)):
            used = known.get((kind, subject))
            if limit is not None and used is not None and limit.is_spent(used.used):
                found.setdefault(bead.id, Account(used, limit))
    return found


def _beads(town: TownReader) -> Iterator[Issue | LiveReview]:
    yield from town.issues
    yield from town.reviews


def _task_of(town: TownReader, bead_id: str) -> str:
    """The bead for whose sake an agent works on a live one (spec/data-model.md 3.18)."""
    issue = town.live_issues.get(bead_id)
    review_id = bead_id
    if issue is not None:
        if not _FOLLOW_UPS.intersection(issue.labels) or issue.review_id is None:
            return bead_id
        review_id = issue.review_id
    source = town.review_sources.get(review_id)
    if source is not None:
        return source[0]
    return review_id if review_id in town.reviews_by_id else bead_id


def _is_convoy(town: TownReader, bead_id: str) -> bool:
    return any(source[0] == bead_id and source[1] is BeadType.CONVOY for source in town.review_sources.values())
