"""The site of `townctl ui` over the towns of a test's world, at the world's time."""

from pathlib import Path

from infra.townctl.context import Context
from infra.townctl.stored_towns import StoredTowns
from infra.townctl.wiring import LocalClock
from infra.ui.address import address_of
from infra.ui.site import Site
from shared.ports.object_store import ObjectStore
from tests.worlds import World


class WorldTowns(StoredTowns):
    """The towns of a world. Its clock is the world's, not this machine's."""

    def __init__(self, world: World, directory: Path) -> None:
        def objects(_: Path) -> ObjectStore:
            return world.objects

        super().__init__(Context(named_data=directory, open_directory=objects))
        self._world = world

    def _clock(self, town_id: str) -> LocalClock:
        return self._world.clock  # type: ignore[return-value] # a clock that only tests move


def a_site(world: World, directory: Path, *, writes: bool = False) -> Site:
    """The site over a world's towns. `directory` only has to exist."""
    return Site(lambda: WorldTowns(world, directory), writes=writes)


def shown(site: Site, href: str) -> str:
    """The page at an address."""
    return str(site.page(address_of(href)))
