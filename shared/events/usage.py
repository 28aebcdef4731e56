"""What agents use, as they report it (spec/events.md section 4.1)."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from shared.domain.outcomes import ALREADY, MISSING, Applied, EventOutcome, Skipped
from shared.domain.times import from_text
from shared.domain.usage import MOST, Usage
from shared.events import fence
from shared.events.agents import hear
from shared.events.base import Event, EventResult
from shared.events.fields import FreeText, Generation
from shared.town import lookup
from shared.town.inbox import Fact
from shared.town.rows import Agent
from shared.town.town import Town
from shared.town.writing import faults, usage

TOO_MANY_MODELS: Final = Skipped("too many models")
_MODEL: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,128}")


def _model(text: str) -> str:
    if not _MODEL.fullmatch(text):
        raise PydanticCustomError("no_model", "a model's name has 1 to 128 characters and no control characters")
    return text


Tokens = Annotated[int, Field(ge=0, le=MOST)]
Model = Annotated[FreeText, AfterValidator(_model)]


class AgentUsage(Event):
    """The totals that a generation of an agent has used of one model so far, and their cost if it is known."""

    event_type = "agent_usage"
    needs = ("agent_id",)
    senders = frozenset({"agent", "coordinator", "operator"})
    is_own_report = True
    transient = True
    counts_late = True

    model: Model
    input_tokens: Tokens
    output_tokens: Tokens
    cached_tokens: Tokens
    cost_micros: Tokens | None = None
    generation: Generation | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Count what is more than was reported before. What a superseded generation has spent counts too, if it is known."""
        return EventResult(self._counted(fact, town, hear(fact, town, self.generation)))

    def _counted(self, fact: Fact, town: Town, agent: Agent | None) -> EventOutcome:
        agent_id = fact.agent_id or ""
        generation = self.generation or (None if agent is None else agent.generation)
        if generation is None:
            return MISSING
        if not usage.is_counted(town, agent_id, generation):
            if agent is None:
                return MISSING
            if fence.is_stale(agent.role, agent.generation, generation):
                return fence.STALE_GENERATION
        if not usage.has_room(town, agent_id, generation, self.model):
            return TOO_MANY_MODELS
        at = from_text(fact.received_at)
        counted = usage.count(town, agent_id, agent, generation, model=self.model, told=self._told, at=at)
        if counted and agent is not None and generation == agent.generation:
            faults.forget(town, lookup.bead(town, agent.hook))  # the model has answered
        return Applied() if counted else ALREADY

    @property
    def _told(self) -> Usage:
        tokens = Usage(self.input_tokens, self.output_tokens, self.cached_tokens)
        if self.cost_micros is None:
            return tokens
        return Usage(
            self.input_tokens,
            self.output_tokens,
            self.cached_tokens,
            priced_tokens=tokens.tokens,
            cost_micros=self.cost_micros,
        )
