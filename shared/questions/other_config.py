"""Changes the configuration in a private copy of a town, for a dry run or a what-if."""

from collections.abc import Mapping
from typing import Any

from shared.domain.config import TownConfig, first_problem, merged, what_is_expected
from shared.domain.errors import Refused
from shared.images import summary
from shared.town import database


def override_config(sql: database.Database, config: Mapping[str, Any], *, path: str) -> Any:
    """Merge `config` into the configuration of this copy; returns the result. Raises Refused (422) if it is not valid."""
    stored = summary.before_tick(sql).config
    wanted = merged(stored, dict(config))
    if wanted == stored:
        return stored
    problem = first_problem(TownConfig, wanted)
    if problem is not None:
        raise Refused(
            f"the configuration is not valid at {problem}",
            status=422,
            path=f"{path}.{problem}",
            hint=what_is_expected(TownConfig, wanted),
        )
    summary.store_config(sql, wanted)
    return wanted
