"""Ids derived from what they name, so that the same tick always makes the same ids; and which texts can be ids."""

import hashlib
import re
import uuid
from dataclasses import dataclass
from typing import Final

_TOWN_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
_NOT_IN_IDS: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_SUBJECT: Final = 64
_DERIVED: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)


def is_town_id(text: str) -> bool:
    """Whether a town can have this id."""
    return _TOWN_ID.fullmatch(text) is not None


def is_subject_id(text: str) -> bool:
    """Whether a bead or an agent can have this id: 1 to 64 characters without control characters and lone surrogates."""
    return 1 <= len(text) <= _LONGEST_SUBJECT and not _NOT_IN_IDS.search(text)


def looks_derived(text: str) -> bool:
    """Whether a text has the form of the ids that a town makes."""
    return _DERIVED.fullmatch(text) is not None


def derived_from(town_id: str, text: str) -> str:
    """The id for `text` in a town, such as `convoy:<id>:0`: a UUID of version 8."""
    return _uuid(f"{town_id}\n{text}\n")


def chosen_by_producer(town_id: str, text: str) -> str:
    """The id that a producer gives to what it creates, derived from `text`: a UUID of version 5, a form that no town makes.

    A town keeps what has an id of its own form out of its archive, because a tick could make that id again.
    """
    return _uuid(f"{town_id}\n{text}\n", version=5)


def effect_id(town_id: str, kind: str, subject: str, generation: int, *, rearm: int = 0) -> str:
    """The idempotency key of an effect; every attempt of the effect carries it.

    `rearm` is 0, or the number of the tick that requests a stop which may have been requested before: then it is another effect.
    """
    again = f"{rearm}\n" if rearm else ""
    return hashlib.sha256(f"{town_id}\n{kind}\n{subject}\n{generation}\n{again}".encode()).hexdigest()


@dataclass(slots=True)
class IdMaker:
    """Makes the new ids of one tick, from the town, the tick number and a counter that starts at 0."""

    town_id: str
    tick_no: int
    used: int = 0

    def new(self) -> str:
        """The next id of this tick. `shared.town.new_ids` passes over the ids that rows have already."""
        [made] = self.ahead(1)
        self.used += 1
        return made

    def ahead(self, count: int) -> list[str]:
        """The next ids, which stay unused."""
        numbers = range(self.used, self.used + count)
        return [_uuid(f"{self.town_id}\n{self.tick_no}\n{number}\n") for number in numbers]


def _uuid(text: str, *, version: int = 8) -> str:
    digest = bytearray(hashlib.sha256(text.encode()).digest()[:16])
    digest[6] = digest[6] & 0x0F | version << 4
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))
