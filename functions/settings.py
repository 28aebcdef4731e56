"""The settings of each function, read from its environment and validated at start: a misconfigured deployment fails at once.

This is the only module that reads the environment.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError

from functions import log
from functions.endpoints import Places, require_one_side
from shared.domain.errors import Refused, SettingsInvalid
from shared.domain.field_errors import FieldError, all_errors

SettingName = Annotated[str, Field(min_length=1, max_length=256)]
Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=1024)]
Pattern = Annotated[str, Field(min_length=1, max_length=512)]
Verb = Literal["read", "debug", "write", "delete"]
"""What an operator may do with a town."""

TopicArn = Annotated[str, Field(pattern=r"^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", max_length=512)]
Names = Annotated[
    tuple[SettingName, ...],
    BeforeValidator(lambda given: given.split(",") if isinstance(given, str) and given else given or ()),
]
"""Names separated by commas."""

_SAYS_WHY: Final = "says_why"
"""The error type of our own validators. Their messages contain no values, so they may be shown."""


def _are_forges(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts:
        return texts
    from shared.adapters.forge_hosts import ForgeHost  # noqa: PLC0415 - only where forges are self-hosted

    for text in texts:
        try:
            ForgeHost.from_text(text)
        except Refused:
            raise PydanticCustomError(_SAYS_WHY, "expected: gitlab=git.example.com,github=HOST=API-URL") from None
    return texts


ForgeHostNames = Annotated[Names, AfterValidator(_are_forges)]
"""Self-hosted forges, separated by commas."""

SELF_CHECK_PERCENT: Final = 1.0


def _default_if_invalid(given: Any, validate: ValidatorFunctionWrapHandler) -> float:
    """The percentage of self-checks. They are telemetry, so an invalid value is only a line in the log."""
    try:
        return float(validate(given))
    except ValidationError:
        log.setting_ignored("SELF_CHECK_PERCENT")
        return SELF_CHECK_PERCENT


class AccessRule(BaseModel):
    """Callers that may use these verbs on these towns. Callers (ARNs) and towns are patterns; `*` matches anything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    callers: tuple[Pattern, ...] = Field(min_length=1)
    towns: tuple[Pattern, ...] = Field(min_length=1)
    verbs: tuple[Verb, ...] = Field(min_length=1)


class FunctionSettings(BaseModel):
    """The settings of every function."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    profile: Literal["standard", "small"] = "standard"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read each field from the variable with its name in capitals. A blank variable counts as missing. Raises SettingsInvalid.

        The error names the variables and never shows their values.
        """
        given = os.environ if environment is None else environment
        found = {name: text for name in cls.model_fields if (text := given.get(name.upper(), "").strip())}
        try:
            settings = cls.model_validate(found)
        except ValidationError as error:
            wrong = sorted({_named(problem) for problem in all_errors(error)})
            problem = f"settings of this function are missing or invalid: {', '.join(wrong)}"
            raise SettingsInvalid(problem, hint="set them under Globals and Environment in template.yaml") from None
        require_one_side(settings.places, given)
        return settings

    @property
    def places(self) -> Places:
        """The services that the function calls."""
        return {}


def _named(problem: FieldError) -> str:
    """The name of an invalid variable, with the place in it; never its value."""
    variable, *place = (str(part) for part in problem.path)
    named = ".".join([variable.upper(), *place])
    return f"{named} ({problem.message})" if problem.kind == _SAYS_WHY else named


class ErrorSettings(BaseModel):
    """Where errors are reported, and what is logged. Read before anything else, by every function, so no value is invalid here."""

    model_config = ConfigDict(frozen=True)

    dsn: str = ""
    log_level: str = "INFO"
    stage: str = "unknown"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "ErrorSettings":
        """Read the variables. Without a DSN, errors go only to the log."""
        given = os.environ if environment is None else environment
        stage, level = (given.get(name, "").strip() for name in ("STAGE", "LOG_LEVEL"))
        return cls(dsn=given.get("SENTRY_DSN", "").strip(), log_level=level.upper() or "INFO", stage=stage or "unknown")


class StoreSettings(FunctionSettings):
    """Where towns are kept. An endpoint is set only if the store is not AWS; then the credentials must not be AWS's either.

    `waiting_table` is the DynamoDB table of inboxes and due markers; without it, they are objects of the bucket.

    Lambda itself sets the variable of `aws_lambda_function_memory_size`, in MiB; the largest image follows from it.
    """

    town_bucket: SettingName
    aws_lambda_function_memory_size: Annotated[int, Field(ge=128)] | None = None
    store_endpoint: Url | None = None
    waiting_table: SettingName | None = None
    table_endpoint: Url | None = None
    restore_window_days: Annotated[int, Field(ge=1, le=365)] = 7

    @property
    def places(self) -> Places:
        """The services that the function calls."""
        table = {} if self.waiting_table is None else {"TABLE_ENDPOINT": self.table_endpoint}
        return {**super().places, "STORE_ENDPOINT": self.store_endpoint, **table}

    @property
    def restore_window(self) -> timedelta:
        """How far back a town can be restored and replayed."""
        return timedelta(days=self.restore_window_days)


