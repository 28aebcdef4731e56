"""A what-if as text: what is unknown, how each bead ends, and the ticks that differ."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from infra.townctl import people
from infra.townctl.output import plain, table
from infra.townctl.summaries import code_of, event_line, subject_of
from infra.townctl.wording import quantity
from infra.ui.short_ids import shortened
from infra.ui.words import BEADS, reason_word, why_unknown
from shared.domain.report import JudgedAction
from shared.domain.times import to_text
from shared.history.differences import ABSENT, Difference
from shared.questions.standings import BeadStanding
from shared.replay.replayed import Divergence
from shared.replay.what_if.comparison import WORK, Parting
from shared.replay.what_if.ends import BeadEnd
from shared.replay.what_if.run import WhatIf

_ROWS_SHOWN: Final = 6
_UNKNOWN_SHOWN: Final = 10
_FIELDS_SHOWN: Final = 6
_TICKS_SHOWN: Final = 10


def what_if_view(other: WhatIf, *, every: bool = False) -> Iterator[RenderableType]:
    """A what-if for people: the result first. `every` shows each tick that differs."""
    yield from _heading(other)
    for each in other.without_effect:
        yield Text(plain(each), style="bold yellow")
    yield from _unknown(other)
    yield from _ends(other)
    yield from _ticks(other, every=every)
    then, now = other.sum.actions_only_in_history, other.sum.actions_only_now
    both = ((name, then.get(name, 0), now.get(name, 0)) for name in sorted({*then, *now}))
    counts = [each for each in both if each[1] != each[2]]
    if counts:
        yield table("action", "only in history", "only now", rows=counts)
    if other.rows_compared:
        yield Text(f"at the end: {quantity(other.sum.rows_apart, 'different row')}")
    for note in other.notes:
        yield Text(plain(note))
    if other.history_divergence is not None:
        yield Text("without the overrides, the replay diverges from history:")
        yield from divergence_view(other.history_divergence)


def divergence_view(divergence: Divergence) -> Iterator[RenderableType]:
    """Where a replay first differs from the record."""
    yield Text(plain(f"first difference in tick {divergence.tick}: {divergence.reason}"), style="bold")
    rows = [(each.table, each.key, each.column, each.expected, each.got) for each in divergence.differences]
    yield table("table", "key", "column", "committed", "now", rows=rows)


def _heading(other: WhatIf) -> Iterator[RenderableType]:
    otherwise = sum(parting.other_outputs for parting in other.partings if not parting.between)
    parted = sum(not parting.between for parting in other.partings)
    yield Text(
        f"{other.town_id} from {to_text(other.from_)} to {to_text(other.to)}: "
        f"{quantity(other.ticks_compared, 'tick')} compared, {otherwise} with different outputs, "
        f"{parted} with a different state"
    )
    if other.ticks_between:
        yield Text(f"between them, the changed town had {quantity(other.ticks_between, 'tick')} of its own")
    if other.first_parted is not None:
        yield Text(f"first difference: tick {other.first_parted}")


def _unknown(other: WhatIf) -> Iterator[RenderableType]:
    """The effects whose results are unknown: for each bead the first one, from which the others follow."""
    if not other.unknown_effects:
        return
    shown = list(other.first_unknown.values())[:_UNKNOWN_SHOWN]
    count = len(other.unknown_effects)
    yield Text(
        f"UNKNOWN: history does not know the {'result' if count == 1 else 'results'} of {quantity(count, 'effect')} of the "
        "changed town; what depends on them is not known",
        style="bold yellow",
    )
    rows = [
        (
            _name(each.bead_id, other.names),
            f"{each.kind} {_name(each.subject, other.names)}" if each.subject != each.bead_id else each.kind,
            each.tick,
            why_unknown(each.why),
            _fields(each.order),
        )
        for each in shown
    ]
    if rows:
        yield table("bead", "effect", "tick", "why its result is unknown", "order: history -> what if", rows=rows)
    rest = count - len(shown)
    if rest and shown:
        yield Text(f"and {quantity(rest, 'more effect')}, most of which follow from these; --json shows all of them")
    elif rest:
        kinds = ", ".join(sorted({str(each.kind) for each in other.unknown_effects}))
        yield Text(f"none of them is about a bead: {kinds}")


def _fields(order: Sequence[Difference]) -> str:
    parts = [f"{each.column.removeprefix('payload.')}: {_value(each.expected)} -> {_value(each.got)}" for each in order]
    more = f", and {len(parts) - _FIELDS_SHOWN} more" if len(parts) > _FIELDS_SHOWN else ""
    return plain(", ".join(part[:120] for part in parts[:_FIELDS_SHOWN]) + more)


def _value(value: object) -> str:
    return "(none)" if value is None else str(value)


def _ends(other: WhatIf) -> Iterator[RenderableType]:
    if not other.beads:
        yield Text("every bead ends as it did, and waits for the same reason")
        return
    rows = [(plain(each.title), _end(each.then, other), _end_now(each, other), each.bead_id) for each in other.beads]
    yield table("bead at the end", "history", "what if", "id", rows=rows)


def _end_now(end: BeadEnd, other: WhatIf) -> str:
    now = _end(end.now, other)
    return now if end.known else f"UNKNOWN ({now}, had nobody answered)"


def _end(end: BeadStanding | None, other: WhatIf) -> str:
    if end is None:
        return "does not exist"
    word = BEADS[end.status].text.lower()
    if end.reason is None:
        return word
    behind = "" if end.behind is None else f", {_name(end.behind, other.names)}"
    return plain(f"{word}: {reason_word(end.reason).text}{behind} ({end.reason})")


def _ticks(other: WhatIf, *, every: bool) -> Iterator[RenderableType]:
    told = [parting for parting in other.partings if parting.is_told]
    shown = told if every else told[:_TICKS_SHOWN]
    for parting in shown:
        yield from _parting_view(parting, other.names, rows=every)
    if len(told) > len(shown):
        more = quantity(len(told) - len(shown), "more tick")
        yield Text(f"and {more} that {'differs' if len(told) - len(shown) == 1 else 'differ'}")
    if told and not every:
        yield Text("--all shows every tick that differs, with the rows")
    hidden = len(other.partings) - len(told) + other.partings_omitted
    if hidden:
        yield Text(f"and {quantity(hidden, 'more tick')} with a different state in bookkeeping only; --json shows them")


def _parting_view(parting: Parting, names: Mapping[str, str], *, rows: bool) -> Iterator[RenderableType]:
    place = f"after tick {parting.tick}, only what if," if parting.between else f"tick {parting.tick}"
    yield Text(f"{place} at {to_text(parting.time)}")
    for each in parting.unknown:
        if each.why != "never_made":
            about = _name(each.bead_id, names) if each.bead_id is not None else _name(each.subject, names)
            yield Text(
                plain(f"  ~ {each.kind} for {about}: {why_unknown(each.why)}; {_fields(each.order)}").rstrip("; ")
            )
    for sign, side in (("-", parting.only_in_history), ("+", parting.only_now)):
        for event in side.events:
            yield Text(plain(shortened(f"  {sign} {event_line(event)}")))
        for judged in side.actions:
            yield Text(plain(f"  {sign} {code_of(judged.rule)} {_act(judged, names)}"))
        for broken in side.violations:
            yield Text(plain(f"  {sign} violation {broken.invariant}: {broken.message}"))
    if rows:
        yield from _rows(row for row in parting.rows if row.table in WORK)


def _act(judged: JudgedAction, names: Mapping[str, str]) -> str:
    action = judged.action
    change = f" {action['from']} -> {action['to']}" if "from" in action and "to" in action else ""
    return f"{action['type']} {_name(subject_of(action), names)}{change} ({judged.outcome_text})"


def _rows(found: Iterable[Difference]) -> Iterator[RenderableType]:
    rows = tuple(found)
    for row in rows[:_ROWS_SHOWN]:
        yield Text(plain(shortened(f"    {row.table} {row.key} {_change(row)}"))[:160])
    if len(rows) > _ROWS_SHOWN:
        yield Text(f"    and {len(rows) - _ROWS_SHOWN} more; --json shows all of them")


def _change(row: Difference) -> str:
    if row.column != "*":
        return f"{row.column}: {row.expected} -> {row.got}"
    return "exists only now" if row.expected == ABSENT else "exists only in history"


def _name(id_: str | None, names: Mapping[str, str]) -> str:
    return "" if id_ is None else plain(people.name_of(id_, names))
