"""What history knows about the changed town: which of its effects have a recorded result, and which reports are its agents'.

A recorded result answers one order, given in one situation. It is a result of the changed town only if that town gives the same
order, and if both towns have done the same before to the bead, the pull request and the branch that the order is about.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from shared.domain import canonical, strict_json
from shared.domain.processes import ProcessStatus
from shared.domain.report import Claim, ClaimedEffect
from shared.domain.shapes import Time, answer
from shared.domain.states import EffectKind
from shared.domain.tick import Envelope
from shared.events import BY_TYPE
from shared.history.differences import Difference
from shared.replay.what_if import orders

Attempt = tuple[str, int]
"""Effect id and number of the attempt."""
Generation = tuple[str, int]
"""An agent, and a generation of it."""
WhyUnknown = Literal["never_made", "other_order", "other_past", "reported_before", "stopped"]
"""Why the result of an effect is unknown. `never_made`: history did not make this attempt. `other_order`: history gave another
order. `other_past`: the order is the same, but something else was done before to the same bead, pull request or branch.
`reported_before`: its agent reported in history before the changed town had started it. `stopped`: history stopped the agent, and
the changed town did not, so nothing says what it would have done next.
"""
_OF_PROCESSES: Final = frozenset({"container_status"})
"""The events about the process of an agent that is not the agent's own report."""


@answer
class UnknownEffect(Claim):
    """An effect of the changed town whose result is unknown, the tick after which it began, and the bead that it is about.

    `order` are the fields of the order that differ from the recorded one, if history gave another order.
    """

    tick: int
    time: Time
    bead_id: str | None
    why: WhyUnknown
    order: tuple[Difference, ...]


