"""The debug calls, one function each: from the decoded body to the answer. They only read."""

from datetime import datetime

from shared.intake.asked_time import time_in
from shared.ports.steps import Call, Steps
from shared.ports.town_past import TownPast
from shared.questions.dry_run import DryRun, dry_run
from shared.replay.faithful import replay
from shared.replay.replayed import Replay
from shared.replay.requests import DryRunRequest, ReplayRequest
from shared.replay.time_window import HTTP, PageLimits
from shared.replay.what_if.run import WhatIf, what_if
from shared.runner.surroundings import Surroundings


def replay_events(
    town_id: str, past: TownPast, around: Surroundings, body: object, *, page: PageLimits = HTTP
) -> Steps[Replay | WhatIf]:
    """`POST .../debug/replay-events`: run a window again, with `overrides` as a what-if. Raises Refused, UnknownTown."""
    request = ReplayRequest.read(body)
    now: datetime = yield Call("clock", around.clock.now)
    wanted = request.window(now)
    if request.overrides is None:
        return (yield from replay(town_id, past, wanted, page=page))
    otherwise = yield from what_if(town_id, past, wanted, request.overrides.overrides(), page=page)
    return otherwise if page.size is None else otherwise.within(page.size)


def reconcile_dry_run(town_id: str, around: Surroundings, body: object, *, worker_id: str) -> Steps[DryRun]:
    """`POST .../debug/reconcile-dry-run`: what the next tick would do. Raises Refused, UnknownTown."""
    request = DryRunRequest.read(body)
    now: datetime = yield Call("clock", around.clock.now)
    wanted = None if request.now is None else time_in(request.now, "now")
    return (
        yield from dry_run(
            town_id,
            around,
            worker_id=worker_id,
            ask_runtime=request.observe,
            now=wanted,
            extra_events=request.envelopes(wanted or now),
            config=request.config,
        )
    )
