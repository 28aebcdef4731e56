"""The first image of a town: the schema, the id and the configuration. The first tick creates the mayor."""

from collections.abc import Mapping

from shared.domain.config import NEW_TOWN, TownConfig, first_problem, merged, what_is_expected
from shared.domain.errors import Refused
from shared.town import database, town_keys


def found(
    town_id: str, *, config: Mapping[str, object] | None = None, paused: bool = False, own_clock: bool = False
) -> bytes:
    """The image of a new town. `config` overrides parts of the default configuration. Raises Refused (400) if it is invalid.

    `own_clock`: the town runs on a clock of its own.
    """
    stored = merged(NEW_TOWN, dict(config or {}))
    problem = first_problem(TownConfig, stored)
    if problem is not None:
        raise Refused(
            f"the configuration of the new town {town_id} is not valid at {problem}",
            status=400,
            path=f"config.{problem}",
            hint=what_is_expected(TownConfig, stored),
        )
    with database.opened(database.new_image()) as sql:
        database.begin(sql)
        for name, key in town_keys.KEYS.items():
            if not key.rare:
                town_keys.TownKeys(sql).store(name, key.new)
        keys = town_keys.TownKeys(sql)
        keys.id, keys.schema_version = town_id, database.SCHEMA_VERSION
        keys.config, keys.paused = stored, paused
        keys.clock = town_keys.OWN_CLOCK if own_clock else None
        database.commit(sql)
        return database.image_of(sql)