class _Made(NamedTuple):
    """An attempt, and what had been done before to its places."""

    effect: ClaimedEffect
    before: frozenset[str]
    tick: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of attempts of the changed town: those whose recorded result is theirs, and those whose result is unknown."""

    answered: tuple[ClaimedEffect, ...]
    unknown: tuple[UnknownEffect, ...]


class Knowledge:
    """Compares what both towns have ordered, tick by tick."""

    def __init__(self, tried: frozenset[Attempt], shift: timedelta) -> None:
        """`tried` are all attempts that history made in the window."""
        self._tried = tried
        self._shift = shift
        self._then: dict[Attempt, _Made] = {}
        self._early: dict[Attempt, _Made] = {}
        self._done_then: dict[str, frozenset[str]] = {}
        self._done_now: dict[str, frozenset[str]] = {}
        self._started_then: dict[str, int] = {}
        self._unread: set[Attempt] = set()
        self._strangers: set[Generation] = set()
        self._missed: set[Generation] = set()
        self.unheard: dict[Generation, int] = {}

    def leave_unread(self, attempts: Iterable[Attempt]) -> None:
        """Note that history made these attempts, and that their orders are not kept: their recorded results are taken."""
        self._unread.update(attempts)

    def judge(self, tick: int, at: datetime, then: Iterable[ClaimedEffect], now: Iterable[ClaimedEffect]) -> Verdict:
        """Judge the effects that history and the changed town claimed in the same tick, or after it.

        An attempt that the changed town makes earlier than history is judged once history makes it.
        """
        claimed, recorded = tuple(now), tuple(then)
        made = [_Made(each, self._before(self._done_now, each), tick, at) for each in claimed]
        for effect in recorded:
            self._then[_attempt(effect)] = _Made(effect, self._before(self._done_then, effect), tick, at)
            if effect.kind == EffectKind.DISPATCH_AGENT:
                self._started_then[effect.subject] = effect.generation
                self._strangers.add((effect.subject, effect.generation))
        judged = sorted(attempt for attempt in self._early if attempt in self._then or attempt in self._unread)
        made += [self._early.pop(attempt) for attempt in judged]
        self._note(self._done_then, recorded)
        self._note(self._done_now, claimed)
        return self._verdict(made)

    def _verdict(self, made: Iterable[_Made]) -> Verdict:
        answered, unknown = [], []
        for each in made:
            attempt = _attempt(each.effect)
            if attempt in self._tried and attempt not in self._then and attempt not in self._unread:
                self._early[attempt] = each
                continue
            why, order = self._why(each)
            if why is not None:
                unknown.append(_unknown(each, why, order))
                continue
            answered.append(each.effect)
            if each.effect.kind == EffectKind.DISPATCH_AGENT:
                self._strangers.discard((each.effect.subject, each.effect.generation))
        return Verdict(tuple(answered), tuple(unknown))

    def _why(self, made: _Made) -> tuple[WhyUnknown | None, tuple[Difference, ...]]:
        """Why the result of an attempt is unknown, and where its order differs from the recorded one; None if it is known."""
        then = self._then.get(_attempt(made.effect))
        if then is None:
            return (None if _attempt(made.effect) in self._unread else "never_made"), ()
        if orders.bead_of(then.effect) != orders.bead_of(made.effect):
            return "never_made", ()  # history started the same generation of the agent for another bead
        order = orders.changed_fields(then.effect, made.effect, self._shift)
        if order:
            return "other_order", order
        if then.before != made.before:
            return "other_past", ()
        is_start = made.effect.kind == EffectKind.DISPATCH_AGENT
        if is_start and (made.effect.subject, made.effect.generation) in self._missed:
            return "reported_before", ()
        return None, ()

    def is_heard(self, event: Envelope) -> bool:
        """Whether the changed town receives this event of history: not if it comes from a process that only history started."""
        reporting = self._reporter(event)
        if reporting is None or reporting not in self._strangers:
            return True
        self.unheard[reporting] = self.unheard.get(reporting, 0) + 1
        known = BY_TYPE.get(event.event_type)
        if known is None or not known.transient:
            self._missed.add(reporting)
        return False

    def is_seen(self, agent_id: str, seen: ProcessStatus) -> bool:
        """Whether the changed town observes this process of history: not if only history started it."""
        generation = self._started_then.get(agent_id) if seen.generation is None else seen.generation
        return generation is None or (agent_id, generation) not in self._strangers

    def _reporter(self, event: Envelope) -> Generation | None:
        """The agent and its generation that an event comes from or whose process it is about; None for all other events."""
        sent_by = None if event.sender is None else event.sender.agent
        if sent_by is None and not _is_of_its_agent(event):
            return None
        agent_id = sent_by or event.agent_id
        if agent_id is None:
            return None
        generation = event.generation
        if generation is None:
            generation = _generation_in(event.payload) or self._started_then.get(agent_id)
        return None if generation is None else (agent_id, generation)

    @staticmethod
    def _before(done: Mapping[str, frozenset[str]], effect: ClaimedEffect) -> frozenset[str]:
        return frozenset().union(*(done.get(place, frozenset()) for place in orders.places_of(effect)))

    def _note(self, done: dict[str, frozenset[str]], effects: Iterable[ClaimedEffect]) -> None:
        for effect in effects:
            if orders.changes_its_places(effect):
                mark = frozenset({self._mark(effect)})
                for place in orders.places_of(effect):
                    done[place] = done.get(place, frozenset()) | mark

    def _mark(self, effect: ClaimedEffect) -> str:
        """The attempt with its order. An order that counts as the recorded one has the mark of the recorded one."""
        then = self._then.get(_attempt(effect))
        same = then is not None and not orders.changed_fields(then.effect, effect, self._shift)
        order = then.effect.payload if then is not None and same else effect.payload
        return canonical.digest([effect.effect_id, effect.attempt, dict(order)])


def _unknown(made: _Made, why: WhyUnknown, order: tuple[Difference, ...]) -> UnknownEffect:
    effect = made.effect
    return UnknownEffect(
        effect.effect_id,
        effect.kind,
        effect.subject,
        effect.generation,
        effect.attempt,
        made.tick,
        made.at,
        orders.bead_of(effect),
        why,
        order,
    )


def _attempt(effect: Claim) -> Attempt:
    return effect.effect_id, effect.attempt


def _is_of_its_agent(event: Envelope) -> bool:
    known = BY_TYPE.get(event.event_type)
    return known is not None and (known.is_own_report or event.event_type in _OF_PROCESSES)


def _generation_in(payload: str) -> int | None:
    try:
        found = strict_json.stored(payload)
    except ValueError:
        return None
    generation = found.get("generation") if isinstance(found, dict) else None
    return generation if isinstance(generation, int) and not isinstance(generation, bool) else None
