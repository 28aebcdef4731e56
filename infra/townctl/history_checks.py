"""What `townctl doctor` checks of the history of a town: its objects, and that every commit was made by what may commit."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from shared.domain.errors import Refused, TownError
from shared.domain.restores import InPlaceRestore, restore_in
from shared.domain.times import from_text, to_text
from shared.history.commits import made_by_nothing, unrecorded_commits
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.ports.town_store import TownImage
from shared.replay import faithful
from shared.replay.time_window import PageLimits, Window
from shared.storage import examination, remaking
from shared.storage.examination import Problem
from shared.storage.restore import KeptPast
from shared.town import database, journal
from shared.town.town_keys import TownKeys

TICKS_RUN_AGAIN: Final = 100
"""So many of the newest ticks are run again and compared with their commits."""


def problems(kept: KeptPast, image: TownImage | None) -> Iterator[Problem]:
    """Everything that is wrong with the history. `image` is the newest one, None if it is lost."""
    rows, restores, index = ([], (), 0) if image is None else _journal(image)
    yield from drive(
        examination.problems(kept, first_row=rows[0] if rows else None, restores=restores, archive_index=index)
    )
    said = set()
    for commit in drive(unrecorded_commits(kept)):
        said.add(made_by_nothing(commit.txid, commit.time))
        yield _not_recorded(kept.town_id, commit.txid, made_by_nothing(commit.txid, commit.time))
    if image is not None and rows:
        yield from (each for each in _run_again(kept, image) if each.text not in said)


def way_back(kept: KeptPast, error: TownError) -> str:
    """How to bring back a town whose newest commit cannot be read: by making again what it lacks, else by the newest commit that
    can be read whole.
    """
    with contextlib.suppress(TownError):
        decided = drive(remaking.plan(kept))
        if drive(remaking.leads_to_the_newest(kept, decided)):
            made = ", ".join(f"{each.key} of {each.made_of}" for each in decided.remade)
            return f"`townctl mend {kept.town_id}` makes {made} again, and the newest commit can be read as before"
    with contextlib.suppress(TownError):
        found = drive(kept.newest_readable())
        if found is not None:
            point, town_id = found.point, kept.town_id
            return (
                f"`townctl restore {town_id} --in-place --txid {point.txid}` makes commit {point.txid} of {to_text(point.time)} "
                f"the newest, the last one that can be read whole; `townctl points {town_id}` lists the others"
            )
    return error.hint


def _journal(image: TownImage) -> tuple[list[int], tuple[InPlaceRestore, ...], int]:
    """The ticks whose rows an image has, its restores, and the commit of the archive's index on which it relies."""
    with database.opened(image.image) as sql:
        keys = TownKeys(sql)
        return sorted(journal.numbers(sql)), keys.restores, keys.archive_index


def _run_again(kept: KeptPast, image: TownImage) -> Iterator[Problem]:
    """Replay the newest ticks. What the installed code did not make says nothing about the town."""
    with database.opened(image.image) as sql:
        newest = journal.rows(sql, limit=TICKS_RUN_AGAIN)
    restores = [row for row in newest if restore_in(row) is not None]
    first = newest[0] if not restores else restores[-1]
    after = first["tick_no"] - len(restores[-1:])
    past = StoredPast(kept.objects, kept.versions)
    end = max(from_text(row["now"]) for row in newest) + timedelta(days=1)
    window = Window(from_text(first["now"]), end, after)
    try:
        again = drive(faithful.replay(kept.town_id, past, window, page=PageLimits(timedelta(days=36_500))))
    except (Refused, TownError):
        return  # the history before these ticks is not kept, or damaged: that is a finding of its own
    if again.divergence is not None:
        told = again.divergence
        yield _not_recorded(
            kept.town_id, told.tick, told.reason if "commit " in told.reason else f"tick {told.tick}: {told.reason}"
        )


def _not_recorded(town_id: str, number: int, text: str) -> Problem:
    hint = (
        f"`townctl replay {town_id}` shows what is different; if it is not wanted, `townctl points {town_id}` lists the commits "
        f"before it, `townctl restore {town_id} --in-place --txid N` makes one of them the newest"
    )
    return Problem("commit", str(number), text, hint)
