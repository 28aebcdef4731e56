"""The event bead_cancelled: it ends a bead and everything that belongs to it (spec/events.md 4.3b)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from shared.actions import StopAgent
from shared.domain.outcomes import MISSING, TERMINAL, Applied
from shared.domain.states import BeadStatus, BeadType
from shared.events import speakers
from shared.events.base import Event, EventResult
from shared.events.fields import FreeText
from shared.town import belonging, lookup
from shared.town.inbox import Fact
from shared.town.town import Town
from shared.town.writing import beads, hooks, reviews
from shared.town.writing.beads import Failure

_FAILURE = Failure("cancelled", "the bead was cancelled", "user")


class BeadCancelled(Event):
    """Somebody no longer wants a bead."""

    event_type = "bead_cancelled"
    needs = ("bead_id",)
    senders = frozenset({"coordinator", "operator"})
    mayor_only = True

    cancel_status: Literal["closed", "failed"] = "failed"
    by: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """End the bead and its live merge requests; of a convoy or molecule, also all live beads in it. Their agents stop."""
        bead_id = fact.bead_id
        bead_type = None if bead_id is None else belonging.type_of(town, bead_id)
        if bead_id is None or bead_type is None:
            return EventResult(MISSING)
        cancelled = _Cancelled(town, BeadStatus(self.cancel_status), speakers.by(fact, self.by))
        cancelled.end(bead_id, bead_type)
        return EventResult(Applied() if cancelled.something else TERMINAL, tuple(cancelled.stops))


class _Cancelled:
    """What one cancellation has ended so far."""

    def __init__(self, town: Town, to: BeadStatus, actor: str) -> None:
        self._town = town
        self._to = to
        self._actor = actor
        self.stops: list[StopAgent] = []
        self._seen: set[str] = set()
        self.something = False
        """Whether any bead was ended. Agents are released in any case."""

    def end(self, bead_id: str, bead_type: str) -> None:
        """End a bead after the beads in it, and before its live merge requests."""
        self._seen.add(bead_id)
        for each, its_type in self._inside(bead_id, bead_type):
            if each not in self._seen:
                self.end(each, its_type)
        if bead_type == BeadType.MERGE_REQUEST:
            self._end_review(bead_id)
            return
        moved = beads.move(self._town, bead_id, self._to, actor=self._actor, reason="cancelled", failure=_FAILURE)
        self.something |= moved == "moved"
        self.stops += release(self._town, bead_id, reason="bead cancelled")
        ended = end_reviews(self._town, bead_id, _FAILURE, actor=self._actor, reason="cancelled")
        self.something |= ended.any
        self.stops += ended.stops

    def _inside(self, bead_id: str, bead_type: str) -> Iterator[tuple[str, str]]:
        if bead_type == BeadType.CONVOY:
            yield from belonging.live_members(self._town, bead_id)
        elif bead_type == BeadType.MOLECULE:
            yield from belonging.live_children(self._town, bead_id)

    def _end_review(self, review_id: str) -> None:
        """A merge request that is cancelled always fails, because a closed one counts as merged."""
        ended = reviews.complete(
            self._town, review_id, "failed", message="cancelled", failure=_FAILURE, actor=self._actor, hold=True
        )
        self.something |= ended
        self.stops += release(self._town, review_id, reason="bead cancelled")


@dataclass(frozen=True, slots=True)
class EndedReviews:
    """Whether a bead had live merge requests, and the actions that stop the agents which worked on them."""

    any: bool
    stops: tuple[StopAgent, ...]


def end_reviews(town: Town, bead_id: str, failure: Failure, *, actor: str, reason: str) -> EndedReviews:
    """Fail each live merge request of a bead that somebody has ended, by id, so that nothing of it is merged any more."""
    reviews_of_it = lookup.live_reviews_of(town, bead_id)
    stops: list[StopAgent] = []
    for review in reviews_of_it:
        beads.move(town, review, BeadStatus.FAILED, actor=actor, reason=reason, failure=failure)
        stops += release(town, review, reason="bead cancelled")
    return EndedReviews(bool(reviews_of_it), tuple(stops))


def release(town: Town, bead_id: str, *, reason: str) -> tuple[StopAgent, ...]:
    """Unhook every agent from a bead; returns the actions that stop the working and stalled ones, by agent id."""
    stops = []
    for agent in lookup.agents_hooked_to(town, bead_id):
        if agent.status.busy:
            stops.append(StopAgent(agent_id=agent.id, reason=reason))
        hooks.unhook(town, agent.id)
    return tuple(stops)
