"""Where archived towns are: in a directory or bucket, or behind an API. Each act is written once for both ways."""

from __future__ import annotations

from getpass import getuser
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shared.ports.steps import drive
from shared.storage.keys import checked_town_id

if TYPE_CHECKING:
    from infra.townctl.api import Api
    from infra.townctl.context import Context
    from shared.storage.deletion import DeletedTown
    from shared.storage.put_away import ArchivedTowns, PutAway

T = TypeVar("T")


class AwayTowns(Protocol):
    """The archived towns of a place. Every method may raise Refused, UnknownTown, Conflict, and the errors of a store."""

    def archive(self, town_id: str, reason: str | None) -> PutAway:
        """Put a paused town away."""
        ...

    def bring_back(self, town_id: str) -> PutAway:
        """Make an archived town a town again. Raises TownExists."""
        ...

    def archived(self) -> ArchivedTowns:
        """Every archived town that the caller may see."""
        ...

    def delete(self, town_id: str, *, now: bool) -> DeletedTown:
        """Delete an archived town for good, or a part of it: then objects are left, and the next call goes on."""
        ...


class StoredAway:
    """The archived towns of a directory or bucket."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def archive(self, town_id: str, reason: str | None) -> PutAway:
        """Put it away, in the name of this machine's user."""
        from shared.storage.put_away import put_away

        store, kept = self._context.store(), self._context.kept_past(town_id)
        now = self._context.checked_time(store)
        return drive(put_away(store, kept, by=getuser(), reason=reason, now=now))

    def bring_back(self, town_id: str) -> PutAway:
        """Bring it back, in the name of this machine's user."""
        from shared.runner.bringing_back import bring_back

        store, kept = self._context.store(), self._context.kept_past(town_id)
        return drive(bring_back(store, kept, by=getuser(), now=self._context.checked_time(store)))

    def archived(self) -> ArchivedTowns:
        """Every archived town."""
        from shared.storage.put_away import ArchivedTowns, all_put_away

        return ArchivedTowns(drive(all_put_away(self._context.store(), self._context.kept_past)))

    def delete(self, town_id: str, *, now: bool) -> DeletedTown:
        """Delete all of it."""
        from shared.storage.deletion import delete

        at = self._context.checked_time(self._context.store())
        return drive(delete(self._context.kept_past(town_id), now=at, insist=now))


class ApiAway:
    """The archived towns of a deployment. Each method is one route."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def archive(self, town_id: str, reason: str | None) -> PutAway:
        """POST /api/towns/{townId}/archive."""
        from shared.storage.put_away import PutAway

        return self._post(PutAway, town_id, "archive", {"confirm": town_id, "reason": reason})

    def bring_back(self, town_id: str) -> PutAway:
        """POST /api/towns/{townId}/bring-back."""
        from shared.storage.put_away import PutAway

        return self._post(PutAway, town_id, "bring-back")

    def archived(self) -> ArchivedTowns:
        """GET /api/archived-towns."""
        from shared.storage.put_away import ArchivedTowns

        return self._api.read(ArchivedTowns, self._api.ask("GET", "/api/archived-towns"))

    def delete(self, town_id: str, *, now: bool) -> DeletedTown:
        """POST /api/towns/{townId}/delete."""
        from shared.storage.deletion import DeletedTown

        return self._post(DeletedTown, town_id, "delete", {"confirm": town_id, "now": now})

    def _post(self, shape: type[T], town_id: str, act: str, body: Any = None) -> T:
        return self._api.read(shape, self._api.ask("POST", f"/api/towns/{checked_town_id(town_id)}/{act}", body))
