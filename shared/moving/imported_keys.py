"""The town keys of an import: which are carried over, and which are reset because they belong to the old installation.

Carried over: the configuration; the numbers of ticks, events and audit lines, which continue, so that no derived id is made
twice; the breaker, budgets, counters, triage and the actions of the last hour. Reset: the drain, the container's instance id,
when its token was refreshed, when the next tick is due, where the archive is, whether the town runs on a clock of its own (the
next tick decides that anew), and the restores in place, because their ticks are not in the new journal. The imported town is
always paused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from shared.domain import canonical, strict_json
from shared.domain.config import NEW_TOWN, TownConfig, first_problem
from shared.domain.errors import Refused
from shared.domain.times import readable_time
from shared.moving.foreign_rows import GivenRow, NotRead
from shared.town import database
from shared.town.town_keys import TownKeys

LARGEST: Final = 2**53 - 1
"""The largest number that is accepted, so that counting can continue."""
OF_THE_OLD_PLACE: Final = tuple(
    key.name
    for key in (
        TownKeys.drain,
        TownKeys.container_instance_id,
        TownKeys.last_token_refresh_at,
        TownKeys.next_due_at,
        TownKeys.archive_index,
        TownKeys.clock,
        TownKeys.restores,
        TownKeys.brake,
        TownKeys.back_from_archive,
    )
)
_OF_THE_NEW_TOWN: Final = (TownKeys.id.name, TownKeys.schema_version.name)


def _is_time(value: object) -> bool:
    return value is None or readable_time(value) is not None


def _is_some_time(value: object) -> bool:
    return readable_time(value) is not None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _object(**fields: Callable[[object], bool]) -> Callable[[object], bool]:
    def fits(value: object) -> bool:
        return isinstance(value, dict) and all(name in value and test(value[name]) for name, test in fields.items())

    return fits


def _are_spent(value: object) -> bool:
    """What each sender has spent: events, beads, and 1 if an event was refused."""
    return isinstance(value, dict) and all(
        isinstance(spent, list) and len(spent) == 3 and all(map(_is_count, spent)) for spent in value.values()
    )


def _are_slots(value: object) -> bool:
    """How many actions each slot had."""
    return isinstance(value, list) and all(
        isinstance(slot, list) and len(slot) == 2 and all(map(_is_count, slot)) for slot in value
    )


_SHAPES: Final[Mapping[str, Callable[[object], bool]]] = {
    TownKeys.tick_no.name: _is_count,
    TownKeys.tick_id.name: _is_text,
    TownKeys.last_tick_at.name: _is_time,
    TownKeys.next_seq.name: _is_count,
    TownKeys.next_audit_seq.name: _is_count,
    TownKeys.settling_until.name: _is_time,
    TownKeys.breaker.name: _object(open=_is_flag, since=_is_time, episode=_is_count),
    TownKeys.last_idle_stop_at.name: _is_time,
    TownKeys.mayor_working_since.name: _is_time,
    TownKeys.mayor_waiting_since.name: _is_time,
    TownKeys.counters.name: _object(poisoned=_is_count, conflicts=_is_count),
    TownKeys.merges_unproven.name: _is_count,
    TownKeys.triage.name: _object(last_batch_at=_is_time, fruitless=_is_count),
    TownKeys.budgets.name: _object(since=_is_time, spent=_are_spent),
    TownKeys.acted.name: _are_slots,
    TownKeys.forge_episodes.name: lambda value: isinstance(value, dict) and all(map(_object(), value.values())),
    TownKeys.paused.name: _is_flag,
    TownKeys.queued_reviews.name: lambda value: isinstance(value, dict) and all(map(_is_some_time, value.values())),
    TownKeys.alerted.name: lambda value: isinstance(value, dict) and all(map(_is_time, value.values())),
}


def read(rows: Sequence[GivenRow]) -> tuple[dict[str, object], list[NotRead]]:
    """The readable keys by name, with `paused` as it was, and the problems. Raises Refused for a newer schema."""
    found: dict[str, object] = {}
    missed: list[NotRead] = []
    for row in rows:
        key, text = row.values.get("key"), row.values.get("value")
        if not isinstance(key, str):
            missed.append(NotRead("town", row.place, "key", "it is not a text"))
            continue
        if key in found:
            missed.append(NotRead("town", key, "key", "an earlier row has the same key"))
            continue
        try:
            value = strict_json.stored(text) if isinstance(text, str) else text
            canonical.dumps(value).encode()
        except (ValueError, TypeError, RecursionError):
            missed.append(NotRead("town", key, "value", "it is not JSON"))
            continue
        if key == TownKeys.schema_version.name and isinstance(value, int) and value > database.SCHEMA_VERSION:
            raise Refused(
                f"the town has schema {value}; this code knows schemas up to {database.SCHEMA_VERSION}",
                status=400,
                path="file",
                hint="run a newer release; nothing was created",
            )
        if key == TownKeys.config.name:
            value, problems = _config(value)
            missed += problems
        elif key in _SHAPES and not _SHAPES[key](value):
            missed.append(
                NotRead("town", key, "value", "it does not have the form of this key; a new town's value is used")
            )
            continue
        elif key not in (*_SHAPES, *OF_THE_OLD_PLACE, *_OF_THE_NEW_TOWN):
            missed.append(NotRead("town", key, "key", "this code does not know this key", "kept"))
        found[key] = value
    return found, missed


def carried(keys: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The keys that replace those of a new, paused town."""
    for key, value in sorted(keys.items()):
        if key not in (*OF_THE_OLD_PLACE, *_OF_THE_NEW_TOWN, TownKeys.paused.name):
            yield key, value


def _config(value: object) -> tuple[object, list[NotRead]]:
    """The configuration, in which each invalid setting is replaced by a new town's setting."""
    if not isinstance(value, dict):
        return dict(NEW_TOWN), [
            NotRead(
                "town",
                TownKeys.config.name,
                "value",
                "it is not a JSON object; a new town's configuration is used",
                "column left out",
            )
        ]
    value, problems = dict(value), []
    while (place := first_problem(TownConfig, value)) is not None:
        setting = place.partition(".")[0]
        if setting not in value:
            return dict(NEW_TOWN), [
                NotRead(
                    "town",
                    TownKeys.config.name,
                    place,
                    "it is not valid; a new town's configuration is used",
                    "column left out",
                )
            ]
        why = "it is not valid; a new town's setting is used, if there is one"
        problems.append(NotRead("town", TownKeys.config.name, place, why, "column left out"))
        del value[setting]
        if setting in NEW_TOWN and first_problem(TownConfig, {**value, setting: NEW_TOWN[setting]}) is None:
            value[setting] = NEW_TOWN[setting]
    return value, problems
