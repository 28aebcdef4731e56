"""A town as it was at a past time: the newest image that was committed up to then, and the recorded ticks after it, run again."""

from datetime import datetime

from shared.domain.errors import Refused
from shared.domain.limits import just_after
from shared.domain.restores import restore_in
from shared.domain.times import to_text
from shared.history.journal_rows import JournalRows, ticks_text
from shared.history.rerun import Rerun, input_of, time_of
from shared.ports.steps import Steps
from shared.ports.town_past import PastImage, TownPast


def image_at(town_id: str, past: TownPast, at: datetime) -> Steps[PastImage]:
    """The newest image committed up to `at`, else the oldest kept image. Raises Refused (400) if its last tick is later."""
    found = yield from past.before(town_id, just_after(at))
    if found is not None:
        return found
    oldest = yield from past.oldest(town_id)
    since = oldest.tick_at or oldest.committed_at
    if since > at:
        raise Refused(
            f"at is too early: the history of this town is kept from {to_text(since)} on",
            status=400,
            path="at",
            hint=f"ask for {to_text(since)} or later",
        )
    return oldest


def roll_forward(running: Rerun, past: TownPast, at: datetime, *, installed: str) -> Steps[list[str]]:
    """Run the recorded ticks from the kept image up to `at`. Returns notes about anything uncertain.

    `installed` is the version of the code that runs them.
    """
    notes: list[str] = []
    rows = JournalRows(past, running.town_id)
    yield from rows.start_after(running.tick_no)
    while (row := rows.next) is not None and time_of(row) <= at and restore_in(row) is None:
        if row["tick_no"] != running.tick_no + 1:
            notes.append(
                f"the journal lacks {ticks_text(running.tick_no + 1, row['tick_no'] - 1)}: the state shown is the one before them"
            )
            break
        if row["code_version"] != installed and not notes:
            notes.append(
                f"tick {row['tick_no']} was made by other code: the state shown is the result of the installed code"
            )
        running.run(input_of(row))
        yield from rows.advance()
    return notes
