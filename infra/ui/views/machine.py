"""What the time machine shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.ui.views.town_view import Town
    from shared.questions.left_behind import LeftBehind
    from shared.questions.rosters import TownSettings
    from shared.questions.timeline import Timeline
    from shared.questions.town_view import TownView
    from shared.replay.replayed import Replay
    from shared.replay.what_if.run import WhatIf


@dataclass(frozen=True, slots=True)
class Machine:
    """What the page shows: the town then and now, all ticks of the window, and what was asked for."""

    town: Town
    present: TownView
    timeline: Timeline
    settings: TownSettings | None
    """Those of the time that is shown."""
    left: LeftBehind | None
    """What a restore would leave behind; None at the present, and if that cannot be said."""
    replay: Replay | None
    what_if: WhatIf | None
    problem: str | None
    hint: str | None
