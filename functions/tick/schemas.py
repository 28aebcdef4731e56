"""What the schedule sends."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from shared.domain.errors import Refused


class ScheduledTick(BaseModel):
    """One call of EventBridge Scheduler, with its context attributes as the template names them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheduled_time: AwareDatetime
    execution_id: str = ""
    attempt: int = 1

    @classmethod
    def read(cls, event: object) -> "ScheduledTick":
        """The call that an event stands for. Raises Refused."""
        try:
            return cls.model_validate(event)
        except ValueError as error:
            hint = "the Input of the schedule in template.yaml names scheduled_time, execution_id and attempt"
            raise Refused("the event is no scheduled tick", status=400, path="event", hint=hint) from error

    @property
    def minute(self) -> datetime:
        """The moment for which it was scheduled."""
        return self.scheduled_time
