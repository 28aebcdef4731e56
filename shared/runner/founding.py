"""Create a town by committing its first image. Its first tick is due at once and creates the mayor."""

from collections.abc import Mapping

from shared.images import first_image
from shared.ports.steps import Steps
from shared.ports.town_store import CommitFacts, TownImage
from shared.runner.surroundings import Surroundings
from shared.town import database


def found_town(
    town_id: str,
    around: Surroundings,
    *,
    worker_id: str,
    config: Mapping[str, object] | None = None,
    paused: bool = False,
) -> Steps[TownImage]:
    """Create a town. Raises TownExists, or Refused for an invalid configuration or id."""
    image = first_image.found(town_id, config=config, paused=paused, own_clock=around.own_clock)
    now = yield from around.time()
    facts = CommitFacts(
        commit_id=f"0-{worker_id}", tick_no=0, time=now, next_due=now, schema_version=database.SCHEMA_VERSION
    )
    return (yield from around.store.create(town_id, image, facts))
