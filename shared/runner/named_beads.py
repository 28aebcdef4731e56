"""Which beads new events name: those that the town must know when it applies them."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any, Final, get_args, get_type_hints

from pydantic import BaseModel

from shared.domain import strict_json
from shared.domain.ids import is_subject_id
from shared.domain.tick import Envelope
from shared.events import BY_TYPE
from shared.events.fields import IdText

_NO_BEAD: Final = frozenset({"rig_id", "effect_id", "nudge_id", "nonce"})
"""The fields of ids that are not those of beads."""


def beads_named(events: Iterable[Envelope]) -> list[str]:
    """The ids of beads that these events may name, each once, in order. An event that cannot be read names none in its payload."""
    found: dict[str, None] = {}
    for event in events:
        named = [each for each in (event.bead_id, event.agent_id) if each is not None]
        shape = BY_TYPE.get(event.event_type)
        if shape is not None:
            with suppress(ValueError):  # it is poisoned when it is applied
                named += _ids_in(strict_json.stored(event.payload), _id_fields(shape))
        found.update(dict.fromkeys(each for each in named if is_subject_id(each)))
    return list(found)


def _ids_in(value: object, fields: frozenset[str]) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in fields or name.endswith("bead_id"):
                yield from (each for each in (inner if isinstance(inner, list) else [inner]) if isinstance(each, str))
            if name != "metadata":
                yield from _ids_in(inner, fields)
    elif isinstance(value, list):
        for inner in value:
            yield from _ids_in(inner, fields)


@cache
def _id_fields(shape: type[BaseModel]) -> frozenset[str]:
    """The names of the fields of a payload, and of its parts, that are typed as ids of beads."""
    found: set[str] = set()
    hints = get_type_hints(shape, include_extras=True)
    for name in shape.model_fields:
        if name not in _NO_BEAD and _has(hints[name], IdText):
            found.add(name)
        for part in _parts(hints[name]):
            found |= _id_fields(part)
    return frozenset(found)


def _has(hint: Any, wanted: Any) -> bool:
    return hint == wanted or any(_has(inner, wanted) for inner in get_args(hint))


def _parts(hint: Any) -> Iterator[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for inner in get_args(hint):
        yield from _parts(inner)
