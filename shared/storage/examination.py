"""A full check of what a town has in the store besides its newest image: past commits, journal, logs. It changes nothing.

It reads every object once, so it takes as long as copying the town.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final, TypeVar

from shared.domain.errors import DamagedImage, TownError, WrongTown
from shared.domain.restores import InPlaceRestore
from shared.images import image_digest
from shared.ports.object_store import StoredObject
from shared.ports.steps import Call, Steps
from shared.ports.town_past import JournalRow
from shared.storage import agent_logs, archive_examination, head, keys, ltx, patch_files, publish
from shared.storage.listing import all_keys
from shared.storage.mending import damaged
from shared.storage.restore import KeptPast
from shared.town import database
from shared.town.town_keys import TownKeys

T = TypeVar("T")

HEADS_READ: Final = 200
"""Only so many past states of the head are read, the newest ones: a busy town has thousands, each of a day."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong in the history of a town: the check that found it, the object, what it is, and what to do."""

    check: str
    subject: str
    text: str
    hint: str


def problems(
    kept: KeptPast, *, first_row: int | None, restores: Sequence[InPlaceRestore] = (), archive_index: int = 0
) -> Steps[list[Problem]]:
    """Everything that is wrong. Of the newest image, `first_row` is the oldest tick (None: unknown), `restores` its restores, and
    `archive_index` the commit of the index of the archive on which it relies.
    """
    found: list[Problem] = []
    everything = yield from all_keys(kept.objects, keys.town(kept.town_id))
    rows: list[tuple[int, int, list[JournalRow] | None]] = []
    digests: dict[int, str] = {}
    for key in everything:
        if keys.txids_of(key) is not None:
            digests |= (yield from _read(kept, key, partial(_check_file, kept.town_id), found)) or {}
        elif keys.patched_txids_of(key) is not None:
            yield from _read(kept, key, _check_patch_file, found)
        elif (span := keys.ticks_of(key)) is not None:
            rows.append((*span, (yield from _read(kept, key, publish.rows_of, found))))
        elif keys.is_log(key):
            yield from _read(kept, key, agent_logs.read_log, found)
        elif not keys.is_known(key):
            found.append(_stranger(kept.town_id, key))
    of_archive = yield from archive_examination.problems(kept.objects, kept.town_id, everything, index=archive_index)
    found += [Problem("archive", each.key, each.text, each.hint) for each in of_archive]
    found += yield from _past_heads(kept, digests)
    rows.sort(key=lambda each: each[:2])
    found += _gaps_in_journal(kept.town_id, rows, first_row, restores)
    found += _strange_rows(kept.town_id, rows, digests)
    newest = yield from kept.newest_head(lambda _: True)
    found += _missing_files(kept.town_id, everything, None if newest is None else newest.manifest)
    return found


def _read(kept: KeptPast, key: str, check: Callable[[bytes, str], T], found: list[Problem]) -> Steps[T | None]:
    """What is in an object; None, and a problem, if it cannot be read."""
    body: StoredObject | None = yield Call(f"get {key}", partial(kept.objects.get, key))
    if body is None:  # retention has deleted it since it was listed
        return None
    try:
        return check(body.body, key)
    except TownError as error:
        found.append(Problem("history", key, error.message, _what_is_lost(kept.town_id, key, error)))
        return None


def _check_file(town_id: str, body: bytes, key: str) -> dict[int, str]:
    """Check a spill or snapshot; returns the image digest of a snapshot by its last tick. Raises DamagedImage, WrongTown."""
    file = ltx.decode(body, key)
    if (file.header.min_txid, file.header.max_txid) != keys.txids_of(key):
        raise damaged(key, "its transactions are not those in its name")
    if not file.header.is_snapshot:
        return {}
    image = ltx.image_of(file)
    with database.opened(image) as sql:
        database.check_identity(sql, town_id)
        return {TownKeys(sql).tick_no: image_digest.of_image(image)}


def _check_patch_file(body: bytes, key: str) -> None:
    """Check a patch file. Raises DamagedImage."""
    file = patch_files.decode(body, key)
    if (file.min_txid, file.max_txid) != keys.patched_txids_of(key):
        raise damaged(key, "its transactions are not those in its name")


