"""What in a town needs attention: the only definition, for the exit code of `townctl town status` and for pages.

Something needs attention if the town does not go on by itself and nobody has stopped it on purpose. So a bead that a person holds
back or has cancelled, a convoy that is not started and a paused town need none.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

from shared.domain.shapes import Time, answer
from shared.questions.waiting import BY_PEOPLE

if TYPE_CHECKING:
    from shared.questions.status import TownStatus

AttentionKind = Literal["violation", "unreadable", "set_aside", "poisoned", "failed", "escalation", "waits", "mayor"]
_ON_PURPOSE: Final = frozenset({"held", "staged", "paused"})
_TOLD_BY_THE_FAILED: Final = frozenset({"failed_dependency"})


@answer
class Attention:
    """Something that needs attention. `about` is the bead or row; null for the town as a whole.

    `failed` is a bead that failed in the last 24 hours and was not cancelled, or that holds others back; `escalation` one that
    nobody has acknowledged; `waits` another live bead that only a person can move; `mayor` what the mayor said last, if nobody has
    answered it.
    """

    kind: AttentionKind
    about: str | None
    since: Time | None


def attention_of(town: "TownStatus") -> tuple[Attention, ...]:
    """Everything in a status that needs attention, the worst first."""
    return tuple(_found(town))


def _found(town: "TownStatus") -> Iterator[Attention]:
    yield from (Attention("violation", each.subject, each.opened_at) for each in town.violations)
    yield from (Attention("unreadable", each.key, None) for each in town.unreadable)
    if town.set_aside is not None:
        yield Attention("set_aside", None, town.set_aside.since)
    if town.events.poisoned:
        yield Attention("poisoned", None, None)
    yield from (
        Attention("failed", each.bead_id, each.failed_at)
        for each in town.failed
        if each.reason != "cancelled" or each.holds_back
    )
    yield from _waits(town)
    yield from _mayor(town)


def _waits(town: "TownStatus") -> Iterator[Attention]:
    types = {bead.bead_id: bead.type for bead in town.beads}
    wanted = BY_PEOPLE - _ON_PURPOSE - _TOLD_BY_THE_FAILED
    for each in town.waiting:
        if types.get(each.bead_id) == "escalation":
            if each.guards[0].guard != "acknowledged":
                yield Attention("escalation", each.bead_id, each.since)
        elif each.reason in wanted:
            yield Attention("waits", each.bead_id, each.since)


def _mayor(town: "TownStatus") -> Iterator[Attention]:
    """The mayor, if it waits and has had the last word."""
    for mayor in (agent for agent in town.agents if agent.role == "mayor" and agent.status == "waiting"):
        said = next(iter(town.mayor_said), None)
        if said is not None and not said.answered:
            yield Attention("mayor", mayor.agent_id, said.at)
