"""The body of POST /agents/start, made from a start context; and the name of the branch that an agent works on."""

import json
from collections.abc import Mapping
from typing import Final

from shared.adapters.prompts import prompt, system_prompt
from shared.domain.branches import agent_name, branch_of_bead
from shared.domain.orders import OrderedRig, StartOrder

ORDER_VARIABLE: Final = "TOWN_AGENT_ORDER"
"""In `envVars`: the whole start context as JSON. Our control server writes it into the file TOWN_AGENT_CONTEXT."""

GENERATION_VARIABLE: Final = "TOWN_AGENT_GENERATION"
"""In `envVars`: the generation, the fencing number that every report of this process must carry."""


def start_request(
    order: StartOrder, *, model: str | None, small_model: str | None, environment: Mapping[str, str]
) -> dict[str, object]:
    """The body of the request, without fields that are None. `environment` is merged into `envVars`."""
    rig = order.rig or OrderedRig()
    default_branch = rig.default_branch or "main"
    request: dict[str, object] = {
        "agentId": order.agent_id,
        "rigId": rig.id,
        "townId": order.town_id,
        "role": order.role.value,
        "name": name_of(order),
        "identity": order.identity or order.agent_id,
        "prompt": prompt(order),
        "model": order.model or model or "default",
        "smallModel": small_model,
        "systemPrompt": system_prompt(order),
        "gitUrl": rig.git_url,
        "branch": branch_of(order),
        "defaultBranch": default_branch,
        "envVars": {
            **environment,
            GENERATION_VARIABLE: str(order.generation),
            ORDER_VARIABLE: json.dumps(order.as_json(), ensure_ascii=False, sort_keys=True),
        },
        "startPoint": order.feature_branch or order.target_branch or default_branch,
        "lightweight": True if order.prompt_kind in ("triage", "mayor") else None,
        "organizationId": order.organization_id,
        "rigs": None if order.rigs is None else [each.as_json() for each in order.rigs],
    }
    return {name: value for name, value in request.items() if value is not None}


def name_of(order: StartOrder) -> str:
    """The agent's name."""
    return agent_name(order.identity or order.agent_id, order.role.value)


def branch_of(order: StartOrder) -> str:
    """The branch to work on: the one that the order names, else a new one for this agent and bead."""
    return order.branch or branch_of_bead(name_of(order), "town" if order.bead is None else order.bead.id)
