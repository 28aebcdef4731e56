"""Configuration of a town and overrides of a rig (spec/events.md section 6).

A stored configuration may lack any value. `effective` gives the settings that apply to a rig: its override, else the
town's value, else the default. Null in an override counts as absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from shared.domain import field_errors
from shared.domain.field_errors import FieldError, first_error
from shared.domain.limits import (
    ARCHIVE_CLOSED_AFTER,
    ARCHIVE_FAILED_AFTER,
    FIELD_SIZE,
    HOOK_LIMIT_HOURS,
    MAX_DISPATCH_ATTEMPTS,
    MINUTE,
)
from shared.domain.notices import is_safe_address
from shared.domain.repositories import names_repository
from shared.domain.spending import Budget, Limit, RigBudget
from shared.domain.states import Role


def _named(text: str) -> str:
    if not names_repository(text):
        raise ValueError("the address of a repository, or owner/name, is required")
    return text


Text = Annotated[StrictStr, Field(max_length=FIELD_SIZE)]
RepositoryText = Annotated[Text, AfterValidator(_named)]
MergeStrategy = Literal["direct", "pr"]
ReviewMode = Literal["rework", "comments"]
MergeProof = Literal["when_possible", "required"]
ConvoyMergeMode = Literal["review-then-land", "review-and-merge"]
AgentForgeAccess = Literal["app", "stored", "none"]
"""What agents get for git and the forge: a token of the deployment's App, one that a person stored for agents, or nothing."""
RoleModels = dict[Literal["polecat", "refinery", "mayor"], Text]
DelayMinutes = Annotated[StrictInt, Field(ge=0, le=1_000_000)]
ArchiveMinutes = Annotated[StrictInt, Field(ge=1, le=10_000_000)]
Attempts = Annotated[StrictInt, Field(ge=1, le=1_000_000)]


class _Strict(BaseModel):
    # Each validator is built on first use, because a part is mostly validated as a part of the whole.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class RefineryConfig(_Strict):
    """How merge requests are reviewed and merged."""

    code_review: StrictBool = True
    review_mode: ReviewMode = "rework"
    auto_merge: StrictBool = True
    auto_merge_delay_minutes: DelayMinutes | None = None
    auto_resolve_pr_feedback: StrictBool = False
    auto_resolve_merge_conflicts: StrictBool = True
    gates: tuple[Text, ...] = ()
    require_clean_merge: StrictBool = True
    require_checks: StrictBool = False
    required_checks_only: StrictBool = False
    merge_proof: MergeProof = "when_possible"
    trusted_authors: tuple[Text, ...] = ()


class ContainerConfig(_Strict):
    """The town's container."""

    sleep_after_minutes: Annotated[StrictInt, Field(ge=5, le=120)] | None = None


class ArchiveConfig(_Strict):
    """After which time without a change ended beads leave the town's image for its archive."""

    closed_after_minutes: ArchiveMinutes = ARCHIVE_CLOSED_AFTER // MINUTE
    failed_after_minutes: ArchiveMinutes = ARCHIVE_FAILED_AFTER // MINUTE


def _safe(text: str) -> str:
    if not is_safe_address(text):
        raise ValueError("an address that begins with https://, or http:// of this machine, is required")
    return text


WebhookAddress = Annotated[StrictStr, Field(max_length=1024), AfterValidator(_safe)]


class NoticesConfig(_Strict):
    """On which channels the town tells people of escalations and alerts, from which severity on, and how many an hour."""

    webhook: WebhookAddress | None = None
    desktop: StrictBool = False
    from_severity: Literal["low", "medium", "high", "critical"] = "medium"
    per_hour: Annotated[StrictInt, Field(ge=1, le=100)] = 20


