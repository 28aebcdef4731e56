"""The wire format of the answers. The OpenAPI document is generated from it, and tests check the answers against it."""

from typing import Annotated, Any

from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from shared.domain.answers import (
    ActionAnswer,
    ActionFields,
    EffectAnswer,
    EventAnswer,
    FieldsOf,
    InputAnswer,
    MetricsAnswer,
    ViolationAnswer,
)
from shared.questions.snapshot import AsOf


class PendingCount(TypedDict):
    """The number of pending events, before and after the drain."""

    before: int
    after: int


class DigestsAnswer(TypedDict):
    """The digests of the image that would be committed."""

    image: str
    logical: str


class WantedAction(TypedDict):
    """An action that a rule would yield if the paused town were started."""

    rule: str
    action: ActionFields


class DryRunAnswer(TypedDict):
    """The answer of reconcile-dry-run."""

    townId: str
    asOf: Annotated[dict[str, Any], FieldsOf(AsOf)]
    quiet: bool
    input: InputAnswer
    events: list[EventAnswer]
    actions: list[ActionAnswer]
    ifStarted: list[WantedAction]
    effects: list[EffectAnswer]
    violations: list[ViolationAnswer]
    metrics: MetricsAnswer
    pendingEventCount: PendingCount
    waiting: dict[str, int]
    nextDueAt: str | None
    digests: DigestsAnswer
