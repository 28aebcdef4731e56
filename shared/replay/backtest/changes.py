"""What other code does otherwise, change by change: the pairs of what only history did and what only the other code did.

Example: history dispatched a bead in tick 5, the other code dispatches it in tick 9. That is one change, `moved`, and not an
action that was lost and one that was gained.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final, Literal, NamedTuple

from shared.domain.report import AppliedEvent, BrokenInvariant, JudgedAction
from shared.domain.shapes import Time, answer
from shared.replay.what_if.comparison import Outputs, Parting

ChangeKind = Literal["gained", "lost", "moved", "other"]
"""`other`: both do it in the same tick, with another outcome or other fields."""
SUBJECTS: Final = ("bead_id", "convoy_id", "agent_id", "rig_id")
_MILLISECOND: Final = timedelta(milliseconds=1)


@answer
class Change:
    """One thing that only one side did, or both in different ways: `what` is `action`, `event`, `violation` or `order`; `rule` is
    that of an action, else empty; `name` is the type of the action or event, the name of the invariant, or the kind of the effect
    that carries another order.

    `tick` and `time` are history's, except for what only the other code did. `moved_ms` is how much later the other code does it.
    """

    kind: ChangeKind
    what: Literal["action", "event", "violation", "order"]
    rule: str
    name: str
    subject: str
    tick: int
    time: Time
    moved_ms: int = 0


class _Deed(NamedTuple):
    """What identifies a deed in both histories."""

    what: Literal["action", "event", "violation", "order"]
    rule: str
    name: str
    subject: str


def changes_of(partings: Sequence[Parting]) -> tuple[Change, ...]:
    """The changes in the ticks that differ, in the order of their ticks."""
    then: dict[_Deed, deque[Parting]] = defaultdict(deque)
    now: dict[_Deed, deque[Parting]] = defaultdict(deque)
    for parting in partings:
        for side, outputs in ((then, parting.only_in_history), (now, parting.only_now)):
            for deed in _deeds(outputs):
                side[deed].append(parting)
    found = [change for deed in {**then, **now} for change in _paired(deed, then[deed], now[deed])]
    found += [change for parting in partings for change in _other_orders(parting)]
    return tuple(sorted(found, key=lambda change: change.tick))


def _other_orders(parting: Parting) -> Iterator[Change]:
    for each in parting.unknown:
        if each.why == "other_order":
            yield Change("other", "order", "", each.kind, each.bead_id or each.subject, parting.tick, parting.time)


def _deeds(outputs: Outputs) -> Iterator[_Deed]:
    yield from (_of_action(judged) for judged in outputs.actions)
    yield from (_of_event(event) for event in outputs.events)
    yield from (_of_violation(broken) for broken in outputs.violations)


def _of_action(judged: JudgedAction) -> _Deed:
    subject = next((str(judged.action[name]) for name in SUBJECTS if judged.action.get(name)), "")
    return _Deed("action", judged.rule, str(judged.action["type"]), subject)


def _of_event(event: AppliedEvent) -> _Deed:
    return _Deed("event", "", event.event_type, event.event_id)


def _of_violation(broken: BrokenInvariant) -> _Deed:
    return _Deed("violation", "", broken.name, broken.subject)


def _paired(deed: _Deed, then: deque[Parting], now: deque[Parting]) -> Iterator[Change]:
    """First those that both did in the same tick, then the rest one by one: the first with the first."""
    for tick in {parting.tick for parting in then} & {parting.tick for parting in now}:
        while (old := _taken(then, tick)) is not None:
            if _taken(now, tick) is None:
                then.append(old)
                break
            yield Change("other", *deed, old.tick, old.time)
    while then and now:
        old, new = then.popleft(), now.popleft()
        yield Change("moved", *deed, old.tick, old.time, (new.time - old.time) // _MILLISECOND)
    for old in then:
        yield Change("lost", *deed, old.tick, old.time)
    for new in now:
        yield Change("gained", *deed, new.tick, new.time)


def _taken(partings: deque[Parting], tick: int) -> Parting | None:
    """Take out the first one of this tick; None if there is none."""
    for parting in partings:
        if parting.tick == tick:
            partings.remove(parting)
            return parting
    return None
