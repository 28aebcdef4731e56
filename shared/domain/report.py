"""The report of a tick: a value from which the journal row, the answer of a dry run, metrics and alerts are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel, to_snake

from shared.domain import wire
from shared.domain.alert import Alert
from shared.domain.orders import AnyOrder
from shared.domain.shapes import answer, document
from shared.domain.states import EffectKind
from shared.domain.tick import TickInput

CONFLICT: Final = "conflict"
"""The outcome of an event whose id was known with other content. It was not stored."""


@answer
class AppliedEvent:
    """One event of the drain. `error` is set only if the attempt failed; `attempt` counts the failed attempts."""

    event_id: str
    event_type: str
    outcome: str
    attempt: int = 0
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The event as the journal stores it."""
        # the journal keeps the type of a conflicting event only in the inputs, as it always has
        kind = "" if self.outcome == CONFLICT else self.event_type
        shown: dict[str, Any] = {"event_id": self.event_id, "event_type": kind, "outcome": self.outcome}
        if self.error is not None:
            shown["attempt"] = self.attempt
            shown["error"] = self.error
        return shown


OutcomeWord = Literal["applied", "skipped", "failed"]

ActionFields = Annotated[
    Mapping[str, Any],
    BeforeValidator(lambda shown: {to_snake(name): value for name, value in shown.items()}),
    PlainSerializer(
        lambda action: {to_camel(name): value for name, value in action.items()}, return_type=dict[str, Any]
    ),
    WithJsonSchema(
        {
            "type": "object",
            "description": "An action. Its other fields depend on its type: see docs/spec/actions.md.",
            "properties": {"type": {"type": "string"}},
            "required": ["type"],
            "additionalProperties": True,
        }
    ),
]
"""An action in its wire form, which the journal stores. In answers its fields are in camelCase."""


@answer
class JudgedAction:
    """One action, the full name of the rule that asked for it, and its outcome."""

    rule: str
    action: ActionFields
    outcome: OutcomeWord
    reason: str | None = None

    @property
    def outcome_text(self) -> str:
        """The outcome, with the reason if there is one."""
        return self.outcome if self.reason is None else f"{self.outcome}: {self.reason}"

    def as_json(self) -> dict[str, Any]:
        """The action as the journal stores it."""
        return {"rule": self.rule, "action": dict(self.action), "outcome": self.outcome, "reason": self.reason}


@answer
class Claim:
    """An effect that a tick claimed: the worker starts it after the commit."""

    effect_id: str
    kind: EffectKind
    subject: str
    generation: int
    attempt: int


@dataclass(frozen=True, slots=True)
class ClaimedEffect(Claim):
    """A claim with what the worker needs to start the effect."""

    seq: int
    payload: Mapping[str, object]
    deadline: datetime

    def order(self, shape: type[AnyOrder]) -> AnyOrder:
        """The order that the payload is. Raises Unfit."""
        return wire.read(shape, self.payload)


@answer
class BrokenInvariant:
    """An invariant that is violated, and by which row."""

    invariant: int
    name: str
    subject: str
    message: str

    def as_json(self) -> dict[str, Any]:
        """The violation as the journal stores it."""
        return {"invariant": self.invariant, "name": self.name, "subject": self.subject, "message": self.message}


@dataclass(frozen=True, slots=True)
class Violation(BrokenInvariant):
    """An open violation of an invariant. `captured` means that this tick reports it."""

    captured: bool


@answer
class TickMetrics:
    """The figures of one tick. Those that an older version of the code did not record are 0."""

    events_drained: int = 0
    actions_emitted: int = 0
    actions_by_type: dict[str, int] = field(default_factory=dict)
    invariant_violations: int = 0
    pending_event_count: int = 0
    events_poisoned: int = 0
    merges_unproven: int = 0
    actions_skipped: int = 0
    circuit_breaker_open: int = 0
    tick_lag_ms: int = 0
    agent_tokens: int = 0
    agent_cost_micros: int = 0


@dataclass(frozen=True, slots=True)
class BusinessEvent:
    """Something that people outside the town want to know, such as a suppressed landing. `data` is JSON."""

    name: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TickReport:
    """Everything that one tick decided. `quiet` means that nothing happened and nothing is committed."""

    town_id: str
    input: TickInput
    quiet: bool
    metrics: TickMetrics
    events: tuple[AppliedEvent, ...] = ()
    actions: tuple[JudgedAction, ...] = ()
    effects: tuple[ClaimedEffect, ...] = ()
    violations: tuple[Violation, ...] = ()
    next_due: datetime | None = None
    business_events: tuple[BusinessEvent, ...] = ()
    alerts: tuple[Alert, ...] = ()
    pending_before: int = 0
    pending_after: int = 0
    oldest_pending: datetime | None = None
    """The time of receipt of the oldest event that is still pending after the drain."""

    def outputs(self) -> dict[str, Any]:
        """The column `outputs` of the journal."""
        return {
            "events": [event.as_json() for event in self.events],
            "actions": [action.as_json() for action in self.actions],
            "effects": [{"effect_id": effect.effect_id, "attempt": effect.attempt} for effect in self.effects],
            "violations": [violation.as_json() for violation in self.violations],
            "metrics": document(self.metrics),
            "business_events": [{"name": event.name, "data": dict(event.data)} for event in self.business_events],
        }
