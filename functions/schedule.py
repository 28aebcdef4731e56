"""What the schedules send."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from shared.domain.errors import Refused


class ScheduledCall(BaseModel):
    """One call of EventBridge Scheduler, with its context attributes as the template names them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheduled_time: AwareDatetime
    execution_id: str = ""
    attempt: int = 1

    @classmethod
    def read(cls, event: object) -> "ScheduledCall":
        """The call that an event stands for. Raises Refused."""
        try:
            return cls.model_validate(event)
        except ValueError as error:
            hint = "the Input of the schedules in template.yaml names scheduled_time, execution_id and attempt"
            raise Refused("the event is no scheduled call", status=400, path="event", hint=hint) from error

    @property
    def minute(self) -> datetime:
        """The moment for which it was scheduled."""
        return self.scheduled_time
