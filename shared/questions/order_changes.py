"""The changes of settings that came between the last bead of a rig that was done and a start that failed.

An order to start an agent carries some of the settings. If one of them was changed since work was done last, somebody who looks
for the cause of a failure begins there. Nothing more is claimed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from shared.domain.times import from_text
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions import setting_changes, setting_history
from shared.questions.setting_changes import SettingChange
from shared.questions.setting_history import SettingsEvent

OF_TOWNS: Final = frozenset(
    {
        "agent_runtime",
        "custom_instructions",
        "default_model",
        "merge_strategy",
        "organization_id",
        "refinery.code_review",
        "refinery.gates",
        "refinery.require_clean_merge",
        "refinery.review_mode",
        "role_models",
    }
)
"""The settings of a town that the order to start an agent carries."""
OF_RIGS: Final = frozenset(
    {
        "code_review",
        "custom_instructions",
        "default_branch",
        "default_model",
        "git_push_flags",
        "git_url",
        "merge_strategy",
        "review_mode",
        "role_models",
        "upstream",
    }
)
"""The same of a rig."""
BLOCKS_READ_AT_MOST: Final = 16
"""The most blocks of journal rows that are read; a block has about 64 ticks. Earlier changes are not looked for."""


def changes_since(town_id: str, past: TownPast, since: datetime, *, last_tick: int) -> Steps[tuple[SettingsEvent, ...]]:
    """The changes of settings after a time, up to a tick, newest first. Raises DamagedImage, Refused."""
    past = past.around_damage()
    found: list[JournalRow] = []
    before, blocks = last_tick + 1, BLOCKS_READ_AT_MOST
    while blocks and (rows := (yield from past.rows_before(town_id, before))):
        later = [row for row in rows if from_text(row["now"]) > since]
        found[:0] = [row for row in later if setting_changes.concerns_settings(row)]
        if len(later) < len(rows):
            break
        before, blocks = rows[0]["tick_no"], blocks - 1
    changes = yield from setting_changes.changes_in(town_id, past, found)
    return tuple(event for row in reversed(found) for event in reversed(setting_history.settings_events(row, changes)))


def in_the_order(
    events: Iterable[SettingsEvent], rig_id: str | None, *, since: datetime, until: datetime
) -> Iterator[SettingsEvent]:
    """What of these changes an order of this rig at `until` carries that one at `since` did not."""
    for event in events:
        carried = tuple(each for each in event.changes if _is_carried(each, rig_id))
        if carried and since < event.time <= until:
            yield replace(event, changes=carried)


def _is_carried(change: SettingChange, rig_id: str | None) -> bool:
    if change.rig_id is None:
        return change.name in OF_TOWNS
    return change.rig_id == rig_id and change.name in OF_RIGS
