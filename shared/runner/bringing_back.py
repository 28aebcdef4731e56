"""Bringing an archived town back, with the event that tells its history who archived it, when and why, and who brought it back."""

from datetime import datetime
from typing import Final

from shared.domain.states import EventSource
from shared.domain.times import to_milliseconds, to_text
from shared.events.brake import TownBroughtBack
from shared.intake import ingest
from shared.ports.steps import Steps
from shared.storage import put_away
from shared.storage.put_away import PutAway, Telling
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore

_ID: Final = "brought-back-"


def bring_back(store: ObjectTownStore, kept: KeptPast, *, by: str, now: datetime) -> Steps[PutAway]:
    """Make an archived town a town again. Raises what `put_away.bring_back` raises."""
    away = yield from put_away.read(kept)
    return (yield from put_away.bring_back(store, kept, _telling(away.note, by=by, now=now), now=now))


def event_id_of(note: PutAway) -> str:
    """The id of the event, which only this time in the archive has."""
    return f"{_ID}{note.txid}-{to_milliseconds(note.at)}"


def _telling(note: PutAway, *, by: str, now: datetime) -> Telling:
    event_id = event_id_of(note)
    said = {"by": by[: put_away.LONGEST_NAME], "archived_by": note.by, "archived_at": to_text(note.at)}
    payload = said if note.reason is None else {**said, "reason": note.reason}
    event = {"event_id": event_id, "event_type": TownBroughtBack.event_type, "payload": payload}
    batch = ingest.batch_of([event], received_at=now, source=EventSource.OPERATOR)
    return Telling(event_id, batch.body)
