"""The request bodies that the control server accepts. Unknown fields and values of a wrong type are refused."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.adapters.start_request import GENERATION_VARIABLE, ORDER_VARIABLE

Name = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]
Id = Annotated[str, Field(min_length=1, max_length=64)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StartAgentRequest(_Body):
    """POST /agents/start."""

    agent_id: Id = Field(alias="agentId")
    rig_id: str = Field(alias="rigId")
    town_id: Id = Field(alias="townId")
    role: Literal["polecat", "refinery", "mayor"]
    name: Name
    identity: Name
    prompt: str
    model: Name
    small_model: Name | None = Field(default=None, alias="smallModel")
    system_prompt: str | None = Field(default=None, alias="systemPrompt")
    git_url: str = Field(alias="gitUrl")
    branch: Name
    default_branch: Name = Field(alias="defaultBranch")
    env_vars: dict[str, str] = Field(default_factory=dict, alias="envVars")
    start_point: Name | None = Field(default=None, alias="startPoint")
    lightweight: bool = False
    organization_id: str | None = Field(default=None, alias="organizationId")
    rigs: list[dict[str, Any]] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The agent's environment variables. They do not include the order, which the agent gets as a file."""
        return {name: value for name, value in self.env_vars.items() if name != ORDER_VARIABLE}

    def generation(self, *, otherwise: int) -> int:
        """The generation that the caller names, or `otherwise` if it names none. Raises ValueError if it is not a number."""
        named = self.env_vars.get(GENERATION_VARIABLE)
        return otherwise if named is None else int(named)

    def order(self, *, generation: int) -> dict[str, Any]:
        """The content of the start file: the order from `envVars`, if there is one, overridden by the fields of the body.

        Raises ValueError if the order is not a JSON object.
        """
        order = _object(self.env_vars.get(ORDER_VARIABLE, "{}"))
        rig = {"id": self.rig_id, "git_url": self.git_url, "default_branch": self.default_branch}
        found = order.get("rig")
        known = found if isinstance(found, dict) else {}
        return order | {
            "town_id": self.town_id,
            "organization_id": self.organization_id,
            "agent_id": self.agent_id,
            "role": self.role,
            "identity": self.identity,
            "name": self.name,
            "generation": generation,
            "prompt": self.prompt,
            "system_prompt": self.system_prompt or "",
            "model": self.model,
            "small_model": self.small_model,
            "rig": {"name": self.rig_id, **known, **rig} if self.git_url else order.get("rig"),
            "branch": self.branch,
            "start_point": self.start_point,
            "lightweight": self.lightweight,
            "rigs": self.rigs,
        }


class StopAgentRequest(_Body):
    """POST /agents/{id}/stop."""

    signal: Literal["SIGTERM", "SIGINT", "SIGKILL"] = "SIGTERM"


class SendMessage(_Body):
    """POST /agents/{id}/message."""

    prompt: Annotated[str, Field(min_length=1)]


class SetModel(_Body):
    """PATCH /agents/{id}/model."""

    model: Name
    small_model: Name | None = Field(default=None, alias="smallModel")
    organization_id: str | None = Field(default=None, alias="organizationId")


Token = Annotated[str, Field(min_length=1, max_length=8192)]


class AgentToken(_Body):
    """A town token for one generation of an agent."""

    agent_id: Id = Field(alias="agentId")
    generation: int
    token: Token


class RefreshToken(_Body):
    """POST /refresh-token."""

    token: Token
    agent_tokens: list[AgentToken] = Field(default_factory=list, alias="agentTokens")


class SyncConfig(_Body):
    """POST /sync-config: repositories to clone ahead of time, and environment variables for every later start."""

    rigs: list[dict[str, Any]] = Field(default_factory=list)
    env_vars: dict[str, str] = Field(default_factory=dict, alias="envVars")


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"{ORDER_VARIABLE} is nested too deeply") from None
    if isinstance(value, dict):
        return value
    raise ValueError(f"{ORDER_VARIABLE} is not a JSON object")
