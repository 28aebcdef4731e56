"""How each bead ends in history and in the changed town, and whether that is known."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from shared.domain.shapes import answer
from shared.history.rerun import Rerun
from shared.questions import standings
from shared.questions.standings import BeadStanding


@answer
class BeadEnd:
    """A bead at the end of the window: in history, and in the changed town; null where it does not exist.

    `known` is false if its end depends on an effect whose result is unknown: then `now` is how it would stand if nobody had
    answered, and not what would have happened.
    """

    bead_id: str
    title: str
    then: BeadStanding | None
    now: BeadStanding | None
    known: bool


def ends_of(
    history: Rerun, changed: Rerun, at: datetime, *, shift: timedelta, unknown: Iterable[str]
) -> tuple[BeadEnd, ...]:
    """The beads that end in another way, and those whose end is unknown."""
    then = standings.of_beads(history, at)
    now = standings.of_beads(changed, at + shift)
    first = tuple(unknown)
    doubtful = standings.that_follow(changed.sql, first) | standings.that_follow(history.sql, first)
    found = []
    for bead_id in {**then, **now}:
        before, after = then.get(bead_id), now.get(bead_id)
        if before is None or after is None:
            side = changed if before is None else history
            doubtful |= {bead_id} if standings.linked_to(side.sql, bead_id) & doubtful else set()
        same = before is not None and after is not None and before.standing == after.standing
        if same and bead_id not in doubtful:
            continue
        titles = [each.title for each in (after, before) if each is not None]
        found.append(
            BeadEnd(
                bead_id,
                titles[0],
                None if before is None else before.standing,
                None if after is None else after.standing,
                bead_id not in doubtful,
            )
        )
    return tuple(found)
