"""The caller of `town-agent`, read from the start file that TOWN_AGENT_CONTEXT names.

`infra/agents/control_server/start_file.md` describes that file.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.adapters.local_supervisor import MARK_VARIABLE

WAITING: Final = "waiting.json"
"""The file with the current time that `town-agent waiting` writes beside the start file. Later activity makes it obsolete."""

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
    role: str
    bead_id: str | None
    branch: str | None
    rig_id: str | None
    place: Path


def caller(environment: Mapping[str, str] = os.environ) -> Caller:
    """The agent that an environment names. Raises NoOrder."""
    name = environment.get(MARK_VARIABLE)
    if not name:
        raise NoOrder(f"{MARK_VARIABLE} is not set; only an agent that a town has started can call town-agent")
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
        raise NoOrder(f"{name} is not a start file ({type(error).__name__}); check {MARK_VARIABLE}") from error
