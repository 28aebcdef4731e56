"""The body of POST /agents/start, made from a start context; and what of it an agent's branch is called."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from shared.adapters.prompts import prompt, system_prompt
from shared.ports.runtime import AgentOrder

ORDER_VARIABLE: Final = "TOWN_AGENT_ORDER"
"""In `envVars`: the whole start context as JSON. Our server writes it into the file that TOWN_AGENT_CONTEXT names."""

GENERATION_VARIABLE: Final = "TOWN_AGENT_GENERATION"
"""In `envVars`: the fencing number that every report of this process carries."""


def start_request(
    order: AgentOrder, *, model: str | None, small_model: str | None, environment: Mapping[str, str]
) -> dict[str, Any]:
    """What a control server is told; fields that hold nothing are left out. `environment` joins `envVars`."""
    rig = order.get("rig") or {}
    default_branch = rig.get("default_branch") or "main"
    request: dict[str, Any] = {
        "agentId": order["agent_id"],
        "rigId": rig.get("id") or "",
        "townId": order["town_id"],
        "role": order["role"],
        "name": name_of(order),
        "identity": order.get("identity") or order["agent_id"],
        "prompt": prompt(order),
        "model": order.get("model") or model or "default",
        "smallModel": small_model,
        "systemPrompt": system_prompt(order),
        "gitUrl": rig.get("git_url") or "",
        "branch": branch_of(order),
        "defaultBranch": default_branch,
        "envVars": {
            **environment,
            GENERATION_VARIABLE: str(order["generation"]),
            ORDER_VARIABLE: json.dumps(order, ensure_ascii=False, sort_keys=True),
        },
        "startPoint": order.get("feature_branch") or order.get("target_branch") or default_branch,
        "lightweight": True if order.get("prompt_kind") in ("triage", "mayor") else None,
        "organizationId": order.get("organization_id"),
        "rigs": order.get("rigs"),
    }
    return {name: value for name, value in request.items() if value is not None}


def name_of(order: AgentOrder) -> str:
    """The agent's own name: its identity is `<name>-<role>-<rig>@<town>`."""
    return str(order.get("identity") or order["agent_id"]).split(f"-{order.get('role')}-", maxsplit=1)[0]


def branch_of(order: AgentOrder) -> str:
    """The branch to work on: the one that exists, else one of the agent's own for this bead."""
    if order.get("branch"):
        return str(order["branch"])
    bead_id = str((order.get("bead") or {}).get("id") or "town")
    return f"gt/{_slug(name_of(order))}/{_slug(bead_id)[:8]}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"
