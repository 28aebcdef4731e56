"""Whether a tick that ran again is the one that was committed, and where they differ if not.

History says what came of a tick in three places: in what the next tick was given, in the newest commit, in commits that are
kept. The image digest is compared, made of the pages; the rows only where it differs.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from shared.history.differences import ABSENT, Difference, of_images, of_outputs
from shared.history.rerun import Rerun, digest_of, time_of
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, PastImage, TownPast
from shared.replay.replayed import Divergence, Judgement
from shared.town import database, journal

CHANGED: Final = "the tick ran again with what is recorded, and the result is not what was committed"
NEXT_RECORD_CHANGED: Final = "the journal of this tick names another image than the one that was committed before it"
MISSING: Final = "ticks are missing in the journal"


class TickJudge:
    """Compares the ticks of one replay, in order."""

    def __init__(self, past: TownPast, newest: PastImage, running: Rerun) -> None:
        """Compare what `running` does with what is kept of the past."""
        self._past = past
        self._newest = newest
        self._running = running

    def judged(
        self, row: JournalRow, following: JournalRow | None, outputs: Mapping[str, Any], *, same_code: bool
    ) -> Steps[Judgement]:
        """Judge the tick that just ran. Where history then went on from a restored image, so does the rerun."""
        if row["sqlite_version"] != database.SQLITE_VERSION:
            return self._by_outputs(row, outputs, same_code=same_code)
        if following is not None and following["tick_no"] != row["tick_no"] + 1:
            following = None  # rows are missing: they say nothing of this tick
        wanted = self._after(row, following)
        if wanted == self._running.digest:
            return Judgement(equal=True, proof="image")
        kept = yield from self._past.after_tick(self._running.town_id, row["tick_no"])
        own = next((image for image in kept if _holds(image, row["tick_no"])), None)
        restored = next((image for image in kept if image is not own and digest_of(image) == wanted), None)
        proven = own is not None and digest_of(own) == self._running.digest
        if proven and restored is None and following is not None:
            return Judgement(
                equal=True, proof="image", divergence=_next_record_changed(self._running.digest, following)
            )
        if own is None and wanted is None:
            return Judgement(equal=None, proof="none")
        if not proven and (own is not None or restored is None):
            return self._different(row, wanted, own, outputs, same_code=same_code)
        if restored is None:
            return Judgement(equal=True, proof="image")
        self._running.restart(restored)
        note = f"after this tick commit {restored.txid} brought back an older state; it goes on from there"
        return Judgement(equal=True if proven else None, proof="image" if proven else "none", note=note)

    def judged_by_outputs(self, row: JournalRow, outputs: Mapping[str, Any]) -> Judgement:
        """Compare what a tick did, where its state has parted from history before."""
        apart = of_outputs(row, outputs)
        return Judgement(equal=not apart, proof="outputs", differences=apart)

    def _after(self, row: JournalRow, following: JournalRow | None) -> str | None:
        """The image digest after a tick, as history has it."""
        if following is not None:
            given: str = following["prev_image_digest"]
            return given
        return digest_of(self._newest) if self._newest.tick_no == row["tick_no"] else None

    def _different(
        self, row: JournalRow, wanted: str | None, own: PastImage | None, outputs: Mapping[str, Any], *, same_code: bool
    ) -> Judgement:
        found: tuple[Difference, ...] = () if own is None else of_images(own.image, self._running.image)
        found = found or of_outputs(row, outputs)
        found = found or (Difference("ticks", str(row["tick_no"]), "image digest", wanted, self._running.digest),)
        if not same_code:
            return Judgement(equal=False, proof="image", differences=found)
        broken = Divergence(row["tick_no"], time_of(row), found, CHANGED)
        return Judgement(equal=False, proof="image", differences=found, divergence=broken)

    def _by_outputs(self, row: JournalRow, outputs: Mapping[str, Any], *, same_code: bool) -> Judgement:
        apart = of_outputs(row, outputs)
        note = (
            f"bytes are not compared: the tick ran with SQLite {row['sqlite_version']}, this is "
            f"{database.SQLITE_VERSION}; compared is what it did"
        )
        broken = Divergence(row["tick_no"], time_of(row), apart, CHANGED) if apart and same_code else None
        return Judgement(equal=not apart, proof="outputs", differences=apart, divergence=broken, note=note)


def missing(first: int, last: int, at: datetime) -> Divergence:
    """Rows that the journal does not hold; `at` is when it goes on, or ends."""
    key = str(first) if first == last else f"{first} to {last}"
    return Divergence(first, at, (Difference("ticks", key, "*", "a row in the journal", ABSENT),), MISSING)


def _next_record_changed(digest: str, following: JournalRow) -> Divergence:
    said = Difference("ticks", str(following["tick_no"]), "prev_image_digest", digest, following["prev_image_digest"])
    return Divergence(following["tick_no"], time_of(following), (said,), NEXT_RECORD_CHANGED)


def _holds(image: PastImage, tick_no: int) -> bool:
    """Whether this is the commit of the tick itself: a restore in place keeps no row of it."""
    with database.opened(image.image) as sql:
        return journal.has_row(sql, tick_no)
