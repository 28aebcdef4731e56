"""The settings of a town as they were at a past time."""

from datetime import datetime

from shared.history import as_it_was
from shared.history.rerun import rerun
from shared.ports.steps import Steps
from shared.ports.town_past import TownPast
from shared.questions.rosters import TownSettings, settings_in
from shared.runner.code_version import code_version
from shared.town import migrations


def settings_at(town_id: str, past: TownPast, at: datetime) -> Steps[TownSettings]:
    """The configuration as it was at a time. Raises Refused (400) if the kept history begins later, UnknownTown."""
    start = yield from as_it_was.image_at(town_id, past, at)
    with rerun(start) as running:
        yield from as_it_was.roll_forward(running, past, at, installed=code_version())
        with migrations.newest_schema(running.sql):
            return settings_in(town_id, running.sql, tick=running.tick_no)
