"""The caller of `town-agent`, read from the start file that TOWN_AGENT_CONTEXT names.

`infra/agents/control_server/start_file.md` describes that file.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.adapters import outside_files
from shared.adapters.local_supervisor import MARK_VARIABLE
from shared.domain import wire
from shared.domain.orders import AgentScope, StartOrder
from shared.domain.states import Role

WAITING: Final = "waiting.json"
"""The file with the current time that `town-agent waiting` writes beside the start file. Later activity makes it obsolete."""

REPORTED: Final = "reported.json"
"""The file in which `town-agent` notes the last report that ends a piece of work, once the town has acknowledged it.

It contains `event_type`, `event_id`, `generation` and `at`: a driver reads it to know whether its agent ended without a report.
"""

SPOKE: Final = "spoke"
"""The file that every other command touches, because a call of `town-agent` counts as activity."""


class NoOrder(Exception):
    """There is no start file, or it does not name a town, an agent and a generation."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The agent that this process belongs to. `place` is the directory of its start file and mailbox."""

    town_id: str
    agent_id: str
    generation: int
    role: Role
    scope: AgentScope
    bead_id: str | None
    branch: str | None
    target_branch: str | None
    rig_id: str | None
    place: Path
    pr_url: str | None = None


def caller(environment: Mapping[str, str] = os.environ) -> Caller:
    """The agent that an environment names. Raises NoOrder."""
    name = environment.get(MARK_VARIABLE)
    if not name:
        raise NoOrder(f"{MARK_VARIABLE} is not set; only an agent that a town has started can call town-agent")
    try:
        order = wire.read(StartOrder, outside_files.json_of(Path(name)))
    except (OSError, ValueError) as error:
        raise NoOrder(f"{name} is not a start file ({error}); check {MARK_VARIABLE}") from error
    return Caller(
        town_id=order.town_id,
        agent_id=order.agent_id,
        generation=order.generation,
        role=order.role,
        scope=order.scope,
        bead_id=None if order.bead is None else order.bead.id,
        branch=order.branch,
        target_branch=order.target_branch,
        rig_id=None if order.rig is None else order.rig.id,
        place=Path(name).parent,
        pr_url=order.pr_url,
    )
