"""The shapes of what a tick was given and did, as journal and answers show it over the wire.

Whoever builds such a value is annotated with its shape, so mypy holds both together; OpenAPI is made of the same shapes.
"""

from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # pydantic needs this one below Python 3.12
)

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

OutcomeWord = Literal["applied", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class FieldsOf:
    """Marks a dictionary that `asdict` makes of a dataclass: it has that one's shape, which is not written down twice."""

    shape: type

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """The dataclass's schema, when a schema is made of a shape; nothing else asks."""
        return handler.generate_schema(self.shape)


class EventAnswer(TypedDict):
    """An event of a tick and what became of it; `attempt` and `error` only where an attempt failed."""

    event_id: str
    event_type: str
    outcome: str
    attempt: NotRequired[int]
    error: NotRequired[str]


@with_config(ConfigDict(extra="allow"))
class AnyAction(TypedDict):
    """An action in its wire form. Which other fields it has follows from its `type`: see shared/actions."""

    type: str


ActionFields = Annotated[dict[str, Any], FieldsOf(AnyAction)]


class ActionAnswer(TypedDict):
    """What a rule, named in full, asked for, and what became of it."""

    rule: str
    action: ActionFields
    outcome: OutcomeWord
    reason: str | None


class EffectAnswer(TypedDict):
    """An effect that a tick started. `result` is what history recorded of this attempt, `unknown` where it recorded none."""

    effect_id: str
    kind: str
    subject: str
    generation: int
    attempt: int
    result: NotRequired[Any]


class AttemptAnswer(TypedDict):
    """An attempt of an effect."""

    effect_id: str
    attempt: int


class ViolationAnswer(TypedDict):
    """A broken invariant."""

    invariant: int
    name: str
    subject: str
    message: str


class MetricsAnswer(TypedDict):
    """The figures of one tick."""

    eventsDrained: int
    actionsEmitted: int
    actionsByType: dict[str, int]
    invariantViolations: int
    pendingEventCount: int
    eventsPoisoned: int
    actionsSkipped: int
    circuitBreakerOpen: int
    tickLagMs: int


class EnvelopeAnswer(TypedDict):
    """An event as a tick was given it; `payload` is JSON text."""

    event_id: str
    event_type: str
    agent_id: str | None
    bead_id: str | None
    payload: str
    source: str
    created_at: str
    received_at: str


class SeenAnswer(TypedDict):
    """What was seen of an agent's process."""

    status: str
    exit_reason: str | None
    generation: int | None


class ObservationsAnswer(TypedDict):
    """What was seen of the outside, agents by id."""

    agents: dict[str, SeenAnswer]
    container: str


class InputsAnswer(TypedDict):
    """What a tick was given beside its image; observations are `none` where nobody was asked."""

    new_events: list[EnvelopeAnswer]
    more_waiting: bool
    observations: ObservationsAnswer | Literal["none"]
    due_at: str | None
    prev_image_digest: str
    journal_published_to: int
    restore_window_ms: int
    settings: dict[str, Any]


class InputAnswer(TypedDict):
    """Everything that the tick was given: `townctl tick --input` runs exactly it."""

    tick_no: int
    tick_id: str
    now: str
    code_version: str
    sqlite_version: str
    config_digest: str
    prev_image_digest: str
    inputs: InputsAnswer


class DifferenceAnswer(TypedDict):
    """One column of one row; `*` is the whole row."""

    table: str
    key: str
    column: str
    expected: Any
    got: Any
