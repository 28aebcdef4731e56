"""An event as lists show it: what its row in the image says, and what the journal says of its tick, its sender and its content."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from shared.domain.senders import Sender, sender_in
from shared.domain.shapes import Time, answer
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.domain.times import readable_time, to_text
from shared.history.found_rows import FoundRows
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions import sent_events, setting_changes
from shared.questions.filters import EventState
from shared.questions.lines import columns_of, line_of
from shared.questions.sent_events import Sent
from shared.questions.setting_changes import SettingChange

BLOCKS_READ_AT_MOST: Final = 16
"""The most blocks of journal rows that one page reads to find events, and as many to tell more of them. Each has some 64 ticks."""
_SUBJECTS: Final = ("convoy_id", "rig_id", "target", "to")


@answer
class EventEntry:
    """An event, for lists.

    `inbox`: no tick has read it yet. `pending`: stored; the next tick tries it again. `conflict` and `duplicate`: its id was
    known, with different or equal content, so it was not stored. `tick` is the tick that processed it, or that read a repetition;
    null if there is none, or if its journal row is not kept.
    """

    event_id: str
    event_type: str
    agent_id: str | None
    bead_id: str | None
    source: EventSource
    received_at: Time | None
    outcome: str | None
    seq: int | None
    retry_count: int
    last_error: str | None
    processed_at: Time | None
    state: EventState
    tick: int | None = None
    sender: Sender | None = None
    """Whose token sent it; null for events of the town, of a directory's own user, and from before senders were stored."""
    by: str | None = None
    """Who sent it: the agent of its token, else the name in the event, else the scope of its token. Null if nothing says it."""
    subject: str | None = None
    """The bead, agent, convoy, rig or addressee that it is about, also if only its content says so."""
    settings: tuple[SettingChange, ...] = ()
    """What it changed in the settings."""


_OUTCOME: Final = columns_of(EventEntry).index("outcome")
COLUMNS: Final = (
    "event_id, event_type, agent_id, bead_id, source, received_at, outcome, seq, retry_count, last_error, processed_at, "
    "sender"
)
"""The columns of `town_events` from which `stored_entry` makes an entry."""


def stored_entry(cells: Sequence[Any]) -> EventEntry:
    """The event in a row of the image with these columns."""
    *shown, sender = cells
    processed_at, outcome = shown[-1], shown[_OUTCOME]
    state: EventState = "pending" if processed_at is None else "poisoned" if outcome == "poisoned" else "processed"
    return line_of(EventEntry, shown, state=state, sender=sender_in(sender))


def unstored(event: Envelope, state: EventState, *, tick: int | None) -> EventEntry:
    """An event that has no row in the image: it is in the inbox, or only in the journal."""
    entry = EventEntry(
        event_id=event.event_id,
        event_type=event.event_type,
        agent_id=event.agent_id,
        bead_id=event.bead_id,
        source=EventSource(event.source),
        received_at=readable_time(event.received_at),
        outcome=None if tick is None else state,
        seq=None,
        retry_count=0,
        last_error=None,
        processed_at=None,
        state=state,
        tick=tick,
        sender=event.sender,
    )
    return telling(entry, event.as_json())


def telling(entry: EventEntry, envelope: Sent) -> EventEntry:
    """The entry with what the event itself says: who sent it, and what it is about."""
    sender = entry.sender or sent_events.sender_of(envelope)
    known = {**envelope, "sender": None if sender is None else sender.as_json()}
    payload = sent_events.payload_of(envelope)
    subject = entry.bead_id or entry.agent_id or _subject(payload if isinstance(payload, dict) else {})
    return replace(entry, sender=sender, by=sent_events.said_by(known), subject=subject)


def completed(
    town_id: str, past: TownPast, rows: FoundRows, entries: Sequence[EventEntry]
) -> Steps[tuple[EventEntry, ...]]:
    """The entries with their ticks, and with what the journal rows of these ticks say."""
    found: list[tuple[EventEntry, JournalRow | None]] = []
    for entry in entries:
        row = None
        if entry.processed_at is not None:
            row = yield from rows.at(to_text(entry.processed_at))
        elif entry.tick is not None and entry.event_type in setting_changes.CHANGING:
            row = yield from rows.of_tick(entry.tick)
        found.append((entry, row if row is not None and _outcome(row, entry.event_id) is not None else None))
    changing = {row["tick_no"]: row for _, row in found if row is not None and setting_changes.changes_settings(row)}
    changes = yield from setting_changes.changes_in(town_id, past, [changing[tick] for tick in sorted(changing)])
    return tuple(entry if row is None else _with_row(entry, row, changes) for entry, row in found)


def envelope_in(row: JournalRow, event_id: str) -> Sent | None:
    """The event as the tick of a row was given it; None if an earlier tick was."""
    sent = (each for each in row["inputs"]["new_events"] if sent_events.may_be(each, event_id))
    return next(sent, None)


def _with_row(entry: EventEntry, row: JournalRow, changes: setting_changes.Changes) -> EventEntry:
    envelope = envelope_in(row, entry.event_id)
    told = entry if envelope is None else telling(entry, envelope)
    applied = _outcome(row, entry.event_id) == "applied"
    return replace(
        told,
        tick=row["tick_no"],
        settings=changes.get((row["tick_no"], entry.event_id), ()) if applied else (),
    )


def _outcome(row: JournalRow, event_id: str) -> str | None:
    return next((each["outcome"] for each in row["outputs"]["events"] if each["event_id"] == event_id), None)


def _subject(payload: Mapping[str, object]) -> str | None:
    bead = payload.get("bead")
    named = [bead.get("bead_id")] if isinstance(bead, Mapping) else []
    named += [payload.get(name) for name in _SUBJECTS]
    return next((each for each in named if isinstance(each, str) and each), None)
