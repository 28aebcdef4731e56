"""When settings were changed, by whom and to what: the newest changes that the kept journal knows."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from shared.domain.limits import just_after
from shared.domain.restores import restore_in
from shared.domain.shapes import Time, answer
from shared.domain.times import from_text
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions import sent_events, setting_changes
from shared.questions.sent_events import Sent
from shared.questions.setting_changes import RESTORE, SettingChange

BLOCKS_READ_AT_MOST: Final = 128
"""The most blocks of journal rows that one answer reads; a block has about 64 ticks."""
_RESTORED: Final = "restored"


@answer
class SettingsEvent:
    """An event that changed settings, with the tick that applied it, and who sent it as far as that is known.

    A restore in place has no event: `eventId` is null, and `eventType` is `restored`.
    """

    tick: int
    time: Time
    event_id: str | None
    event_type: str
    by: str | None
    received_at: Time | None
    changes: tuple[SettingChange, ...]

    def of(self, name: str, rig_id: str | None = None) -> SettingChange | None:
        """What it changed in this setting."""
        return next((each for each in self.changes if (each.name, each.rig_id) == (name, rig_id)), None)


@answer
class SettingHistory:
    """The changes of settings, newest first, up to the present or the time that was asked for.

    The ticks from `sinceTick` at `since` on were looked at; null if there are none. `whole` says that no earlier ones are kept.
    """

    town_id: str
    events: tuple[SettingsEvent, ...]
    since: Time | None
    since_tick: int | None
    whole: bool
    notes: tuple[str, ...]

    def of(self, name: str | None, of_rig: str | None) -> Iterator[tuple[SettingsEvent, SettingChange]]:
        """The changes of one setting, newest first: of the town's value, and of rigs' own values, which have another name."""
        own = (of_rig or "").partition(".")[0]
        for event in self.events:
            for change in event.changes:
                if change.name == (name if change.rig_id is None else own):
                    yield event, change


def setting_history(town_id: str, past: TownPast, *, at: datetime | None = None) -> Steps[SettingHistory]:
    """The changes of settings up to `at`, or to the present. Raises UnknownTown."""
    past = past.around_damage()
    newest = yield from past.newest(town_id)
    end = newest.tick_no if at is None else (yield from _last_tick(town_id, past, at))
    found: list[JournalRow] = []
    oldest: JournalRow | None = None
    before, blocks = end + 1, BLOCKS_READ_AT_MOST
    while blocks and (rows := (yield from past.rows_before(town_id, before))):
        found[:0] = [row for row in rows if setting_changes.concerns_settings(row)]
        oldest, before, blocks = rows[0], rows[0]["tick_no"], blocks - 1
    changes = yield from setting_changes.changes_in(town_id, past, found)
    events = [event for row in reversed(found) for event in reversed(settings_events(row, changes))]
    return SettingHistory(
        town_id=town_id,
        events=tuple(events),
        since=None if oldest is None else from_text(oldest["now"]),
        since_tick=None if oldest is None else oldest["tick_no"],
        whole=blocks > 0,
        notes=past.left_out,
    )


def settings_events(row: JournalRow, changes: setting_changes.Changes) -> list[SettingsEvent]:
    """The events of a row that changed settings, in the order in which they were applied."""
    tick, at = row["tick_no"], from_text(row["now"])
    if restore_in(row) is not None:
        changed = changes.get((tick, RESTORE), ())
        return [SettingsEvent(tick, at, None, _RESTORED, None, None, changed)] if changed else []
    sent: Mapping[str, Sent] = {event["event_id"]: event for event in row["inputs"]["new_events"]}
    found = []
    for event in row["outputs"]["events"]:
        changed = changes.get((tick, event["event_id"]), ())
        if changed and event["outcome"] == "applied":
            envelope = sent.get(event["event_id"])
            by = None if envelope is None else sent_events.said_by(envelope)
            received = None if envelope is None else from_text(envelope["received_at"])
            found.append(SettingsEvent(tick, at, event["event_id"], event["event_type"], by, received, changed))
    return found


def _last_tick(town_id: str, past: TownPast, at: datetime) -> Steps[int]:
    """The last tick up to a time; 0 if there is none."""
    from shared.history.journal_rows import JournalRows  # noqa: PLC0415 - answers that only name a change read no history

    image = yield from past.before(town_id, just_after(at))
    last = 0 if image is None else image.tick_no
    rows = JournalRows(past, town_id)
    yield from rows.start_after(last)
    while (row := rows.next) is not None and from_text(row["now"]) <= at:
        last = row["tick_no"]
        yield from rows.advance()
    return last