class AgentRuntimeConfig(BaseModel):
    """Where agents run. Each kind has settings of its own, which its adapter reads."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)
    kind: Literal["control_server", "ecs", "local"]


class TownConfig(_Strict):
    """A town's configuration. Values that are not given have their defaults."""

    organization_id: Text | None = None
    merge_strategy: MergeStrategy = "direct"
    refinery: RefineryConfig = RefineryConfig()
    convoy_merge_mode: ConvoyMergeMode = "review-then-land"
    staged_convoys_default: StrictBool = False
    max_dispatch_attempts: Attempts = MAX_DISPATCH_ATTEMPTS
    on_failed_dependency: Literal["hold", "proceed"] = "hold"
    max_polecats_per_rig: Annotated[StrictInt, Field(ge=1, le=50)] | None = None
    budget: Budget = Budget()
    container: ContainerConfig = ContainerConfig()
    archive: ArchiveConfig = ArchiveConfig()
    notices: NoticesConfig = NoticesConfig()
    default_model: Text | None = None
    role_models: RoleModels = Field(default_factory=dict)
    custom_instructions: Text | None = None
    agent_forge_access: AgentForgeAccess | None = None
    agent_runtime: AgentRuntimeConfig | None = None
    hook_limit_hours: Annotated[StrictInt, Field(ge=1, le=720)] = HOOK_LIMIT_HOURS
    alarm_interval_active: Annotated[StrictInt, Field(ge=5, le=60)] = 5
    alarm_interval_idle: Annotated[StrictInt, Field(ge=30, le=3600)] | None = None

    @property
    def is_local(self) -> bool:
        """Whether agents run on the town's own machine, as they do where no other runtime is named."""
        return self.agent_runtime is None or self.agent_runtime.kind == "local"


class RigConfig(_Strict):
    """The overrides of one rig. None means that the town's value applies."""

    default_model: Text | None = None
    role_models: RoleModels | None = None
    review_mode: ReviewMode | None = None
    code_review: StrictBool | None = None
    auto_resolve_pr_feedback: StrictBool | None = None
    auto_resolve_merge_conflicts: StrictBool | None = None
    auto_merge_delay_minutes: DelayMinutes | None = None
    merge_strategy: MergeStrategy | None = None
    convoy_merge_mode: ConvoyMergeMode | None = None
    custom_instructions: Text | None = None
    git_push_flags: Text | None = None
    agent_forge_access: AgentForgeAccess | None = None
    require_checks: StrictBool | None = None
    required_checks_only: StrictBool | None = None
    merge_proof: MergeProof | None = None
    trusted_authors: tuple[Text, ...] | None = None
    upstream: RepositoryText | None = None
    max_concurrent_polecats: Annotated[StrictInt, Field(ge=1)] | None = None
    max_dispatch_attempts: Attempts | None = None
    budget: RigBudget | None = None


OF_A_RIG: Final[Mapping[str, str]] = {
    "agent_forge_access": "agent_forge_access",
    "budget.per_bead": "budget.per_bead",
    "budget.per_convoy": "budget.per_convoy",
    "convoy_merge_mode": "convoy_merge_mode",
    "custom_instructions": "custom_instructions",
    "default_model": "default_model",
    "max_dispatch_attempts": "max_dispatch_attempts",
    "max_polecats_per_rig": "max_concurrent_polecats",
    "merge_strategy": "merge_strategy",
    "refinery.auto_merge_delay_minutes": "auto_merge_delay_minutes",
    "refinery.auto_resolve_merge_conflicts": "auto_resolve_merge_conflicts",
    "refinery.auto_resolve_pr_feedback": "auto_resolve_pr_feedback",
    "refinery.code_review": "code_review",
    "refinery.merge_proof": "merge_proof",
    "refinery.require_checks": "require_checks",
    "refinery.required_checks_only": "required_checks_only",
    "refinery.review_mode": "review_mode",
    "refinery.trusted_authors": "trusted_authors",
    "role_models": "role_models",
}
"""For a setting of the town, the name of a rig's own setting that goes before it."""

NEW_TOWN: Final[dict[str, object]] = {
    "merge_strategy": "pr",
    "refinery": {
        "review_mode": "comments",
        "auto_merge_delay_minutes": 5,
        "auto_resolve_pr_feedback": True,
    },
    "staged_convoys_default": True,
}
"""The settings that a new town stores at its creation. A value that is not stored has its default in the classes above."""


@dataclass(frozen=True, slots=True)
class EffectiveSettings:
    """The settings that apply to one rig, or to the town for work without a rig."""

    merge_strategy: MergeStrategy
    code_review: bool
    review_mode: ReviewMode
    auto_merge: bool
    auto_merge_delay: timedelta | None
    auto_resolve_pr_feedback: bool
    auto_resolve_merge_conflicts: bool
    convoy_merge_mode: ConvoyMergeMode
    max_dispatch_attempts: int
    max_polecats: int | None
    per_convoy: Limit | None
    per_bead: Limit | None
    custom_instructions: str | None
    git_push_flags: str | None
    agent_forge_access: AgentForgeAccess | None
    gates: tuple[str, ...]
    require_clean_merge: bool
    require_checks: bool
    required_checks_only: bool
    merge_proof: MergeProof
    trusted_authors: tuple[str, ...]
    upstream: str | None
    default_model: str | None
    role_models: dict[str, str]

    @property
    def wants_auto_merge(self) -> bool:
        """Whether a green pull request is merged automatically."""
        return self.auto_merge and self.auto_merge_delay is not None

    def model_for(self, role: Role) -> str | None:
        """The model that an agent of that role is started with; None means the runtime's default."""
        return self.role_models.get(role.value, self.default_model)


