"""Another configuration in a private copy of a town: what a dry run or a what-if lays over the stored one."""

from collections.abc import Mapping
from typing import Any

from shared.domain.config import TownConfig, first_problem, merged
from shared.domain.errors import Refused
from shared.images import summary
from shared.town import database


def override_config(sql: database.Database, config: Mapping[str, Any], *, path: str) -> Any:
    """See that the other configuration holds in this copy; returns all of it. Raises Refused (422) if it is none."""
    stored = summary.before_tick(sql).config
    wanted = merged(stored, dict(config))
    if wanted == stored:
        return stored
    problem = first_problem(TownConfig, wanted)
    if problem is not None:
        raise Refused(
            f"this is no configuration of a town: {problem}",
            status=422,
            path=f"{path}.{problem}",
            hint="name only settings that town_configured knows, with values that it takes",
        )
    summary.store_config(sql, wanted)
    return wanted
