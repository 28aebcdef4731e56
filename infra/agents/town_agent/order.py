"""Who calls: the start file that TOWN_AGENT_CONTEXT names (`infra/agents/control_server/start_file.md`)."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.adapters.local_supervisor import MARK_VARIABLE

WAITING: Final = "waiting.json"
"""`town-agent waiting` writes it beside the start file, with the time; whatever the agent does later outdates it."""

SPOKE: Final = "spoke"
"""Every other command touches it: who speaks does something."""


class NoOrder(Exception):
    """There is no start file, or it does not say whose it is."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The agent that this process belongs to. `place` is the directory of its start file, with its mailbox."""

    town_id: str
    agent_id: str
    generation: int
    role: str
    bead_id: str | None
    branch: str | None
    rig_id: str | None
    place: Path


def caller(environment: Mapping[str, str] = os.environ) -> Caller:
    """Who calls. Raises NoOrder with what to do."""
    name = environment.get(MARK_VARIABLE)
    if not name:
        raise NoOrder(f"{MARK_VARIABLE} is not set: town-agent is called by an agent that a town has started")
    try:
        order: Mapping[str, Any] = json.loads(Path(name).read_text(encoding="utf-8"))
        return Caller(
            town_id=str(order["town_id"]),
            agent_id=str(order["agent_id"]),
            generation=int(order["generation"]),
            role=str(order.get("role")),
            bead_id=(order.get("bead") or {}).get("id"),
            branch=order.get("branch"),
            rig_id=(order.get("rig") or {}).get("id"),
            place=Path(name).parent,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoOrder(f"{name} is no start file: {type(error).__name__}; see {MARK_VARIABLE}") from error
