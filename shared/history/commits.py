"""Which commits were made by something that may commit: a tick, a create, an import, a migration or a restore.

Each of these takes one number of a commit and, except the first, one number of a tick. So the difference of both stays the same
over the life of a town, and a commit by anything else shows as a step in it. Example: after tick 41 the town is at commit 42.
Somebody changes the image by hand and commits it as number 43; then tick 42 makes commit 44. The step lies at commit 43.
"""

from collections.abc import Sequence
from datetime import datetime

from shared.domain.times import to_text
from shared.ports.object_store import ObjectVersion
from shared.ports.steps import Steps
from shared.storage.head import Manifest
from shared.storage.restore import KeptPast


def made_by_nothing(txid: int, at: datetime) -> str:
    """The words for such a commit."""
    return (
        f"commit {txid} of {to_text(at)} was made by no tick, create, import, migration or restore: "
        "somebody changed the town by hand"
    )


def is_former_restore(commit_id: str | None) -> bool:
    """Whether a commit without a tick number of its own may be a restore in place by an earlier release; None: nobody knows."""
    return commit_id is None or "-restore-" in commit_id


def unrecorded_commits(kept: KeptPast) -> Steps[list[Manifest]]:
    """The commits among the retained heads that nothing made which may commit, oldest first. A few reads for each."""
    versions: Sequence[ObjectVersion] = tuple(reversed((yield from kept.versions_or_files())))
    found: list[Manifest] = []
    yield from _search(kept, versions, 0, len(versions) - 1, found)
    return found


def _search(
    kept: KeptPast, oldest_first: Sequence[ObjectVersion], low: int, high: int, found: list[Manifest]
) -> Steps[None]:
    """Look between two versions; those that cannot be read are passed over."""
    first = yield from kept.readable_from(oldest_first, low)
    if first is None or first[0] >= high:
        return
    low, before = first[0], first[1].manifest
    last = yield from _newest_readable(kept, oldest_first, low, high)
    if last is None or _step(before, last[1]) == 0:
        return
    high = last[0]
    if high == low + 1 or last[1].txid == before.txid + 1:
        if not is_former_restore(last[1].commit_id):
            found.append(last[1])
        return
    middle = (low + high) // 2
    yield from _search(kept, oldest_first, low, middle, found)
    yield from _search(kept, oldest_first, middle, high, found)


def _newest_readable(
    kept: KeptPast, oldest_first: Sequence[ObjectVersion], low: int, high: int
) -> Steps[tuple[int, Manifest] | None]:
    newest_first = tuple(reversed(oldest_first[low + 1 : high + 1]))
    found = yield from kept.readable_from(newest_first, 0)
    return None if found is None else (high - found[0], found[1].manifest)


def _step(before: Manifest, after: Manifest) -> int:
    return (after.txid - before.txid) - (after.tick_no - before.tick_no)
