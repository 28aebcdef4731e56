"""Makes a recording of a window: proves the window, masks the texts, runs the masked ticks, and records the results."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final

from shared.domain.errors import Refused
from shared.domain.restores import restore_in
from shared.domain.tick import config_digest
from shared.domain.times import to_text
from shared.history.rerun import Rerun, input_of, past_digest
from shared.images import dump, image_digest, summary
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, PastImage, TownPast, journal_row
from shared.replay import faithful
from shared.replay.recordings import changes
from shared.replay.recordings.changes import Changes
from shared.replay.recordings.file_format import RecordedTick, Recording, page_marks
from shared.replay.recordings.scrubbing import Scrubbing, decisions_of, require_clean
from shared.replay.replayed import Replay
from shared.replay.starting_point import starting_point
from shared.replay.time_window import PageLimits, Window
from shared.runner.code_version import code_version
from shared.town import database, journal

_ONE_FILE: Final = PageLimits()


@dataclass(frozen=True, slots=True)
class RecordingResult:
    """The recording, if every tick of the window is proven by its image; else `problem` says what is not proven."""

    history: Replay
    recording: Recording | None
    problem: str | None = None


def record(town_id: str, past: TownPast, wanted: Window) -> Steps[RecordingResult]:
    """Record a window. Raises Refused if it is empty, too wide or too old, or if texts cannot be removed from it."""
    history = yield from faithful.replay(town_id, past, wanted, page=_ONE_FILE)
    problem = _unproven(history)
    if problem is not None:
        return RecordingResult(history, None, problem)
    if history.cursor is not None:
        reached = to_text(history.ticks[-1].time)
        hint = f"set `to` to {reached}, and make another recording of the rest"
        raise Refused("the window is too long for one recording", status=400, path="to", hint=hint)
    if not history.ticks:
        raise Refused(
            "no tick ran in this window", status=404, path="from", hint="`townctl ticks` shows when ticks ran"
        )
    base, rows, written = yield from _as_it_was(town_id, past, history)
    return RecordingResult(history, scrubbed(base, rows, written))


def scrubbed(base: PastImage, rows: Sequence[JournalRow], written: Sequence[Changes]) -> Recording:
    """The recording of these ticks, without the texts that people wrote.

    Raises Refused if the town would decide differently without these texts.
    """
    scrubbing = Scrubbing(base.town_id, base.image, written)
    given = [scrubbing.given(row) for row in rows]
    image = scrubbing.image(base.image)
    require_clean(image, given)
    start = replace(base, image=image, txid=base.tick_no)
    with closing(Rerun(start)) as running:
        changes.watch(running)
        ticks = tuple(
            _recorded(running, row, before=scrubbing.decisions(old["outputs"]))
            for row, old in zip(given, rows, strict=True)
        )
    return Recording(
        town_id=base.town_id,
        image=image,
        image_digest=image_digest.of_image(image),
        page_marks=page_marks(image),
        base_tick=base.tick_no,
        base_at=base.tick_at or base.committed_at,
        last_tick=rows[-1]["tick_no"],
        sqlite_version=database.SQLITE_VERSION,
        code_version=code_version(),
        masked=scrubbing.masks.count,
        ticks=ticks,
    )


def _as_it_was(
    town_id: str, past: TownPast, history: Replay
) -> Steps[tuple[PastImage, list[JournalRow], list[Changes]]]:
    """The image before the first tick of the window, the rows of its ticks, and what each of them wrote."""
    start, rows = yield from starting_point(town_id, past, history.from_)
    first, last = history.ticks[0].tick, history.ticks[-1].tick
    base, found, written = start, list[JournalRow](), list[Changes]()
    with closing(Rerun(start)) as running:
        while (row := rows.next) is not None and row["tick_no"] <= last:
            if restore_in(row) is not None:
                yield from rows.advance()
                continue
            if row["prev_image_digest"] != running.digest:
                yield from _restart(running, past, row)
            if row["tick_no"] == first:
                base = running.as_past(start)
                about = summary.before_tick(running.sql)
                base = replace(base, tick_at=about.last_tick_at)
                changes.watch(running)
            running.run(input_of(row))
            if row["tick_no"] >= first:
                found.append(row)
                written.append(changes.of_tick(running))
            yield from rows.advance()
        return base, found, written


def _restart(running: Rerun, past: TownPast, row: JournalRow) -> Steps[None]:
    """Continue from the restored image, if a restore in place came before this tick."""
    kept = yield from past.after_tick(running.town_id, row["tick_no"] - 1)
    for image in kept:
        if past_digest(image) == row["prev_image_digest"]:
            running.restart(image)


def _unproven(history: Replay) -> str | None:
    """Why a window cannot be recorded; None if every tick in it is proven by its pages."""
    if history.divergence is not None:
        return f"tick {history.divergence.tick}: {history.divergence.reason}"
    if history.stopped is not None:
        return history.stopped
    for tick in history.ticks:
        if tick.restore is not None:
            return f"tick {tick.tick}: {tick.note}; make one recording before it and one after it"
        if tick.compared_by != "image" or not tick.equal:
            return f"tick {tick.tick} is not proven to be what happened: {tick.note or 'it differs'}"
        if tick.note is not None and tick is not history.ticks[-1]:
            return f"tick {tick.tick}: {tick.note}; make one recording before it and one after it"
    return None


def _recorded(running: Rerun, row: JournalRow, *, before: list[tuple[Any, ...]]) -> RecordedTick:
    """Run a masked tick and record the result. Raises Refused if it decides differently from the original."""
    config = summary.before_tick(running.sql).config
    given = journal_row({**row, "config_digest": config_digest(config), "prev_image_digest": running.digest})
    report = running.run(input_of(given))
    now = decisions_of(report)
    if now != before:
        differs = next((pair for pair in zip(before, now, strict=False) if pair[0] != pair[1]), (len(before), len(now)))
        raise Refused(
            f"tick {row['tick_no']} decides differently when texts are masked: {differs[0]} became {differs[1]}"[:400],
            status=409,
            path="scrubbing",
            hint="record a window that ends before it or begins after it",
        )
    [stored] = journal.rows(running.sql, limit=1)
    return RecordedTick(
        row=journal_row(stored),
        image_digest=running.digest,
        logical_digest=dump.logical_digest(running.sql),
        changes=changes.of_tick(running),
    )
