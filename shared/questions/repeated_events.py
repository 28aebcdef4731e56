"""Events that arrived more than once, found in the journal: duplicates with equal content and conflicts with different content.

A town keeps only the first event of an id. The journal keeps everything that ticks read from the inbox, so both can be shown
with their type.
"""

import sqlite3
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.domain.report import CONFLICT
from shared.domain.senders import stored_ids
from shared.domain.tick import Envelope
from shared.ports.town_past import JournalRow
from shared.town.inbox import content_digest

Repeated = Literal["duplicate", "conflict"]
_CONTENT: Final = ("event_type", "agent_id", "bead_id")


@dataclass(frozen=True, slots=True)
class Repetition:
    """An event that a tick did not store because its id was known, and whether its content differs from the known content."""

    kind: Repeated
    tick: int
    envelope: Mapping[str, Any]


def repetitions(row: JournalRow, sql: sqlite3.Connection) -> Iterator[Repetition]:
    """The events of a tick's input that the tick did not store, in their order; `sql` is the newest image."""
    outcomes = [(event["event_id"], event["outcome"]) for event in row["outputs"]["events"]]
    applied = {event_id for event_id, outcome in outcomes if outcome != CONFLICT}
    by_id: dict[str, list[Mapping[str, Any]]] = {}
    for envelope in row["inputs"]["new_events"]:
        event_id = _stored_under(envelope, applied, sql)
        by_id.setdefault(event_id, []).append({**envelope, "event_id": event_id})
    for event_id, envelopes in by_id.items():
        clashes = outcomes.count((event_id, CONFLICT))
        known, known_since = _stored(sql, event_id) or (_content_beside(envelopes, clashes), None)
        first_is_here = event_id in applied
        for envelope in envelopes:
            if _content(envelope) != known:
                yield Repetition("conflict", row["tick_no"], envelope)
            elif known_since is None and first_is_here:
                first_is_here = False
            elif envelope["received_at"] != known_since:
                yield Repetition("duplicate", row["tick_no"], envelope)


def types_and_outcomes(row: JournalRow) -> Iterator[tuple[str, str]]:
    """The type and the outcome of each event of a tick.

    The outputs name conflicting events only by id, so their types are looked up in the input.
    """
    types: dict[str, Iterator[str]] = {}
    events = row["outputs"]["events"]
    for event in events:
        if event["outcome"] != CONFLICT:
            yield event["event_type"], event["outcome"]
            continue
        event_id = event["event_id"]
        if event_id not in types:
            clashes = sum((each["event_id"], each["outcome"]) == (event_id, CONFLICT) for each in events)
            types[event_id] = _types_of_conflicts(row, event_id, clashes)
        yield next(types[event_id], ""), CONFLICT


def _types_of_conflicts(row: JournalRow, event_id: str, clashes: int) -> Iterator[str]:
    envelopes = [each for each in row["inputs"]["new_events"] if each["event_id"] == event_id]
    known = _content_beside(envelopes, clashes)
    return (each["event_type"] for each in envelopes if _content(each) != known)


def _stored_under(envelope: Mapping[str, object], applied: Container[str], sql: sqlite3.Connection) -> str:
    """The id under which the town has the event: another one if another generation of its agent has used its id."""
    told = Envelope.from_json(envelope)
    *_, own = stored_ids(told.event_id, told.sender)
    return own if own in applied or _stored(sql, own) is not None else told.event_id


def _content(envelope: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*(envelope[name] for name in _CONTENT), content_digest(envelope["payload"]))


def _stored(sql: sqlite3.Connection, event_id: str) -> tuple[tuple[Any, ...], str] | None:
    """The content that the town has stored under this id, and when it was received; None if it is not stored any more."""
    row = sql.execute(
        "SELECT event_type, agent_id, bead_id, received_at, payload, content_digest FROM town_events WHERE event_id = :id",
        {"id": event_id},
    ).fetchone()
    if row is None:
        return None
    *content, received_at, payload, digest = row
    return (*content, digest if payload is None else content_digest(payload)), received_at


def _content_beside(envelopes: list[Mapping[str, Any]], clashes: int) -> tuple[Any, ...] | None:
    """The earliest content from which exactly `clashes` of the envelopes differ; None if there is none."""
    contents = [_content(envelope) for envelope in envelopes]
    return next((each for each in contents if len(contents) - contents.count(each) == clashes), None)