def _what_is_lost(town_id: str, key: str, error: TownError) -> str:
    span = keys.txids_of(key) or keys.patched_txids_of(key)
    if span is None:
        return error.hint
    return (
        f"the town goes on without it, but commits that are rebuilt from it cannot be restored, among them {span[1]}: "
        f"`townctl mend {town_id}` makes it again if the head of that commit is still kept; else put it back from an earlier "
        f"version of it or from a backup, and {_from_now_on(town_id)}"
    )


def _from_now_on(town_id: str) -> str:
    return f"`townctl flush {town_id}` publishes the newest commit, from which later ones can be rebuilt"


def _stranger(town_id: str, key: str) -> Problem:
    return Problem(
        "object",
        key,
        "this is not the name of an object of a town",
        f"nothing reads it; find out who put it below {keys.town(town_id)}, and move it away",
    )


def _gaps_in_journal(
    town_id: str,
    rows: Sequence[tuple[int, int, list[JournalRow] | None]],
    first_row: int | None,
    restores: Sequence[InPlaceRestore],
) -> Iterator[Problem]:
    """Ticks between two journal objects, or between the last one and the image, whose rows are in neither."""
    lost = {restore.last_tick + 1: restore.tick - 1 for restore in restores if restore.lost_head}
    spans = [(first, last) for first, last, _ in rows]
    if first_row is not None and spans:
        spans.append((first_row, first_row))
    for (_, before), (after, _) in pairwise(spans):
        if after > before + 1 and lost.get(before + 1) != after - 1:
            yield Problem(
                "journal",
                f"{before + 1} to {after - 1}",
                f"the journal lacks the rows of ticks {before + 1} to {after - 1}",
                f"the town goes on, but what these ticks did cannot be told or replayed: `townctl mend {town_id}` makes their "
                "journal object again if an image with the rows is still kept; else put it back from an earlier version of it or "
                f"from a backup; `townctl ticks {town_id}` shows the others",
            )


def _strange_rows(
    town_id: str, rows: Sequence[tuple[int, int, list[JournalRow] | None]], digests: Mapping[int, str]
) -> Iterator[Problem]:
    """Journal objects whose rows follow other images than those that the town committed, as the rows of another town do."""
    for first, last, block in rows:
        for row in block or ():
            before = row["tick_no"] - 1
            if before in digests and digests[before] != row["prev_image_digest"]:
                key = keys.journal(town_id, first, last)
                text = (
                    f"{key} does not fit the town: its tick {before + 1} ran on another image than tick {before} made"
                )
                yield Problem("journal", key, text, damaged(key, "").hint)
                break


def _missing_files(town_id: str, everything: Sequence[str], newest: head.Manifest | None) -> Iterator[Problem]:
    """The newest snapshot, if it is gone, and spills without the file that they continue."""
    spans = {key: span for key in everything if (span := keys.txids_of(key)) is not None}
    if newest is not None and newest.base is not None and newest.snapshot is None:
        key = keys.snapshot(town_id, newest.base.txid)
        if key not in spans:
            yield Problem("history", key, f"{key} is missing: the newest snapshot of the town", _from_now_on(town_id))
    ends = {last for _, last in spans.values()}
    for key, (first, last) in spans.items():
        if first > 1 and first - 1 not in ends:
            text = f"commit {last} cannot be rebuilt from {key}: the file that ends with commit {first - 1} is missing"
            yield Problem("history", key, text, f"put that file back from a backup; {_from_now_on(town_id)}")


def _past_heads(kept: KeptPast, digests: dict[int, str]) -> Steps[list[Problem]]:
    """The past heads that cannot be read; adds the image digests of the others by their last ticks."""
    found: list[Problem] = []
    key = keys.head(kept.town_id)
    versions = [each for each in (yield from kept.versions_or_files()) if not each.current]
    for version in reversed(versions[:HEADS_READ]):
        try:
            manifest = (yield from kept.head_of(version)).manifest
            digests[manifest.tick_no] = manifest.image_digest
        except (DamagedImage, WrongTown) as error:
            hint = "this commit is lost; the town and its other commits are not concerned"
            found.append(Problem("history", f"{key} version {version.version_id}", error.message, hint))
    return found
