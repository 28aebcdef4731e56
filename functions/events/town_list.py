"""The list of the towns that a caller may read. Nothing about other towns is revealed, not even by where a page ends."""

from functions.access import Access, SignedRequest
from shared.ports.steps import drive
from shared.ports.town_store import TownStore
from shared.questions.town_list import TownList, entries


def page(store: TownStore, access: Access, request: SignedRequest, *, after: str, limit: int) -> TownList:
    """At most `limit` towns after the town `after`; `next` is the last of them if the caller may read more."""
    found: list[str] = []
    for prefix in access.list_towns(request):
        place: str | None = after
        while place is not None and len(found) <= limit:
            towns = drive(store.towns(after=place, limit=limit, prefix=prefix))
            found += [town for town in towns if access.may_read(request, town)]
            place = towns[-1] if len(towns) == limit else None
    shown = drive(entries(found[:limit], store))
    return TownList(shown, found[limit - 1] if len(found) > limit else None)
