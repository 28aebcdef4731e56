"""Phase 12, before claiming: a tick gives the mayor at most 20 messages (spec/tick.md section 5, step 2).

If more wait, one digest replaces those that come last; it names them all. Mail is never part of a digest, because the mayor must
read it and its bead closes when it is delivered: what does not fit waits for the next tick.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from shared.domain import limits
from shared.domain.mail import in_subject
from shared.domain.orders import MayorOrder
from shared.domain.quoting import line, name
from shared.domain.states import EffectState
from shared.town import outbox
from shared.town.outbox import Effect
from shared.town.town import Town

_LINE_AT_MOST: Final = 120
_TOLD_AT_MOST: Final = 24 * 1024


class Later(NamedTuple):
    """The ids of effects that wait for the next tick, and whether the outbox has changed."""

    waits: frozenset[str]
    changed: bool


def fit_into_a_tick(town: Town, told: Sequence[Effect]) -> Later:
    """Replace what is too much for the mayor by a digest. `told`: the messages to the mayor that may be sent now, in order."""
    if len(told) <= limits.MAYOR_TOLD_PER_TICK:
        return Later(frozenset(), changed=False)
    room = limits.MAYOR_TOLD_PER_TICK - 1
    over = told[room:]
    news = [(effect, order) for effect in over if (order := _news_of(effect)) is not None]
    if len(news) < 2:
        return Later(frozenset(effect.id for effect in told[room + 1 :]), changed=False)
    digest = replace(
        news[-1][1],
        subject=f"digest:{town.tick.number}",
        message=_digest([order for _, order in news]),
    )
    outbox.request(town, digest, digest.subject, town.tick.number)
    for effect, _ in news:
        outbox.finish(town, effect, EffectState.DONE, {"digest": digest.subject})
    gone = {effect.id for effect, _ in news}
    return Later(frozenset(effect.id for effect in over if effect.id not in gone), changed=True)


def _news_of(effect: Effect) -> MayorOrder | None:
    """The order of a message that a digest may replace: it is no mail, and was never sent before."""
    order = effect.order(MayorOrder) if effect.attempts == 0 else None
    return None if order is None or in_subject(order.subject) is not None else order


def _digest(orders: Sequence[MayorOrder]) -> str:
    """The number of messages; then, while there is room, each with its subject, which names its bead, and the start of its text."""
    lines = [f"{len(orders)} more messages, each in one line; `escalation:ID` names its bead:"]
    size = 0
    for at, order in enumerate(orders):
        told = _line(order)
        size += len(told.encode(errors="replace")) + 1
        if size > _TOLD_AT_MOST:
            lines.append(f"and {len(orders) - at} more: the status of the town lists all open escalations")
            break
        lines.append(told)
    return "\n".join(lines)


def _line(order: MayorOrder) -> str:
    text = order.message
    shown = line(text if len(text) <= _LINE_AT_MOST else f"{text[: _LINE_AT_MOST - 3]}...")
    return f"- {name(order.subject)}: {shown}"
