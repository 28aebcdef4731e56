"""The first image of a town: the schema, the id and the configuration. The first tick creates the mayor."""

from collections.abc import Mapping
from typing import Any

from shared.domain import canonical
from shared.domain.config import NEW_TOWN, TownConfig, first_problem, merged, what_is_expected
from shared.domain.errors import Refused
from shared.town import database, town_keys


def found(town_id: str, *, config: Mapping[str, Any] | None = None, paused: bool = False) -> bytes:
    """The image of a new town. `config` overrides parts of the default configuration. Raises Refused (400) if it is invalid."""
    stored = merged(NEW_TOWN, dict(config or {}))
    problem = first_problem(TownConfig, stored)
    if problem is not None:
        raise Refused(
            f"the configuration of the new town {town_id} is not valid at {problem}",
            status=400,
            path=f"config.{problem}",
            hint=what_is_expected(TownConfig, stored),
        )
    keys: dict[str, Any] = {
        "id": town_id,
        "schema_version": database.SCHEMA_VERSION,
        "config": stored,
        "tick_no": 0,
        "tick_id": None,
        "last_tick_at": None,
        "next_seq": 1,
        "next_audit_seq": 1,
        "next_due_at": None,
        "settling_until": None,
        "drain": None,
        "container_instance_id": None,
        **town_keys.NEVER_SET,
        "last_idle_stop_at": None,
        "last_token_refresh_at": None,
        "mayor_working_since": None,
        "mayor_waiting_since": None,
        "paused": paused,
        "alerted": {},
    }
    with database.opened(database.new_image()) as sql:
        database.begin(sql)
        sql.executemany(
            "INSERT INTO town (key, value) VALUES (?, ?)",
            [(key, canonical.dumps(value)) for key, value in sorted(keys.items())],
        )
        database.commit(sql)
        return database.image_of(sql)
