"""Decides whether a tick that was run again gives the committed image, and if not, where the two differ.

The committed image is known from three places: its digest from the input of the next tick, its pages from the newest commit
and from kept commits. The image digests are compared, computed from the pages; rows are compared only if the digests differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from shared.domain.restores import InPlaceRestore
from shared.history.commits import is_former_restore, made_by_nothing
from shared.history.differences import ABSENT, Difference, has_former_outputs, of_images, of_outputs
from shared.history.rerun import Rerun, past_digest, time_of
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, PastImage, TownPast
from shared.replay.replayed import ComparedBy, Divergence
from shared.town import database, journal

CHANGED: Final = "the tick was run again from its record, and the result is not what was committed"
NEXT_RECORD_CHANGED: Final = "the journal row of this tick names an image that is not the one committed before it"
MISSING: Final = "the journal lacks ticks"


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a tick that was run again compares with the committed one. `equal` is None if there is nothing to compare with.

    `divergence` may name the tick itself or the next one.
    """

    equal: bool | None
    proof: ComparedBy
    differences: tuple[Difference, ...] = ()
    divergence: Divergence | None = None
    note: str | None = None


# The strongest evidence is the digest that the next tick was given (`prev_image_digest`), and normally it is enough. It has
# two weak points, which kept commits resolve. First, it can be forged. If a kept commit that contains this tick's own row has
# our digest, but the next row names another one, then the next row was changed, not this tick. Second, the next tick may have
# been given another image than the tick made, because somebody committed in between. Since restores in place have a row of
# their own, such a commit was made by nothing that may commit, and the replay names it: a divergence. The exception are the
# restores of earlier releases, which kept the number of the last tick. Example: tick 41 ran, an operator restored the image
# after tick 30 (with the number 41), and tick 42 was given that image. A kept commit after tick 41 that has the expected digest,
# lacks row 41 and has the commit id of a restore shows this, and the rerun continues from that commit. Without any evidence
# the answer is "unknown" (equal None), never "equal".