class QueueSettings(StoreSettings):
    """Functions that send wakes or put them back."""

    queue_url: Url
    queue_endpoint: Url | None = None

    @property
    def places(self) -> Places:
        """The services that the function calls."""
        return {**super().places, "QUEUE_ENDPOINT": self.queue_endpoint, "QUEUE_URL": self.queue_url}


class AgentTasks(BaseModel):
    """Agents as Amazon ECS tasks: one for each `agent`, or one control server for each `town`.

    `capacity` is FARGATE or a capacity provider of the cluster; `port` is the port of the control server.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    one_task_per: Literal["agent", "town"]
    cluster: SettingName
    task_definition: SettingName
    container: SettingName = "agent"
    subnets: Annotated[Names, Field(min_length=1)]
    security_groups: Annotated[Names, Field(min_length=1)]
    capacity: SettingName = "FARGATE"
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    public_ip: bool = False


class WorkerSettings(QueueSettings):
    """Functions that run towns and perform their effects.

    - `control_server`: the base URL of the towns' control servers; {town} is replaced by the town's id.
    - `ecs`: JSON, instead of `control_server`. If neither is set, no agents are started.
    - `agents_api`: the base URL that agents report to, with tokens signed by `token_secret`.
    - `secrets_prefix`: where the tokens of forges and the keys of control servers are stored. If not set, no forge is called.
    - `forge_hosts`: self-hosted forges, such as gitlab=git.example.com.
    - `self_check_percent`: the share of ticks that are replayed from their journal rows.
    - `notice_topic`: the SNS topic to which notices to people are sent as mail.
    """

    control_server: Url | None = None
    ecs: Json[AgentTasks] | None = None
    agents_api: Url | None = None
    token_secret: SettingName | None = None
    secrets_endpoint: Url | None = None
    secrets_prefix: SettingName | None = None
    forge_hosts: ForgeHostNames = ()
    self_check_percent: Annotated[float, Field(ge=0, le=100), WrapValidator(_default_if_invalid)] = SELF_CHECK_PERCENT
    notice_topic: TopicArn | None = None

    @property
    def places(self) -> Places:
        """The services that the function calls."""
        reads_secrets = self.secrets_prefix is not None or self.token_secret is not None
        secrets = {"SECRETS_ENDPOINT": self.secrets_endpoint} if reads_secrets else {}
        always_aws = {"ECS": self.ecs, "NOTICE_TOPIC": self.notice_topic}
        return {**super().places, **secrets, **{name: None for name, used in always_aws.items() if used is not None}}

    @field_validator("ecs")
    @classmethod
    def _is_the_only_runtime(cls, ecs: AgentTasks | None, info: ValidationInfo) -> AgentTasks | None:
        if ecs is not None and info.data.get("control_server") is not None:
            raise PydanticCustomError(_SAYS_WHY, "CONTROL_SERVER is set as well; set only one of the two")
        return ecs


class TickSettings(WorkerSettings):
    """The dispatcher.

    `pass_seconds` is the time between two passes. `in_process` is the maximum number of due towns that the dispatcher ticks
    in-process; if more are due, they go to the queue.
    """

    pass_seconds: Annotated[int, Field(ge=5, le=60)] = 5
    in_process: Annotated[int, Field(ge=0, le=1000)] = 3


class RetentionSettings(StoreSettings):
    """Retention: for how many days snapshots and the ends of spills are restore points."""

    spill_days: Annotated[int, Field(ge=1, le=365)] = 7
    snapshot_days: Annotated[int, Field(ge=1, le=3650)] = 30


class DebugSettings(StoreSettings):
    """The debug API. `access_rules` say who may call it. A dry run tells the people whom the next tick tells: `notice_topic`."""

    access_rules: Json[tuple[AccessRule, ...]] = ()
    notice_topic: TopicArn | None = None


class EventsSettings(QueueSettings):
    """The events API, for producers and for operators. `access_rules` say which operators may call it."""

    access_rules: Json[tuple[AccessRule, ...]] = ()


class RedriveSettings(EventsSettings):
    """Redrive, for operators, and the links in notices, for people. `token_secret` has the keys with which links are signed."""

    token_secret: SettingName
    secrets_endpoint: Url | None = None

    @property
    def places(self) -> Places:
        """The services that the function calls."""
        return {**super().places, "SECRETS_ENDPOINT": self.secrets_endpoint}


class ArchiveSettings(StoreSettings):
    """The archive of towns. `access_rules` say who may archive and delete which town, and who may see which archived one."""

    access_rules: Json[tuple[AccessRule, ...]] = ()


class CredentialsSettings(StoreSettings):
    """The credentials API. `secrets_prefix` is where the tokens for agents are stored, `forge_hosts` are self-hosted forges."""

    secrets_endpoint: Url | None = None
    secrets_prefix: SettingName
    forge_hosts: ForgeHostNames = ()

    @property
    def places(self) -> Places:
        """The services that the function calls."""
        return {**super().places, "SECRETS_ENDPOINT": self.secrets_endpoint}


class AuthorizerSettings(FunctionSettings):
    """The authorizer of town tokens. The current and the previous value of the secret are both valid keys."""

    token_secret: SettingName
    secrets_endpoint: Url | None = None

    @property
    def places(self) -> Places:
        """The services that the function calls."""
        return {**super().places, "SECRETS_ENDPOINT": self.secrets_endpoint}
