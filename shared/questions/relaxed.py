"""A view of a town with some holds lifted. Running the rules on it shows which holds matter, and for which rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from shared.domain import limits
from shared.domain.config import EffectiveSettings
from shared.domain.states import AgentStatus, BeadStatus, Label, Role
from shared.domain.tick import Tick
from shared.town import live
from shared.town.reading import TownReader
from shared.town.town_keys import TriageState

Hold = Literal[
    "paused",
    "settling",
    "draining",
    "breaker_open",
    "blocked_by",
    "missing_blocker",
    "held",
    "staged",
    "convoy_over",
    "no_rig",
    "budget_spent",
    "rig_full",
    "one_at_a_time",
    "review_live",
    "effect_unfinished",
    "batch_live",
    "triage_exhausted",
]
"""Anything but time that can keep a rule from acting on a row. The names are wire format: answers show them."""

HOLDS: Final[tuple[Hold, ...]] = get_args(Hold)
_LIFTED: Final = (
    "issues",
    "reviews",
    "convoys",
    "staged_beads",
    "beads_of_ended_convoys",
    "blockers",
    "in_review",
    "unfinished_effects",
    "triage_batch",
    "triage",
    "sums",
)
"""The attributes of a reader that change if holds are lifted."""

_ALONE: Final = "\x00"
"""Separates the id of a rig from the id of the review that has this rig to itself."""


def relaxed_tick(moment: Tick, without: frozenset[Hold]) -> Tick:
    """The tick with these holds lifted."""
    return replace(
        moment,
        paused=moment.paused and "paused" not in without,
        settling=moment.settling and "settling" not in without,
        draining=moment.draining and "draining" not in without,
        breaker=replace(moment.breaker, open=moment.breaker.open and "breaker_open" not in without),
    )


@dataclass(frozen=True, slots=True)
class Occupied:
    """The rigs in which the next tick leaves no place for another polecat, and those whose refinery takes no other review."""

    full: frozenset[str | None] = frozenset()
    refineries: frozenset[str | None] = frozenset()


class RelaxedReader(TownReader):
    """The state as rules would see it if all rows were free of some holds.

    It shares what another reader has read, and changes the attributes that make the lifted holds. The rules stay the same. Rows
    do not compete for what was freed: a full rig stays full for all rows, any other rig has a place for each; a review whose
    refinery is free has a rig to itself. So a full rig is not reported for a bead that only its blocker holds back.
    """

    _without: frozenset[Hold] = frozenset()
    _taken: Occupied = Occupied()
    _freed: dict[str | None, EffectiveSettings]

    def lifted(self, without: frozenset[Hold], occupied: Occupied) -> "RelaxedReader":
        """A reader of the same state without these holds."""
        free = RelaxedReader(self._sql, self._config, self.unreadable)
        free.__dict__.update(self.__dict__)
        free._without, free._taken = without, occupied
        free._settings, free._freed = {}, {}
        for name, value in free._changes():
            free.__dict__[name] = value
        return free

    def has(self, hold: Hold, moment: Tick, occupied: Occupied) -> bool:
        """Whether anything in this town is held back by a hold: whether lifting it changes anything."""
        if hold == "rig_full":
            return bool(occupied.full)
        alone = frozenset((hold,))
        if relaxed_tick(moment, alone) != moment:
            return True
        shown = {name: getattr(self, name) for name in _LIFTED}
        free = self.lifted(alone, occupied)
        return any(getattr(free, name) != value for name, value in shown.items())

    def narrowed(self, rows: frozenset[str], *, competing: bool) -> "RelaxedReader":
        """A reader of these issues and reviews. If they compete, also of the others of the same rig, if its places are limited."""
        few = RelaxedReader(self._sql, self._config, self.unreadable)
        few.__dict__.update(self.__dict__)
        limited: set[str | None] = (
            set()
            if not competing
            else {each.rig_id for each in self.issues if each.id in rows and self.settings(each.rig_id).max_polecats}
        )
        rigs = {each.rig_id for each in self.reviews if competing and each.id in rows}
        few.__dict__["issues"] = tuple(each for each in self.issues if each.id in rows or each.rig_id in limited)
        few.__dict__["reviews"] = tuple(each for each in self.reviews if each.id in rows or each.rig_id in rigs)
        return few

    def next_look(self, ended_effects: frozenset[tuple[str, str]]) -> None:
        """Forget what is valid at one time only; these effects have expired by now."""
        self._shared = {}
        self.__dict__["unfinished_effects"] = self.unfinished_effects - ended_effects

    def settings(self, rig_id: str | None) -> EffectiveSettings:
        """The settings of a rig. Unless the rig is full, `rig_full` is no longer decided by order."""
        real = None if rig_id is None else rig_id.partition(_ALONE)[0]
        if not self._without:
            return super().settings(real)
        if rig_id not in self._freed:
            full = "rig_full" not in self._without and real in self._taken.full
            self._freed[rig_id] = replace(super().settings(real), max_polecats=0 if full else None)
        return self._freed[rig_id]

    def _changes(self) -> Iterator[tuple[str, Any]]:
        """Attribute and value of everything that the lifted holds change."""
        without = self._without
        if without & {"held", "no_rig"}:
            yield "issues", tuple(self._free(issue) for issue in self.issues)
        if without & {"no_rig", "one_at_a_time"}:
            reviews = tuple(self._alone(review) for review in self.reviews)
            yield "reviews", reviews
            yield "reviews_by_id", {review.id: review for review in reviews}
        if without & {"staged", "no_rig"}:
            yield "convoys", tuple(self._started(convoy) for convoy in self.convoys)
        if "staged" in without:
            yield "staged_beads", frozenset()
        if "budget_spent" in without:
            yield "sums", ()
        if "convoy_over" in without:
            yield "beads_of_ended_convoys", {}
        if without & {"blocked_by", "missing_blocker"}:
            yield "blockers", self._without_blockers()
        if "review_live" in without:
            yield "in_review", {key: replace(each, live=0) for key, each in self.in_review.items()}
        if "effect_unfinished" in without:
            yield "unfinished_effects", frozenset()
        if "batch_live" in without:
            yield "triage_batch", None
        if "triage_exhausted" in without:
            yield "triage", _one_more_batch(self.triage)

    def _without_blockers(self) -> dict[str, tuple[live.Blocker, ...]]:
        """The blockers that stay: those that exist, those that are missing, or none."""
        stays = {True: "blocked_by" not in self._without, False: "missing_blocker" not in self._without}
        left = {
            bead_id: tuple(each for each in blockers if stays[each.exists])
            for bead_id, blockers in self.blockers.items()
        }
        return {bead_id: blockers for bead_id, blockers in left.items() if blockers}

    def _free(self, issue: live.Issue) -> live.Issue:
        if "held" in self._without and Label.HELD in issue.labels:
            issue = issue._replace(labels=tuple(label for label in issue.labels if label != Label.HELD))
        if "no_rig" in self._without and issue.rig_id is None and Label.TRIAGE_REQUEST not in issue.labels:
            issue = issue._replace(rig_id=self._first_rig)
        return issue

    def _alone(self, review: live.LiveReview) -> live.LiveReview:
        rig_id = review.rig_id
        if "no_rig" in self._without and rig_id is None:
            rig_id = self._first_rig
        if "one_at_a_time" in self._without or rig_id not in self._taken.refineries:
            rig_id = None if rig_id is None else f"{rig_id}{_ALONE}{review.id}"
        return review if rig_id == review.rig_id else replace(review, rig_id=rig_id)

    def _started(self, convoy: live.OpenConvoy) -> live.OpenConvoy:
        staged = convoy.staged and "staged" not in self._without
        first_rig = self._first_rig if "no_rig" in self._without and convoy.first_rig is None else convoy.first_rig
        return replace(convoy, staged=staged, first_rig=first_rig)

    @property
    def _first_rig(self) -> str:
        return next(iter(sorted(self.rigs)), "")


def occupied(town: TownReader, dispatched: Mapping[str, tuple[str, ...]]) -> Occupied:
    """Which rigs have no place left after the next tick. `dispatched`: the rigs of its dispatches, by the code of the rule."""
    rigs = {None, *town.rigs, *(issue.rig_id for issue in town.issues)}
    full = {rig_id for rig_id in rigs if _is_full(town, rig_id, dispatched)}
    busy = {review.rig_id for review in town.reviews if under_review(review)}
    busy |= {
        agent.rig_id for agent in town.agents if agent.role is Role.REFINERY and _at_work(agent.status, agent.hook)
    }
    return Occupied(frozenset(full), frozenset({*busy, *dispatched.get("R5", ())}))


def under_review(review: live.LiveReview) -> bool:
    """Whether a refinery works, or worked, on this review, so that no other review of its rig may start."""
    return review.status is BeadStatus.IN_PROGRESS and review.pr_url is None


def _is_full(town: TownReader, rig_id: str | None, dispatched: Mapping[str, tuple[str, ...]]) -> bool:
    limit = town.settings(rig_id).max_polecats
    if limit is None:
        return False
    at_work = sum(agent.role is Role.POLECAT and agent.rig_id == rig_id and agent.status.busy for agent in town.agents)
    started = sum(each == rig_id for rule in ("B1", "B2") for each in dispatched.get(rule, ()))
    return at_work + started >= limit


def _at_work(status: AgentStatus, hook: str | None) -> bool:
    return status is not AgentStatus.IDLE or hook is not None


def _one_more_batch(state: TriageState) -> TriageState:
    return replace(state, fruitless=min(state.fruitless, limits.TRIAGE_FRUITLESS_LIMIT - 1))
