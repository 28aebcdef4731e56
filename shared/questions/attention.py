"""What in a town needs attention: the only definition, for the exit code of `townctl town status` and for pages.

Something needs attention if the town does not go on by itself and nobody has stopped it on purpose. So a bead that a person holds
back or has cancelled, a convoy that is not started and a paused town need none.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from shared.domain.shapes import Time, answer
from shared.domain.states import BeadType
from shared.questions.failures import FailedLine
from shared.questions.mailbox import Saying
from shared.questions.overview import BeadLine
from shared.questions.waiting import BY_PEOPLE, Waiting

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


def of_failed(failed: Iterable[FailedLine]) -> Iterator[Attention]:
    """The failed beads that were not cancelled, or that hold others back."""
    for each in failed:
        if each.reason != "cancelled" or each.holds_back:
            yield Attention("failed", each.bead_id, each.failed_at)


def of_waits(waiting: Iterable[Waiting], beads: Iterable[BeadLine]) -> Iterator[Attention]:
    """The beads that only a person can move. One behind a failed bead is told by the failed one."""
    escalations = {bead.bead_id for bead in beads if bead.type is BeadType.ESCALATION}
    wanted = BY_PEOPLE - _ON_PURPOSE - _TOLD_BY_THE_FAILED
    for each in waiting:
        if each.bead_id in escalations:
            if each.guards[0].guard != "acknowledged":
                yield Attention("escalation", each.bead_id, each.since)
        elif each.reason in wanted:
            yield Attention("waits", each.bead_id, each.since)


def of_mayor(waiting_mayor: str | None, said: Sequence[Saying]) -> Iterator[Attention]:
    """The mayor, if it waits and has had the last word. `said` is what it has said, newest first."""
    if waiting_mayor is not None and said and not said[0].answered:
        yield Attention("mayor", waiting_mayor, said[0].at)
