"""The request body of replay-events (spec/tick.md 11)."""

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, StrictInt

from shared.domain.errors import Refused
from shared.domain.tick import Envelope
from shared.intake import ingest
from shared.intake.asked_time import FORM, time_in
from shared.questions.request_body import A_TIME, EVENTS_AT_MOST, PostedEvent, RequestBody
from shared.replay.time_window import Window, window_of
from shared.replay.what_if.overrides import Overrides

_MONTH_MS: Final = 31 * 24 * 3_600_000


class AddedEvent(RequestBody):
    """An event that the changed town receives in addition, at the time `at`."""

    at: Annotated[str, A_TIME]
    event: PostedEvent


class OverridesRequest(RequestBody):
    """The changes of a what-if: settings, ids of events left out, events added, and a shift of the clock in milliseconds."""

    config: dict[str, Any] = Field(default_factory=dict)
    leave_out: Annotated[list[str], Field(max_length=1000, alias="leaveOut")] = Field(default_factory=list)
    add: Annotated[list[AddedEvent], Field(max_length=EVENTS_AT_MOST)] = Field(default_factory=list)
    shift_ms: Annotated[StrictInt, Field(ge=-_MONTH_MS, le=_MONTH_MS, alias="shiftMs")] = 0

    def overrides(self) -> Overrides:
        """The overrides. Raises Refused for an event that could not be posted, or an invalid time."""
        return Overrides(
            config=self.config,
            leave_out=tuple(sorted(set(self.leave_out))),
            add=tuple(
                _event(each.event, time_in(each.at, f"overrides.add[{index}].at"), f"overrides.add[{index}]")
                for index, each in enumerate(self.add)
            ),
            shift_ms=self.shift_ms,
        )


class ReplayRequest(RequestBody):
    """The body of replay-events: the window from `from` to `to`, what is changed in it, and the `cursor` of the page before."""

    # `window` requires the times, because its errors say which form is right
    model_config = ConfigDict(json_schema_extra={"required": ["from", "to"]})

    from_: Annotated[Any, Field(alias="from"), A_TIME] = None
    to: Annotated[Any, A_TIME] = None
    overrides: OverridesRequest | None = None
    cursor: Annotated[str, Field(max_length=80)] | None = None

    def window(self, now: datetime) -> Window:
        """The window to replay. Raises Refused (400)."""
        return window_of(_required(self.from_, "from"), _required(self.to, "to"), now=now, cursor=self.cursor)


def _required(given: Any, path: str) -> datetime:
    if given in (None, ""):
        hint = f'send {{"from": "{FORM}", "to": "{FORM}"}}'
        raise Refused(f"{path} is required: a time as in {FORM}", status=400, path=path, hint=hint)
    return time_in(given, path)


def _event(event: dict[str, Any], at: datetime, path: str) -> Envelope:
    try:
        return ingest.batch_of([event], received_at=at).envelopes[0]
    except Refused as problem:
        place = problem.path.replace("events[0]", f"{path}.event", 1)
        raise Refused(problem.message, status=problem.status, path=place, hint=problem.hint) from None
