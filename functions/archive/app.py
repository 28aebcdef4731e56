"""The handler of the archive: operators archive whole towns, bring them back, and delete them for good (IAM, verb delete).

It is a function of its own, because no other role may delete a head, or what only a deletion for good deletes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from functions import api, log, wiring
from functions.access import Access, SignedRequest, person_in, request_of
from functions.api import Call, Reply, Route
from functions.archive.schemas import ArchiveTown, DeleteTown
from functions.queries import Query
from functions.settings import ArchiveSettings
from shared.ports.steps import drive
from shared.runner import bringing_back
from shared.runner.surroundings import Surroundings
from shared.storage import deletion, put_away
from shared.storage.put_away import ArchivedTowns
from shared.storage.towns import ObjectTownStore

if TYPE_CHECKING:
    from shared.storage.restore import KeptPast

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call

MOST_DELETED: Final = 2000
"""Objects that one request deletes: so it ends long before the gateway gives up, and the next request goes on."""


@dataclass(frozen=True, slots=True)
class ArchiveDeployment:
    """The objects that live as long as this environment."""

    around: Surroundings
    store: ObjectTownStore
    access: Access
    kept_past: Callable[[str], "KeptPast"]


@cache
def deployment() -> ArchiveDeployment:
    """Built by the first request. Raises Terminal if the settings are invalid."""
    settings = ArchiveSettings.from_environment()
    store, access = wiring.proven_store(settings), Access(settings.access_rules, log.write_line)
    around = wiring.surroundings(settings, store, alerts=wiring.alerts())
    return ArchiveDeployment(around, store, access, partial(wiring.kept_past, settings))


def archive(call: Call[Query]) -> Reply:
    """Put a paused town away: nothing runs or lists it, its events are refused, and `bring-back` makes it a town again.

    Answers 409 while something of the town may still run, or events of it wait.
    """
    asked, here = api.read(ArchiveTown, call.body), deployment()
    asked.require(call.town_id)
    by, kept = person_in(request_of(call.event).caller), here.kept_past(call.town_id)
    now = drive(here.around.time())
    return api.answer(200, drive(put_away.put_away(here.store, kept, by=by, reason=asked.reason, now=now)))


def bring_back(call: Call[Query]) -> Reply:
    """Make an archived town a town again, as it was, still paused. Its next tick applies the event `town_brought_back`."""
    here, by = deployment(), person_in(request_of(call.event).caller)
    now = drive(here.around.time())
    note = drive(bringing_back.bring_back(here.store, here.kept_past(call.town_id), by=by, now=now))
    call.trail.events = (bringing_back.event_id_of(note),)
    return api.answer(200, note)


def delete(call: Call[Query]) -> Reply:
    """Delete an archived town for good, with its whole past: 30 days after it was archived, or at once with `now`.

    A large town takes several requests: repeat it while `left` is not 0.
    """
    asked, here = api.read(DeleteTown, call.body), deployment()
    asked.require(call.town_id)
    now = drive(here.around.time())
    kept = here.kept_past(call.town_id)
    return api.answer(200, drive(deletion.delete(kept, now=now, insist=asked.now, most=MOST_DELETED)))


def archived(call: Call[Query]) -> Reply:
    """The archived towns that the caller may read: who archived each, when and why, and until when it is certainly kept."""
    here, request = deployment(), request_of(call.event)
    here.access.list_towns(request)
    away = drive(here.store.headless(put_away=True))
    mine = [town for town in away if here.access.may_read(request, town)]
    return api.answer(200, ArchivedTowns(drive(put_away.notes_of(mine, here.kept_past))))


def _may_delete(event: Mapping[str, Any], ids: Mapping[str, str]) -> SignedRequest:
    """Admit a signed request whose caller may archive and delete the town. Raises Refused."""
    request = request_of(event)
    deployment().access.require(request, "delete", ids["townId"])
    return request


def _signed(event: Mapping[str, Any], _: Mapping[str, str]) -> SignedRequest:
    """Admit every signed request: the list shows only what the caller may read."""
    return request_of(event)


_TOWN: Final = "/api/towns/{townId}"

ROUTES: Final[tuple[Route[Any], ...]] = (
    Route("POST", f"{_TOWN}/archive", "Archive a paused town", _may_delete, archive, Query),
    Route("POST", f"{_TOWN}/bring-back", "Bring an archived town back", _may_delete, bring_back, Query),
    Route("POST", f"{_TOWN}/delete", "Delete an archived town for good", _may_delete, delete, Query),
    Route("GET", "/api/archived-towns", "List your archived towns", _signed, archived, Query),
)


def answered(event: Any, write_line: Callable[[str], object] = log.write_line) -> Reply:
    """Answer one request, and write its audit line."""
    return api.run(ROUTES, event, wiring.tell_bug, write_line=write_line)


def lambda_handler(event: Any, context: Any) -> Reply:  # noqa: ARG001 - the handler's shape
    """Answer one request."""
    return answered(event)
