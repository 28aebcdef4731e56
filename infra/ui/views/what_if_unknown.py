"""What history does not know about the changed town: effects that it never made, or for which it gave another order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from infra.ui import pieces, sentences, words
from infra.ui.markup import Child, Html, joined, tag

if TYPE_CHECKING:
    from infra.ui.names import Names
    from infra.ui.parted import Pair
    from shared.replay.what_if.comparison import Parting
    from shared.replay.what_if.knowledge import UnknownEffect
    from shared.replay.what_if.run import WhatIf

_SHOWN: Final = 5
_FIELDS: Final = 3


def point(shape: str, tone: str, text: Child) -> Html:
    """A line of the summary."""
    return tag("li", pieces.shape(shape, tone), tag("span", text))


def points(found: WhatIf, pairs: Sequence[Pair], names: Names) -> Iterator[Html]:
    """What history does not know: first the effects from which the rest follows, then the beads that depend on them."""
    unknown = found.unknown_effects
    if not unknown:
        return
    first = found.first_unknown
    for bead, each in [*first.items()][:_SHOWN]:
        said = joined(
            names.link(bead),
            tag("b", f": not known from tick {each.tick} on. "),
            _effect(each, names),
            f": {words.why_unknown(each.why)}{_fields(each)}.",
        )
        yield point("attn", "attn", said)
    others = [pair for pair in pairs if pair.kind == "unknown" and pair.bead not in first]
    if others:
        more = words.quantity(len(others) - 1, "other")
        text = f" and {more} are" if len(others) > 1 else " is"
        yield point("attn", "attn", joined(names.link(others[0].bead), f"{text} not known either, because of that."))
    rest = len(unknown) - min(len(first), _SHOWN)
    if rest and first:
        verb = "is" if rest == 1 else "are"
        yield point(
            "idle",
            "wait",
            f"The results of {words.quantity(rest, 'more effect')} {verb} unknown; most follow from these.",
        )
    elif rest:
        kinds = ", ".join(sorted({each.kind.replace("_", " ") for each in unknown}))
        yield point(
            "idle", "wait", f"The results of {words.quantity(rest, 'effect')} are unknown, none about a bead: {kinds}."
        )


def _fields(effect: UnknownEffect) -> str:
    """The fields of the order that differ, with both values."""
    told = [
        f"{each.column.removeprefix('payload.')} {_value(each.expected)} became {_value(each.got)}"
        for each in effect.order[:_FIELDS]
    ]
    more = f" and {len(effect.order) - _FIELDS} more" if len(effect.order) > _FIELDS else ""
    return f" ({', '.join(told)}{more})" if told else ""


def _value(value: object) -> str:
    return "nothing" if value is None else str(value)[:60]


def other_orders(parting: Parting, names: Names) -> Iterator[Html]:
    """The effects of one tick that history made too, and whose recorded results are not those of the changed town."""
    for each in parting.unknown:
        if each.why == "never_made":
            continue
        bead = "" if each.bead_id is None else joined(names.link(each.bead_id), ": ")
        said = f": {words.why_unknown(each.why)}{_fields(each)}"
        yield tag("div", tag("b", "±", class_="text-attn"), " ", bead, _effect(each, names), said)


def _effect(effect: UnknownEffect, names: Names) -> Html:
    template = words.EFFECTS.get(effect.kind, effect.kind)
    return sentences.filled(template, names, bead=effect.bead_id, agent=effect.subject, change="")
