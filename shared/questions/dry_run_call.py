"""The debug call reconcile-dry-run: from the decoded body to the answer (spec/tick.md section 10)."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StrictBool

from shared.domain.tick import Envelope
from shared.intake import ingest
from shared.intake.asked_time import time_in
from shared.ports.steps import Call, Steps
from shared.questions.dry_run import DryRun, rehearse
from shared.questions.request_body import A_TIME, EVENTS_AT_MOST, PostedEvent, RequestBody
from shared.runner.surroundings import Surroundings


class DryRunRequest(RequestBody):
    """The body of reconcile-dry-run. Everything in it is optional."""

    events: Annotated[list[PostedEvent], Field(max_length=EVENTS_AT_MOST)] = Field(default_factory=list)
    now: Annotated[str, A_TIME] | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    observe: StrictBool = False

    def envelopes(self, received_at: datetime) -> tuple[Envelope, ...]:
        """The events as a tick would receive them. Raises Refused as ingest does."""
        return ingest.batch_of(self.events, received_at=received_at).envelopes if self.events else ()


def reconcile_dry_run(town_id: str, around: Surroundings, body: object, *, worker_id: str) -> Steps[DryRun]:
    """`POST .../debug/reconcile-dry-run`: what the next tick would do. Raises Refused, UnknownTown."""
    request = DryRunRequest.read(body)
    now: datetime = yield Call("clock", around.clock.now)
    wanted = None if request.now is None else time_in(request.now, "now")
    rehearsed = yield from rehearse(
        town_id,
        around,
        worker_id=worker_id,
        ask_runtime=request.observe,
        now=wanted,
        extra_events=request.envelopes(wanted or now),
        config=request.config,
    )
    return rehearsed.answer()
