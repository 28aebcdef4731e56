"""When two orders are the same to the one who performs them, and which beads, pull requests and branches an order is about.

The recorded result of an effect answers the recorded order. If the changed town gives another order under the same effect id,
that result is not its result.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from shared.domain.notes import BranchNotes
from shared.domain.report import ClaimedEffect
from shared.domain.states import EffectKind
from shared.domain.times import from_text
from shared.history.differences import Difference, of_values, shown

_NOT_ACTED_ON: Final[Mapping[EffectKind, frozenset[str]]] = {
    EffectKind.STOP_AGENT: frozenset({"reason"}),
    EffectKind.STOP_CONTAINER: frozenset({"reason"}),
    EffectKind.SEND_NUDGE: frozenset({"priority"}),
    EffectKind.NOTIFY_MAYOR: frozenset({"subject"}),
    EffectKind.REFRESH_TOKEN: frozenset({"coordinators"}),
}
"""The fields of an order that change nothing about how it is performed, and nothing about its result (`runner/perform.py`)."""
_READS: Final = frozenset({EffectKind.POLL_PR, EffectKind.VERIFY_MERGE})
_ON_PLACES: Final = _READS | {
    EffectKind.DISPATCH_AGENT,
    EffectKind.MERGE_PR,
    EffectKind.UPDATE_BRANCH,
    EffectKind.DEQUEUE,
    EffectKind.REQUEST_REVIEW,
}
"""The effects whose results depend on what was done before to their bead, pull request or branch."""


def changed_fields(then: ClaimedEffect, now: ClaimedEffect, shift: timedelta) -> tuple[Difference, ...]:
    """Where the order of the changed town differs from the recorded one; empty if who performs it would do the same.

    Times exactly `shift` apart count as equal.
    """
    ignored = _NOT_ACTED_ON.get(EffectKind(now.kind), frozenset())
    left, right = (
        {name: value for name, value in each.payload.items() if name not in ignored and value is not None}
        for each in (then, now)
    )
    found = of_values("outbox", now.effect_id, "payload", left, right)
    return shown(each for each in found if not shifted(each.expected, each.got, shift))


def shifted(then: object, now: object, shift: timedelta) -> bool:
    """Whether both are times and `shift` apart, stored as text or as the JSON of a town key."""
    if not shift:
        return False
    try:
        return from_text(str(now).strip('"')) - from_text(str(then).strip('"')) == shift
    except ValueError:
        return False


def changes_its_places(effect: ClaimedEffect) -> bool:
    """Whether performing it may change what later effects on the same places find."""
    return effect.kind in _ON_PLACES and effect.kind not in _READS


def places_of(effect: ClaimedEffect) -> frozenset[str]:
    """The bead, the pull request and the branch that an effect acts on or reads; empty if its result depends on none."""
    return frozenset(_places(effect)) if effect.kind in _ON_PLACES else frozenset()


def bead_of(effect: ClaimedEffect) -> str | None:
    """The bead that an effect is about; None for an effect about an agent, the container or the town."""
    if effect.kind == EffectKind.DISPATCH_AGENT:
        return _text(_part(effect.payload, "bead").get("id"))
    return _text(effect.payload.get("bead_id"))


def _places(effect: ClaimedEffect) -> Iterator[str]:
    order = effect.payload
    bead = _part(order, "bead")
    metadata = _part(bead, "metadata")
    review = _text(metadata.get(BranchNotes.mr_bead_id.name))
    for kind, named in (
        ("bead", bead_of(effect)),
        ("bead", review),
        ("pull request", _text(order.get("pr_url"))),
        ("branch", _text(order.get("branch"))),
    ):
        if named:
            yield f"{kind} {named}"


def _part(value: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
