"""The watch over any ObjectStore: small objects under `watch/`, of which there are few.

The objects are hints: a lost one costs time, a superfluous one a run of its own.
"""

import json
from functools import partial
from typing import Final, TypeVar

from pydantic import ValidationError

from shared.domain import strict_json
from shared.domain.errors import Refused
from shared.domain.shapes import document, read
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps
from shared.ports.watch import Apart, LifeNote, Watched
from shared.storage import keys
from shared.storage.listing import all_keys

_LARGEST: Final = 1 << 20

T = TypeVar("T")


class ObjectWatch:
    """The Watch port over any ObjectStore."""

    _objects: ObjectStore

    def watched(self) -> Steps[Watched]:
        """Everything that is noted. What cannot be read is left out and named."""
        lives: list[LifeNote] = []
        apart: dict[str, Apart] = {}
        violated: set[str] = set()
        unreadable: list[str] = []
        for key in (yield from all_keys(self._objects, keys.WATCH)):
            kind, name = keys.watched(key) or ("", "")
            if kind == "violated":
                violated.add(name)
                continue
            body = (yield from self._body(key)) if kind else b""
            if body is None:
                continue  # deleted meanwhile
            note = _read(LifeNote, body) if kind == "lives" else None
            record = _read(Apart, body) if kind == "apart" else None
            if note is not None and note.life == name:
                lives.append(note)
            elif record is not None and record.town_id == name:
                apart[name] = record
            else:
                unreadable.append(key)
        return Watched(tuple(lives), apart, frozenset(violated), tuple(unreadable))

    def note_life(self, note: LifeNote) -> Steps[None]:
        """Write or replace the note of a life."""
        yield from self._put(keys.life(note.life), _written(note))

    def forget_life(self, life: str) -> Steps[None]:
        """Delete the note of a life that has ended."""
        yield from self._drop(keys.life(life))

    def apart(self, town_id: str) -> Steps[Apart | None]:
        """The record of a town; None if it does not run apart. Raises Refused if it cannot be read."""
        key = keys.apart(town_id)
        body = yield from self._body(key)
        record = None if body is None else _read(Apart, body)
        if body is not None and record is None:
            hint = f"`townctl town resume {town_id}` removes it"
            raise Refused(f"town {town_id}: {key} cannot be read", status=500, path=key, hint=hint)
        return record

    def keep_apart(self, record: Apart) -> Steps[None]:
        """Write or replace the record of a town."""
        yield from self._put(keys.apart(record.town_id), _written(record))

    def forget_apart(self, town_id: str) -> Steps[None]:
        """Delete the record of a town."""
        yield from self._drop(keys.apart(town_id))

    def mark_violated(self, town_id: str, *, open_: bool) -> Steps[None]:
        """Write the marker of a town with an open violation, or delete it."""
        if open_:
            yield from self._put(keys.violated(town_id), b"")
        else:
            yield from self._drop(keys.violated(town_id))

    def _body(self, key: str) -> Steps[bytes | None]:
        found: StoredObject | None = yield Call(f"get {key}", partial(self._objects.get, key))
        return None if found is None else found.body

    def _put(self, key: str, body: bytes) -> Steps[None]:
        yield Call(f"put {key}", partial(self._objects.put, key, body))

    def _drop(self, key: str) -> Steps[None]:
        yield Call(f"delete {key}", partial(self._objects.delete, key))


def _written(value: LifeNote | Apart) -> bytes:
    return json.dumps(document(value), sort_keys=True, separators=(",", ":")).encode()


def _read(shape: type[T], body: bytes) -> T | None:
    try:
        return read(shape, strict_json.foreign(body, limit=_LARGEST))
    except (strict_json.UnreadableJson, ValidationError, ValueError):
        return None