def effective(town: TownConfig, rig: RigConfig | None) -> EffectiveSettings:
    """The settings of a rig: its override, else the town's value, else the default."""
    override = rig if rig is not None else _NO_OVERRIDES
    refinery = town.refinery
    delay = _first(override.auto_merge_delay_minutes, refinery.auto_merge_delay_minutes)
    return EffectiveSettings(
        merge_strategy=override.merge_strategy or town.merge_strategy,
        code_review=_either(override.code_review, default=refinery.code_review),
        review_mode=override.review_mode or refinery.review_mode,
        auto_merge=refinery.auto_merge,
        auto_merge_delay=None if delay is None else timedelta(minutes=delay),
        auto_resolve_pr_feedback=_either(override.auto_resolve_pr_feedback, default=refinery.auto_resolve_pr_feedback),
        auto_resolve_merge_conflicts=_either(
            override.auto_resolve_merge_conflicts, default=refinery.auto_resolve_merge_conflicts
        ),
        convoy_merge_mode=override.convoy_merge_mode or town.convoy_merge_mode,
        max_dispatch_attempts=override.max_dispatch_attempts or town.max_dispatch_attempts,
        per_convoy=(override.budget or _NO_BUDGET).per_convoy or town.budget.per_convoy,
        per_bead=(override.budget or _NO_BUDGET).per_bead or town.budget.per_bead,
        max_polecats=_first(override.max_concurrent_polecats, town.max_polecats_per_rig),
        custom_instructions=override.custom_instructions or town.custom_instructions,
        git_push_flags=override.git_push_flags,
        agent_forge_access=override.agent_forge_access or town.agent_forge_access,
        gates=refinery.gates,
        require_clean_merge=refinery.require_clean_merge,
        require_checks=_either(override.require_checks, default=refinery.require_checks),
        required_checks_only=_either(override.required_checks_only, default=refinery.required_checks_only),
        merge_proof=override.merge_proof or refinery.merge_proof,
        trusted_authors=refinery.trusted_authors if override.trusted_authors is None else override.trusted_authors,
        upstream=override.upstream,
        default_model=override.default_model or town.default_model,
        role_models=dict([*town.role_models.items(), *(override.role_models or {}).items()]),
    )


def merged(stored: dict[str, object], given: dict[str, object]) -> dict[str, object]:
    """`stored`, with its values replaced by the given ones; sections are merged one level deep."""
    result = dict(stored)
    for key, value in given.items():
        old = result.get(key)
        result[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def first_problem(model: type[BaseModel], values: dict[str, object]) -> str | None:
    """The path of the first invalid value, as in `refinery.auto_merge_delay_minutes`; None if all are valid."""
    found = _first_error(model, values)
    return None if found is None else found.place or "config"


def what_is_expected(model: type[BaseModel], values: dict[str, object]) -> str:
    """What is wrong with the first invalid value, in a sentence; for an unknown setting, the list of known ones."""
    found = _first_error(model, values)
    if found is None:
        return ""
    expected = field_errors.what_is_expected(model, found) or found.message
    return f"{expected}; `townctl explain setting NAME` and docs/settings.md describe each setting"


def why_refused(model: type[BaseModel], values: dict[str, object]) -> str:
    """Why the first wrong value is refused, as in `at budget.per_day.usd, input should be greater than 0`; empty if none is."""
    found = _first_error(model, values)
    if found is None:
        return ""
    why = f"{found.message[:1].lower()}{found.message[1:]}"
    if found.kind == field_errors.UNKNOWN_FIELD:
        why += f"; {field_errors.what_is_expected(model, found)}"
    return f"at {found.place or 'config'}, {why}"


def _first_error(model: type[BaseModel], values: dict[str, object]) -> FieldError | None:
    try:
        model.model_validate(values)
    except ValidationError as error:
        return first_error(error)
    return None


def _first(override: int | None, town: int | None) -> int | None:
    return override if override is not None else town


def _either(override: bool | None, *, default: bool) -> bool:
    return default if override is None else override


_NO_OVERRIDES: Final = RigConfig()
_NO_BUDGET: Final = RigBudget()