class TickJudge:
    """Judges the ticks of one replay, in order."""

    def __init__(self, past: TownPast, newest: PastImage, running: Rerun) -> None:
        """Compare the ticks of `running` with what is kept in `past`."""
        self._past = past
        self._newest = newest
        self._running = running

    def judged(
        self,
        row: JournalRow,
        following: JournalRow | None,
        outputs: Mapping[str, Any],
        *,
        same_code: bool,
        migrated: tuple[str, ...] = (),
    ) -> Steps[Judgement]:
        """Judge the tick that was just run. If history then continued from a restored image, so does the rerun.

        `migrated` names the migrations that the rerun made before this tick of other code.
        """
        if row["sqlite_version"] != database.SQLITE_VERSION:
            return self._by_outputs(row, outputs, same_code=same_code)
        if following is not None and following["tick_no"] != row["tick_no"] + 1:
            following = None  # rows in between are missing, so this row says nothing about the tick
        wanted = self._after(row, following)
        if wanted == self._running.digest:
            return Judgement(equal=True, proof="image")
        kept = yield from self._past.after_tick(self._running.town_id, row["tick_no"])
        own = next((image for image in kept if _holds(image, row["tick_no"])), None)
        candidates = (*kept, self._newest)  # the newest commit may claim another tick than its image has
        other = next((image for image in candidates if not _is_one(image, own) and past_digest(image) == wanted), None)
        restored = other if other is not None and _is_former_restore(other) else None
        proven = own is not None and past_digest(own) == self._running.digest
        broken: Divergence | None = None
        if own is not None and other is not None and restored is None:
            broken = _unrecorded(row["tick_no"], own, other)
        elif proven and restored is None and following is not None:
            broken = _next_record_changed(self._running.digest, following)
        if broken is not None and own is not None:
            apart = () if proven else of_images(own.image, self._running.image)
            return Judgement(equal=proven, proof="image", differences=apart, divergence=broken)
        if own is None and wanted is None:
            return Judgement(equal=None, proof="none")
        if not proven and (own is not None or restored is None):
            if migrated:
                return self._after_migration(row, own, outputs, migrated)
            return self._different(row, wanted, own, outputs, same_code=same_code)
        if restored is None:
            return Judgement(equal=True, proof="image")
        self._running.restart(restored)
        note = f"after this tick, commit {restored.txid} restored an older state; the replay continues from there"
        return Judgement(equal=True if proven else None, proof="image" if proven else "none", note=note)

    def judged_restore(
        self, row: JournalRow, following: JournalRow | None, restore: InPlaceRestore
    ) -> Steps[Judgement | None]:
        """Continue from the commit of a restore in place, and judge whether history did so too; None if it is not kept."""
        kept = yield from self._past.after_tick(self._running.town_id, row["tick_no"])
        if not kept:
            return None
        self._running.restart(kept[0])
        if following is not None and following["tick_no"] != row["tick_no"] + 1:
            following = None
        wanted = self._after(row, following)
        if wanted is None or wanted == self._running.digest:
            return Judgement(equal=True, proof="image", note=restore.says())
        other = next((image for image in kept[1:] if past_digest(image) == wanted), None)
        if other is not None:
            broken = _unrecorded(row["tick_no"], kept[0], other)
        elif following is not None:
            broken = _next_record_changed(self._running.digest, following)
        else:
            broken = Divergence(row["tick_no"], time_of(row), (), CHANGED)
        return Judgement(equal=True, proof="image", divergence=broken, note=restore.says())

    def judged_by_outputs(self, row: JournalRow, outputs: Mapping[str, Any]) -> Judgement:
        """Judge a tick by its outputs only, because the state has already diverged from history."""
        apart = of_outputs(row, outputs)
        return Judgement(equal=not apart, proof="outputs", differences=apart)

    def _after(self, row: JournalRow, following: JournalRow | None) -> str | None:
        """The image digest after a tick according to history; None if it is not recorded."""
        if following is not None:
            given: str = following["prev_image_digest"]
            return given
        return past_digest(self._newest) if self._newest.tick_no == row["tick_no"] else None

    def _different(
        self, row: JournalRow, wanted: str | None, own: PastImage | None, outputs: Mapping[str, Any], *, same_code: bool
    ) -> Judgement:
        found: tuple[Difference, ...] = () if own is None else of_images(own.image, self._running.image)
        if not same_code and has_former_outputs(row):
            return _without_journal(found, of_outputs(row, outputs))
        found = found or of_outputs(row, outputs)
        found = found or (Difference("ticks", str(row["tick_no"]), "image digest", wanted, self._running.digest),)
        if not same_code:
            return Judgement(equal=False, proof="image", differences=found)
        broken = Divergence(row["tick_no"], time_of(row), found, CHANGED)
        return Judgement(equal=False, proof="image", differences=found, divergence=broken)

    def _after_migration(
        self, row: JournalRow, own: PastImage | None, outputs: Mapping[str, object], migrated: tuple[str, ...]
    ) -> Judgement:
        """Judge a tick from before a change of the schema, without what the migration has added."""
        found = () if own is None else of_images(own.image, self._running.image)
        note = f"the tick was made before the schema changed ({', '.join(migrated)}): what that added is not compared"
        return replace(_without_journal(found, of_outputs(row, outputs)), note=note)

    def _by_outputs(self, row: JournalRow, outputs: Mapping[str, Any], *, same_code: bool) -> Judgement:
        apart = of_outputs(row, outputs)
        note = (
            f"only the outputs are compared, not the bytes: the tick ran with SQLite {row['sqlite_version']}, and this is "
            f"SQLite {database.SQLITE_VERSION}"
        )
        broken = Divergence(row["tick_no"], time_of(row), apart, CHANGED) if apart and same_code else None
        return Judgement(equal=not apart, proof="outputs", differences=apart, divergence=broken, note=note)


def _without_journal(of_rows: tuple[Difference, ...], apart: tuple[Difference, ...]) -> Judgement:
    """Judge a tick of an earlier release by rows and outputs; its journal rows, which have another form, are not compared."""
    found = (*(each for each in of_rows if each.table != "ticks"), *apart)
    return Judgement(equal=not found, proof="outputs", differences=found)


def missing(first: int, last: int, at: datetime) -> Divergence:
    """The divergence for rows that the journal lacks; `at` is the time at which it continues or ends."""
    key = str(first) if first == last else f"{first} to {last}"
    return Divergence(first, at, (Difference("ticks", key, "*", "a row in the journal", ABSENT),), MISSING)


def _next_record_changed(digest: str, following: JournalRow) -> Divergence:
    said = Difference("ticks", str(following["tick_no"]), "prev_image_digest", digest, following["prev_image_digest"])
    return Divergence(following["tick_no"], time_of(following), (said,), NEXT_RECORD_CHANGED)


def _unrecorded(tick_no: int, before: PastImage, commit: PastImage) -> Divergence:
    """The divergence for a commit that nothing made that may commit; `before` is the commit that it replaced."""
    reason = made_by_nothing(commit.txid, commit.committed_at)
    return Divergence(tick_no, commit.committed_at, of_images(before.image, commit.image), reason)


def _is_one(image: PastImage, own: PastImage | None) -> bool:
    """Whether both are the same commit: the newest image may also be among those that are kept after a tick."""
    return own is not None and image.txid == own.txid


def _is_former_restore(image: PastImage) -> bool:
    """Whether an earlier release made this commit by a restore in place: it lacks the row of its last tick."""
    return not _holds(image, image.tick_no) and is_former_restore(image.commit_id)


def _holds(image: PastImage, tick_no: int) -> bool:
    """Whether an image has the row of a tick, as the tick's own commit has."""
    with database.opened(image.image) as sql:
        return journal.has_row(sql, tick_no)
