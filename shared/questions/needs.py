"""The events that would change what holds a row back, about which bead, and from whom."""

from collections.abc import Iterator

from shared.questions.chains import Chains
from shared.questions.holding import Holding
from shared.questions.reasons import ENDED_BY, FAILED_ENDED_BY, OF_THE_TOWN, senders_of
from shared.questions.rows import Row
from shared.questions.waiting import Guard, Need

_ABOUT_OTHERS = ("blocked_by", "review_live", "landing_live", "work_unfinished")


def of_guards(guards: tuple[Guard, ...], row: Row, holding: Holding, chains: Chains) -> Iterator[Need]:
    """The events for all guards that time does not end, without repetition."""
    told: set[tuple[str, str | None]] = set()
    for guard in guards:
        if guard.until is not None:
            continue
        about = _about(guard, row, holding, chains)
        for event_type in _ended_by(guard, row, holding):
            bead_id = None if event_type in OF_THE_TOWN else about
            if (event_type, bead_id) not in told:
                told.add((event_type, bead_id))
                yield Need(event_type, bead_id, senders_of(event_type))


def _ended_by(guard: Guard, row: Row, holding: Holding) -> tuple[str, ...]:
    if guard.guard == "blocked_by" and not holding.blockers(row)[0]:
        return FAILED_ENDED_BY
    if guard.guard == "only_an_event" and row.agent is not None:
        return ("agent_reset", *ENDED_BY["only_an_event"])
    if guard.guard == "terminal" and row.status == "closed":
        return ()
    return ENDED_BY.get(guard.guard, ())  # type: ignore[call-overload,no-any-return] # a guard of a wait ends by time


def _about(guard: Guard, row: Row, holding: Holding, chains: Chains) -> str:
    """The bead that the event is about: mostly the row itself, else the first bead that it waits for."""
    if guard.guard == "blocked_by":
        live, failed = holding.blockers(row)
        return (live or failed)[0]
    if guard.guard == "staged":
        return holding.staged_in(row) or row.id
    if guard.guard in _ABOUT_OTHERS:
        return next(iter(chains.ahead(row.id)), row.id)
    if guard.guard in ("one_at_a_time", "rig_full"):
        return next(iter(holding.in_the_way(guard.guard, row)), row.id)
    return row.id
