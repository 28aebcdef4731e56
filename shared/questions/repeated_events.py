"""Events of which only the journal has more than a digest: those that are over for hours, and those that arrived more than once.

A town keeps only the first event of an id, and its row for some hours. The journal keeps everything that ticks read from the inbox,
so the others can be shown with their type: those whose rows have left the image, duplicates with equal content, and conflicts with
different content.
"""

import sqlite3
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.domain.report import CONFLICT
from shared.domain.senders import stored_ids
from shared.domain.tick import Envelope
from shared.ports.town_past import JournalRow
from shared.town.known_events import content_of_event, in_image

Beside = Literal["processed", "duplicate", "conflict"]


@dataclass(frozen=True, slots=True)
class JournalEvent:
    """An event in a tick's input that has no row in the image.

    `processed`: its row has left the image, where `seq` and `outcome` are still known. The others were not stored, because their id
    was known: `kind` says whether with the same content.
    """

    kind: Beside
    tick: int
    envelope: Mapping[str, Any]
    seq: int | None = None
    outcome: str | None = None


def without_row(row: JournalRow, sql: sqlite3.Connection) -> Iterator[JournalEvent]:
    """The events of a tick's input that have no row in the newest image, `sql`, in their order; none that left no trace there."""
    outcomes = [(event["event_id"], event["outcome"]) for event in row["outputs"]["events"]]
    applied = {event_id for event_id, outcome in outcomes if outcome != CONFLICT}
    by_id: dict[str, list[Mapping[str, Any]]] = {}
    for envelope in row["inputs"]["new_events"]:
        event_id = _stored_under(envelope, applied, sql)
        by_id.setdefault(event_id, []).append({**envelope, "event_id": event_id})
    for event_id, envelopes in by_id.items():
        there = in_image(sql, event_id)
        clashes = outcomes.count((event_id, CONFLICT))
        known = _content_beside(envelopes, clashes) if there is None else there.content
        known_since = None if there is None else there.received_at
        first_is_here = event_id in applied
        for envelope in envelopes:
            if content_of_event(envelope) != known:
                yield JournalEvent("conflict", row["tick_no"], envelope)
            elif known_since is None and first_is_here:
                first_is_here = False
                if there is not None:
                    yield JournalEvent("processed", row["tick_no"], envelope, there.seq, there.outcome)
            elif envelope["received_at"] != known_since:
                yield JournalEvent("duplicate", row["tick_no"], envelope)


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
    return (each["event_type"] for each in envelopes if content_of_event(each) != known)


def _stored_under(envelope: Mapping[str, object], applied: Container[str], sql: sqlite3.Connection) -> str:
    """The id under which the town has the event: another one if another generation of its agent has used its id."""
    told = Envelope.from_json(envelope)
    *_, own = stored_ids(told.event_id, told.sender)
    return own if own in applied or in_image(sql, own) is not None else told.event_id


def _content_beside(envelopes: list[Mapping[str, Any]], clashes: int) -> str | None:
    """The earliest content from which exactly `clashes` of the envelopes differ; None if there is none."""
    contents = [content_of_event(envelope) for envelope in envelopes]
    return next((each for each in contents if len(contents) - contents.count(each) == clashes), None)
