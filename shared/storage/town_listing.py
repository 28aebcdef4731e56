"""Reads towns from a listing of all their objects: a page of keys shows many heads, and what waits behind each of them."""

from bisect import bisect_left
from collections.abc import Iterator

from shared.ports.object_store import Listing
from shared.ports.town_store import SeenTown
from shared.storage import keys


def towns_in(page: Listing) -> Iterator[SeenTown]:
    """The towns whose heads are in a page of keys, and whether something waits for them, as far as the page shows it."""
    for place, key in enumerate(page.keys):
        town_id = keys.town_of_head(key)
        if town_id is not None:
            inbox = bisect_left(page.keys, keys.inbox(town_id), lo=place)
            if inbox < len(page.keys):
                yield SeenTown(town_id, waits=page.keys[inbox].startswith(keys.inbox(town_id)))
            else:
                yield SeenTown(town_id, waits=None if page.more else False)


def place_after(key: str) -> str:
    """Where to go on after a page of keys of towns that ended with this one: with the head of its town, or with the next town."""
    town_id = keys.town_of(key)
    if town_id is not None and key < keys.head(town_id):
        return max(key, keys.before_head(town_id))
    return keys.after_town_of(key)
