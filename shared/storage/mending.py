"""What to do about an object that is missing or damaged: the words that every error about one ends with."""

from shared.domain.errors import DamagedImage
from shared.storage import keys


def way_back(town_id: str) -> str:
    """How to restore a town whose newest commit cannot be read."""
    return (
        f"`townctl points {town_id}` lists the commits that are left, "
        f"`townctl restore {town_id} --in-place --txid N` makes one of them the newest"
    )


def damaged(key: str, problem: str) -> DamagedImage:
    """The error for an object whose content contradicts itself, its name or its manifest."""
    return DamagedImage(f"{key} is damaged: {problem}", hint=f"the object was not changed; {_what_to_do(key)}")


def _what_to_do(key: str) -> str:
    town_id = keys.town_of(key)
    if town_id is None:
        return "restore the town to an earlier commit"
    if keys.ticks_of(key) is not None:
        return (
            f"town {town_id} goes on without it, but what these ticks did cannot be told or replayed: `townctl mend {town_id}` "
            f"makes it again if an image with its rows is still kept; else put it back from an earlier version of it or from a "
            f"backup, or ask for a time after it (`townctl ticks {town_id}` shows the others)"
        )
    if keys.archive_index_of(key) is not None:
        return (
            f"`townctl mend {town_id}` makes it again from the blocks of the archive. Until then town {town_id} searches all of "
            "them for a bead, and no more beads leave its image"
        )
    if keys.archive_block_of(key) is not None:
        return (
            f"put it back from an earlier version of it or from a backup. Until then town {town_id} keeps the events that name "
            "beads which it may hold, and applies none of them"
        )
    return way_back(town_id)
