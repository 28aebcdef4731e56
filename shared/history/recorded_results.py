"""The recorded results of effects: from the result events in later journal rows, or from the outbox of an image."""

from collections.abc import Iterable

from shared.domain import strict_json
from shared.domain.report import Claim
from shared.ports.town_past import JournalRow
from shared.town import database, outbox

EffectResults = dict[tuple[str, int], object]
"""Results by effect id and attempt."""


def in_row(row: JournalRow) -> EffectResults:
    """The results among the events of a tick."""
    found: EffectResults = {}
    for event in row["inputs"]["new_events"]:
        known = attempt_of(event["event_id"])
        if known is not None:
            found[known] = strict_json.stored(event["payload"])
    return found


def attempt_of(event_id: str) -> tuple[str, int] | None:
    """The effect id and attempt of a result event; None for every other event."""
    prefix, _, rest = event_id.partition("-")
    effect_id, _, attempt = rest.rpartition("-")
    return (effect_id, int(attempt)) if prefix == "res" and effect_id and attempt.isdigit() else None


def of_today(image: bytes, effects: Iterable[Claim]) -> EffectResults:
    """The results of these effects in an image."""
    found: EffectResults = {}
    with database.opened(image) as sql:
        for effect in effects:
            result = outbox.result_of(sql, effect.effect_id, effect.attempt)
            if result is not None:
                found[(effect.effect_id, effect.attempt)] = result
    return found
