"""The wire format of a tick's input and output, as the journal and the answers show them.

The functions that build these values are annotated with these types, so mypy checks one against the other; the OpenAPI
document is generated from the same types.
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
    """Annotates a dictionary that `asdict` made from a dataclass: it has the fields of that dataclass."""

    shape: type

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """The schema of the dataclass; pydantic calls this when it generates a schema."""
        return handler.generate_schema(self.shape)


class EventAnswer(TypedDict):
    """An event of a tick and its outcome; `attempt` and `error` are present only if an attempt failed."""

    event_id: str
    event_type: str
    outcome: str
    attempt: NotRequired[int]
    error: NotRequired[str]


@with_config(ConfigDict(extra="allow"))
class AnyAction(TypedDict):
    """An action in its wire form. Its other fields depend on its `type`: see shared/actions."""

    type: str


ActionFields = Annotated[dict[str, Any], FieldsOf(AnyAction)]


class ActionAnswer(TypedDict):
    """An action, the full name of the rule that asked for it, and its outcome."""

    rule: str
    action: ActionFields
    outcome: OutcomeWord
    reason: str | None


class EffectAnswer(TypedDict):
    """An effect that a tick claimed. `result` is the recorded result of this attempt, `unknown` if none was recorded."""

    effect_id: str
    kind: str
    subject: str
    generation: int
    attempt: int
    result: NotRequired[Any]


class AttemptAnswer(TypedDict):
    """One attempt of an effect."""

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
    """An event as a tick received it; `payload` is JSON text."""

    event_id: str
    event_type: str
    agent_id: str | None
    bead_id: str | None
    payload: str
    source: str
    created_at: str
    received_at: str


class SeenAnswer(TypedDict):
    """What the runtime reported about an agent's process."""

    status: str
    exit_reason: str | None
    generation: int | None


class ObservationsAnswer(TypedDict):
    """What the runtime reported at the start of a tick, agents by id."""

    agents: dict[str, SeenAnswer]
    container: str


class InputsAnswer(TypedDict):
    """What a tick was given besides its image; observations are `none` if the runtime was not asked."""

    new_events: list[EnvelopeAnswer]
    more_waiting: bool
    observations: ObservationsAnswer | Literal["none"]
    due_at: str | None
    prev_image_digest: str
    journal_published_to: int
    restore_window_ms: int
    settings: dict[str, Any]


class InputAnswer(TypedDict):
    """Everything that a tick was given; `townctl tick --input` runs a tick with exactly this input."""

    tick_no: int
    tick_id: str
    now: str
    code_version: str
    sqlite_version: str
    config_digest: str
    prev_image_digest: str
    inputs: InputsAnswer


class DifferenceAnswer(TypedDict):
    """One column of one row in which two states differ; `*` stands for the whole row."""

    table: str
    key: str
    column: str
    expected: Any
    got: Any
