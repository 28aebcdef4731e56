"""The agents and the settings of a town."""

import sqlite3
from collections.abc import Collection, Iterator
from typing import Any

from shared.domain import strict_json
from shared.domain.config import RigConfig, TownConfig
from shared.domain.shapes import Time, answer
from shared.domain.states import AgentStatus, Role
from shared.ports.steps import Steps
from shared.ports.town_store import TownImage, TownStore
from shared.questions.flat_settings import flat, part_of
from shared.questions.lines import line_of
from shared.questions.spend import Spend, of_agents
from shared.town import database, migrations
from shared.town.town_keys import TownKeys


@answer
class AgentEntry:
    """An agent, for lists. `hook` is the bead that it works on, `says` its last status message.

    `used` is what its newest generation used.
    """

    agent_id: str
    identity: str
    role: Role
    status: AgentStatus
    rig_id: str | None
    hook: str | None
    generation: int
    dispatch_attempts: int
    created_at: Time | None
    last_activity_at: Time | None
    says: str | None
    used: Spend | None


@answer
class AgentList:
    """Every agent of a town, in order of id."""

    town_id: str
    agents: tuple[AgentEntry, ...]
    total: int


@answer
class Setting:
    """A setting under its name in the configuration, as in `refinery.review_mode`. `stored` is false for a default."""

    name: str
    value: Any
    stored: bool
    default: Any = None
    """The value if none is stored; of a rig null, because the town's value holds then."""


@answer
class RigSettings:
    """A rig, and the settings that override those of the town for it."""

    rig_id: str
    name: str
    git_url: str
    default_branch: str
    overrides: tuple[Setting, ...]


@answer
class TownSettings:
    """The configuration of a town: every setting with its effective value, and the overrides of rigs."""

    town_id: str
    tick: int
    paused: bool
    settings: tuple[Setting, ...]
    rigs: tuple[RigSettings, ...]

    def own_values(self, of_rig: str | None) -> Iterator[tuple[RigSettings, object]]:
        """The rigs with a value of their own under this name, which holds there instead of the town's. None: no rig has one."""
        for rig in self.rigs if of_rig is not None else ():
            own = part_of({each.name: each.value for each in rig.overrides}, (of_rig or "").split("."))
            if own is not None:
                yield rig, own


def agents(town_id: str, store: TownStore) -> Steps[AgentList]:
    """Every agent of a town. Raises UnknownTown."""
    image = yield from store.load(town_id)
    return agents_in(image)


def agents_in(image: TownImage, *, among: Collection[str] | None = None) -> AgentList:
    """The same for an image. `among` are the only agents that are listed; None: all."""
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, image.town_id)
        rows = sql.execute(
            "SELECT a.bead_id, a.identity, a.role, a.status, b.rig_id, a.current_hook_bead_id, a.generation, "
            "a.dispatch_attempts, b.created_at, a.last_activity_at, a.agent_status_message "
            "FROM agent_metadata a JOIN beads b ON b.bead_id = a.bead_id ORDER BY a.bead_id"
        ).fetchall()
        used = of_agents(sql)
    found = tuple(line_of(AgentEntry, row, used=used.get(row[0])) for row in rows if among is None or row[0] in among)
    return AgentList(image.town_id, found, len(found))


def settings(town_id: str, store: TownStore) -> Steps[TownSettings]:
    """The configuration of a town. Raises UnknownTown."""
    image = yield from store.load(town_id)
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, town_id)
        return settings_in(town_id, sql, tick=image.facts.tick_no)


def settings_in(town_id: str, sql: sqlite3.Connection, *, tick: int) -> TownSettings:
    """The same for an open image, whose last tick is `tick`."""
    defaults = TownConfig().model_dump(mode="json")
    default_of = {name: value for name, value, _ in flat(defaults, {})}
    return TownSettings(
        town_id=town_id,
        tick=tick,
        paused=TownKeys(sql).paused,
        settings=tuple(Setting(*each, default_of.get(each[0])) for each in flat(defaults, TownKeys(sql).config)),
        rigs=tuple(_rigs(sql)),
    )


def _rigs(sql: sqlite3.Connection) -> Iterator[RigSettings]:
    known = set(RigConfig.model_fields)
    rows = sql.execute("SELECT id, name, git_url, default_branch, config FROM rigs ORDER BY id").fetchall()
    for rig_id, name, git_url, branch, config in rows:
        given = {key: value for key, value in strict_json.stored(config).items() if key in known and value is not None}
        yield RigSettings(rig_id, name, git_url, branch, tuple(Setting(*each) for each in flat({}, given)))
