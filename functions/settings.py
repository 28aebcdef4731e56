"""What a function is told by its environment, validated when it starts: a wrong deployment fails at once, and says where.

This is the only module of functions/ that reads the environment.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from shared.domain.errors import Refused, Terminal

Name = Annotated[str, Field(min_length=1, max_length=256)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=1024)]
Pattern = Annotated[str, Field(min_length=1, max_length=512)]
Names = Annotated[
    tuple[Name, ...],
    BeforeValidator(lambda given: given.split(",") if isinstance(given, str) and given else given or ()),
]
"""Names with commas between them."""

_SAYS_WHY: Final = "says_why"
"""The type of our own errors: their text is fixed, and so may be shown."""


class AccessRule(BaseModel):
    """Callers (ARN patterns, `*` stands for anything) that may use these verbs on these towns (patterns too)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    callers: tuple[Pattern, ...] = Field(min_length=1)
    towns: tuple[Pattern, ...] = Field(min_length=1)
    verbs: tuple[Literal["read", "debug", "write"], ...] = Field(min_length=1)


class FunctionSettings(BaseModel):
    """What every function is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    release: Name = "unknown"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read each field from the variable of its name in capitals; an empty one is none. Raises Terminal.

        The error names the variables and never shows what stands in them.
        """
        given = os.environ if environment is None else environment
        found = {name: given[name.upper()] for name in cls.model_fields if given.get(name.upper())}
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            wrong = sorted({_told(problem) for problem in error.errors(include_input=False)})
            problem = f"the environment of this function lacks or has wrong: {', '.join(wrong)}"
            raise Terminal(problem, hint="see Globals and Environment in template.yaml") from None


def _told(problem: ErrorDetails) -> str:
    """Which variable is wrong, with the place in it; never what stands there."""
    variable, *place = (str(part) for part in problem["loc"])
    named = ".".join([variable.upper(), *place])
    return f"{named} ({problem['msg']})" if problem["type"] == _SAYS_WHY else named


class ErrorSettings(BaseModel):
    """Where errors go. Read before anything else, and so without what only one function needs."""

    model_config = ConfigDict(frozen=True)

    dsn: str = ""
    stage: str = "unknown"
    release: str = "unknown"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "ErrorSettings":
        """An empty DSN: errors go nowhere but to the log."""
        given = os.environ if environment is None else environment
        return cls(
            dsn=given.get("SENTRY_DSN", ""),
            stage=given.get("STAGE", "unknown"),
            release=given.get("RELEASE", "unknown"),
        )


class StoreSettings(FunctionSettings):
    """Where towns are kept. An endpoint is named only where the store is not AWS."""

    town_bucket: Name
    store_endpoint: Url | None = None
    restore_window_days: Annotated[int, Field(ge=1, le=365)] = 7

    @property
    def restore_window(self) -> timedelta:
        """How far back a town can be restored and replayed."""
        return timedelta(days=self.restore_window_days)


class QueueSettings(StoreSettings):
    """Who wakes workers, or puts back a wake."""

    queue_url: Url
    queue_endpoint: Url | None = None


class AgentTasks(BaseModel):
    """Agents as tasks of Amazon ECS: one for each `agent`, or one control server for each `town`.

    `capacity` is FARGATE or a capacity provider of the cluster; `port` is the control server's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    one_task_per: Literal["agent", "town"]
    cluster: Name
    task_definition: Name
    container: Name = "agent"
    subnets: Annotated[Names, Field(min_length=1)]
    security_groups: Annotated[Names, Field(min_length=1)]
    capacity: Name = "FARGATE"
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    public_ip: bool = False


class WorkerSettings(QueueSettings):
    """Whom effects call. Without `control_server` or `ecs` no agent is started, without `secrets_prefix` no forge is asked.

    `control_server` is the base URL of the towns' control servers, in which {town} stands for the town; `ecs` is JSON and
    takes its place; `agents_api` is where agents report to, with tokens signed by `token_secret`; below `secrets_prefix` lie
    the forges' tokens and the control servers' keys; `forge_hosts` are self-hosted forges, as in gitlab=git.example.com. Of a
    hundred ticks `self_check_percent` are run again from their record.
    """

    control_server: Url | None = None
    ecs: Json[AgentTasks] | None = None
    agents_api: Url | None = None
    token_secret: Name | None = None
    secrets_endpoint: Url | None = None
    secrets_prefix: Name | None = None
    forge_hosts: Names = ()
    self_check_percent: Annotated[float, Field(ge=0, le=100)] = 1

    @field_validator("ecs")
    @classmethod
    def _is_the_only_runtime(cls, ecs: AgentTasks | None, info: ValidationInfo) -> AgentTasks | None:
        if ecs is not None and info.data.get("control_server") is not None:
            raise PydanticCustomError(_SAYS_WHY, "CONTROL_SERVER names a runtime too; an agent is started by one")
        return ecs

    @field_validator("forge_hosts")
    @classmethod
    def _are_forges(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if not texts:
            return texts
        from shared.adapters.forge_hosts import ForgeHost  # noqa: PLC0415 - only where forges are self-hosted

        for text in texts:
            try:
                ForgeHost.from_text(text)
            except Refused:
                raise PydanticCustomError(
                    _SAYS_WHY, "write them as gitlab=git.example.com,github=HOST=API-URL"
                ) from None
        return texts


class TickSettings(WorkerSettings):
    """The dispatcher. `pass_seconds` lies between two looks; above `in_process` due towns they go to the queue."""

    pass_seconds: Annotated[int, Field(ge=5, le=60)] = 5
    in_process: Annotated[int, Field(ge=0, le=1000)] = 3


class RetentionSettings(StoreSettings):
    """What is forgotten: the ends of spills and the snapshots are restore points for so many days."""

    spill_days: Annotated[int, Field(ge=1, le=365)] = 7
    snapshot_days: Annotated[int, Field(ge=1, le=3650)] = 30


class DebugSettings(StoreSettings):
    """Questions about towns. Who may ask is `access_rules`."""

    access_rules: Json[tuple[AccessRule, ...]] = ()


class EventsSettings(QueueSettings):
    """Facts from producers, and operators' writing requests."""

    access_rules: Json[tuple[AccessRule, ...]] = ()


class AuthorizerSettings(FunctionSettings):
    """Who checks town tokens. The secret's current and previous values are both valid keys."""

    token_secret: Name
    secrets_endpoint: Url | None = None
