"""A view of a town with some holds on its beads lifted. Running the rules on it shows which holds matter."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Final, Literal, get_args

from shared.domain import limits
from shared.domain.config import EffectiveSettings, TownConfig
from shared.domain.states import AgentStatus, Label, Role
from shared.domain.tick import Tick
from shared.town import live
from shared.town.database import Database
from shared.town.reading import TownReader
from shared.town.rows import Agent
from shared.town.town_keys import TriageState

Hold = Literal[
    "paused",
    "settling",
    "draining",
    "breaker_open",
    "blocked_by",
    "held",
    "staged",
    "no_rig",
    "rig_full",
    "one_at_a_time",
    "review_live",
    "effect_unfinished",
    "batch_live",
    "triage_exhausted",
]
"""Anything but time that can keep a rule from acting on a row. The names are wire format: answers show them."""

HOLDS: Final[tuple[Hold, ...]] = get_args(Hold)


def relaxed_tick(moment: Tick, without: frozenset[Hold]) -> Tick:
    """The tick with these holds lifted."""
    return replace(
        moment,
        paused=moment.paused and "paused" not in without,
        settling=moment.settling and "settling" not in without,
        draining=moment.draining and "draining" not in without,
        breaker=replace(moment.breaker, open=moment.breaker.open and "breaker_open" not in without),
    )


class RelaxedReader(TownReader):
    """The state as rules would see it if some rows were free of some holds.

    Each method below lifts its holds, if they are in `without`, by changing what the rules read. The rules stay as they are.
    """

    def __init__(self, sql: Database, config: TownConfig, *, without: frozenset[Hold], rows: frozenset[str]) -> None:
        """Lift the holds `without` for the rows `rows`."""
        super().__init__(sql, config, {})
        self._without = without
        self._freed = rows

    def settings(self, rig_id: str | None) -> EffectiveSettings:
        """The settings of a rig, without the limit on polecats if `rig_full` is lifted."""
        found = super().settings(rig_id)
        return replace(found, max_polecats=None) if "rig_full" in self._without else found

    @property
    def triage(self) -> TriageState:
        """What triage has come to, with one more batch allowed if `triage_exhausted` is lifted."""
        found = super().triage
        if "triage_exhausted" not in self._without:
            return found
        return replace(found, fruitless=min(found.fruitless, limits.TRIAGE_FRUITLESS_LIMIT - 1))

    @cached_property
    def issues(self) -> tuple[live.Issue, ...]:
        """Live issues; the freed ones lose the label `gt:held`, and get a rig if they have none."""
        return tuple(self._free(issue) if issue.id in self._freed else issue for issue in super().issues)

    @cached_property
    def reviews(self) -> tuple[live.LiveReview, ...]:
        """Live merge requests. If `one_at_a_time` is lifted, the others in the rig of a freed one are left out."""
        found = super().reviews
        rigs = {review.rig_id for review in found if review.id in self._freed}
        if "one_at_a_time" not in self._without or not rigs:
            return found
        return tuple(review for review in found if review.id in self._freed or review.rig_id not in rigs)

    @cached_property
    def agents(self) -> tuple[Agent, ...]:
        """All agents; the refinery of a freed review is idle if `one_at_a_time` is lifted."""
        found = super().agents
        if "one_at_a_time" not in self._without:
            return found
        rigs = {review.rig_id for review in self.reviews if review.id in self._freed}
        return tuple(
            agent._replace(status=AgentStatus.IDLE, hook=None, hooked=None)
            if agent.role is Role.REFINERY and agent.rig_id in rigs and agent.hook not in self._freed
            else agent
            for agent in found
        )

    @cached_property
    def blockers(self) -> Mapping[str, tuple[live.Blocker, ...]]:
        """Unresolved blockers; the freed beads have none."""
        found = super().blockers
        if "blocked_by" not in self._without:
            return found
        return {dependent: blockers for dependent, blockers in found.items() if dependent not in self._freed}

    @cached_property
    def staged_beads(self) -> frozenset[str]:
        """Beads of staged convoys, without the freed ones."""
        return super().staged_beads - self._freed if "staged" in self._without else super().staged_beads

    @cached_property
    def convoys(self) -> tuple[live.OpenConvoy, ...]:
        """Open convoys; the freed ones are not staged."""
        if "staged" not in self._without:
            return super().convoys
        return tuple(replace(each, staged=each.staged and each.id not in self._freed) for each in super().convoys)

    @cached_property
    def in_review(self) -> Mapping[str, live.ReviewCounts]:
        """Issues in review; the freed ones have no live review."""
        if "review_live" not in self._without:
            return super().in_review
        return {
            issue_id: replace(settled, live=0) if issue_id in self._freed else settled
            for issue_id, settled in super().in_review.items()
        }

    @cached_property
    def unfinished_effects(self) -> frozenset[tuple[str, str]]:
        """Unfinished effects, without those of freed rows."""
        found = super().unfinished_effects
        if "effect_unfinished" not in self._without:
            return found
        return frozenset(effect for effect in found if effect[1] not in self._freed)

    @cached_property
    def triage_batch(self) -> live.Issue | None:
        """A live triage batch, unless `batch_live` is lifted."""
        return None if "batch_live" in self._without else super().triage_batch

    def _free(self, issue: live.Issue) -> live.Issue:
        if "held" in self._without:
            issue = issue._replace(labels=tuple(label for label in issue.labels if label != Label.HELD))
        if "no_rig" in self._without and issue.rig_id is None:
            issue = issue._replace(rig_id=next(iter(sorted(self.rigs)), ""))
        return issue
