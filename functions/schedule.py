"""The event that EventBridge Scheduler sends."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from shared.domain.errors import Refused


class ScheduledCall(BaseModel):
    """One call of EventBridge Scheduler, with the context attributes that the template passes on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheduled_time: AwareDatetime
    execution_id: str = ""
    attempt: int = 1

    @classmethod
    def read(cls, event: object) -> "ScheduledCall":
        """The call in an event. Raises Refused."""
        try:
            return cls.model_validate(event)
        except ValueError as error:
            hint = "the Input of the schedules in template.yaml must contain scheduled_time, execution_id and attempt"
            raise Refused("the event is not a scheduled call", status=400, path="event", hint=hint) from error

    @property
    def minute(self) -> datetime:
        """The time for which the call was scheduled."""
        return self.scheduled_time
