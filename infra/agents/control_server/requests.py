"""The request bodies that the control server accepts. Unknown fields and values of a wrong type are refused."""

import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shared.adapters import outside_files
from shared.adapters.start_request import GENERATION_VARIABLE, ORDER_VARIABLE
from shared.domain import strict_json, wire
from shared.domain.orders import OrderedRig, StartOrder
from shared.domain.repositories import transport_of
from shared.domain.states import Role
from shared.domain.times import from_text

Name = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]
_GENERATION = re.compile(r"-?[0-9]{1,15}")
Id = Annotated[str, Field(min_length=1, max_length=64)]


def _own_time(given: object) -> datetime:
    return from_text(given if isinstance(given, str) else "")


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
    rigs: list[dict[str, object]] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The agent's environment variables. They do not include the order, which the agent gets as a file."""
        return {name: value for name, value in self.env_vars.items() if name != ORDER_VARIABLE}

    def generation(self, *, otherwise: int) -> int:
        """The generation that the caller names, or `otherwise` if it names none. Raises ValueError if it is not a number."""
        named = self.env_vars.get(GENERATION_VARIABLE)
        if named is None:
            return otherwise
        if not _GENERATION.fullmatch(named):
            raise ValueError(f"envVars: {GENERATION_VARIABLE}: must be a whole number of at most 15 digits")
        return int(named)

    def order(self, *, generation: int) -> StartOrder:
        """The content of the start file: the order from `envVars`, if there is one, overridden by the fields of the body.

        Raises ValueError if the order or a rig cannot be read. Keys that this server does not know are kept for the agent.
        """
        own = StartOrder(town_id=self.town_id, agent_id=self.agent_id, generation=generation, role=Role(self.role))
        order = self._given_order() or own
        rig = order.rig or OrderedRig(name=self.rig_id)
        of_the_body = replace(rig, id=self.rig_id, git_url=self.git_url, default_branch=self.default_branch)
        return replace(
            order,
            town_id=own.town_id,
            organization_id=self.organization_id,
            agent_id=own.agent_id,
            role=own.role,
            identity=self.identity,
            name=self.name,
            generation=generation,
            prompt=self.prompt,
            system_prompt=self.system_prompt or "",
            model=self.model,
            small_model=self.small_model,
            rig=of_the_body if self.git_url else order.rig,
            branch=self.branch,
            start_point=self.start_point,
            lightweight=self.lightweight,
            rigs=None if self.rigs is None else tuple(_rig(each, at) for at, each in enumerate(self.rigs)),
        )

    def _given_order(self) -> StartOrder | None:
        text = self.env_vars.get(ORDER_VARIABLE)
        if text is None:
            return None
        try:
            return wire.read(StartOrder, strict_json.foreign(text, limit=outside_files.LARGEST))
        except ValueError as error:
            raise ValueError(f"{ORDER_VARIABLE}: {error}") from error


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


class TakenSign(_Body):
    """A sign of life that the town has: the time `at` that this server gave it."""

    agent_id: Id = Field(alias="agentId")
    generation: int
    at: Annotated[datetime, BeforeValidator(_own_time)]


class Heard(_Body):
    """POST /agents/heard."""

    agents: list[TakenSign]


class LookForMerge(_Body):
    """POST /merge-proof: whether the target branch of a repository contains a merge."""

    git_url: Name = Field(alias="gitUrl")
    target_branch: Name = Field(alias="targetBranch")
    branch: Name
    head: Name | None = None
    base: Name | None = None
    merge_commit: Name | None = Field(default=None, alias="mergeCommit")


class SyncedRig(BaseModel):
    """A repository to clone ahead of time; its other fields do not matter here."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)
    git_url: str | None = None


class SyncConfig(_Body):
    """POST /sync-config: repositories to clone ahead of time, and environment variables for every later start."""

    rigs: list[SyncedRig] = Field(default_factory=list)
    env_vars: dict[str, str] = Field(default_factory=dict, alias="envVars")


def wrong_address(git_url: str | None, *, local: bool) -> str | None:
    """The problem with the address of a repository; None if git may fetch from it, or if there is no address.

    `local` allows repositories on this machine's disk. The address is not shown, because it may contain a credential.
    """
    if not git_url:
        return None
    transport = transport_of(git_url)
    if transport is None:
        return "not a repository's address without credentials; give user@host:path, or one that begins with ssh:// or https://"
    if transport == "file" and not local:
        return (
            "a repository on this machine's disk: allow them with file in GIT_ALLOW_PROTOCOL, or use https:// or ssh://"
        )
    return None


def _rig(given: object, at: int) -> OrderedRig:
    return wire.read(OrderedRig, given, f"rigs.{at}")
