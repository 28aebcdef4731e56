"""The debug call replay-events: from the decoded body to the answer. It only reads."""

from datetime import datetime

from shared.ports.steps import Call, Steps
from shared.ports.town_past import TownPast
from shared.replay.faithful import replay
from shared.replay.replayed import Replay
from shared.replay.requests import ReplayRequest
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
