"""Notices: what people are told on the channels that the town or its deployment has (spec/tick.md section 19)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from shared.domain.limits import NOTICE_WINDOW
from shared.domain.notice_orders import NoticeOrder
from shared.domain.notices import LINES_AT_MOST, Channel, NoticeKind
from shared.domain.states import EffectKind, Priority
from shared.domain.times import to_text
from shared.town import outbox
from shared.town.town import Town

_TITLE_AT_MOST: Final = 300
_TEXT_AT_MOST: Final = 2000
_LINE_AT_MOST: Final = 200
_RANKS: Final = {priority.value: rank for rank, priority in enumerate(Priority)}


def tell(
    town: Town,
    notice: NoticeKind,
    title: str,
    *,
    severity: str,
    about: str,
    text: str | None = None,
    bead_id: str | None = None,
) -> None:
    """Request the notice on each channel, if it is urgent enough. `about` names it among those of its kind and tick."""
    settings = town.tick.config.notices
    if _RANKS.get(severity, 0) < _RANKS[settings.from_severity]:
        return
    for channel, address in _channels(town):
        order = NoticeOrder(
            town_id=town.tick.town_id,
            channel=channel,
            address=address,
            notice=notice,
            severity=severity,
            title=" ".join(title.split())[:_TITLE_AT_MOST],
            text=(text or "")[:_TEXT_AT_MOST],
            bead_id=bead_id,
            at=town.tick.now_text,
        )
        if _sent_lately(town, channel) < settings.per_hour:
            outbox.request(town, order, f"{channel}:{notice}:{about}", town.tick.number)
        else:
            _into_digest(town, order)


def _channels(town: Town) -> Iterator[tuple[Channel, str | None]]:
    """The channels of the town, and those that its deployment has for all towns."""
    settings, of_all = town.tick.config.notices, town.tick.fleet_channels
    if settings.webhook is not None:
        yield "webhook", settings.webhook
    if "fleet_webhook" in of_all:
        yield "fleet_webhook", None
    if settings.desktop or "desktop" in of_all:
        yield "desktop", None
    if "mail" in of_all:
        yield "mail", None


def _sent_lately(town: Town, channel: Channel) -> int:
    """How many notices were requested on a channel in the last hour, without its digests."""
    row = town.sql.execute(
        "SELECT COUNT(*) FROM outbox WHERE kind = :kind AND subject >= :first AND subject < :last AND created_at > :since "
        "AND subject <> :digest",
        {
            "kind": EffectKind.SEND_NOTICE.value,
            "first": f"{channel}:",
            "last": f"{channel};",
            "digest": _digest_of(channel),
            "since": to_text(town.tick.now - NOTICE_WINDOW),
        },
    ).fetchone()
    count: int = row[0]
    return count


def _into_digest(town: Town, order: NoticeOrder) -> None:
    """Add a notice beyond the limit to the digest of its channel that waits, or begin one."""
    said = f"{order.severity}: {order.title}"[:_LINE_AT_MOST]
    waiting = _waiting_digest(town, order.channel)
    if waiting is not None:
        effect_id, digest = waiting
        lines = (*digest.lines, said) if len(digest.lines) < LINES_AT_MOST else digest.lines
        worst = max(digest.severity, order.severity, key=lambda each: _RANKS.get(each, 0))
        outbox.say(town, effect_id, _counted(replace(digest, lines=lines, severity=worst, count=digest.count + 1)))
        return
    first = replace(order, notice="digest", text="", bead_id=None, count=1, lines=(said,))
    subject, later = _digest_of(order.channel), town.tick.now + NOTICE_WINDOW
    outbox.request(town, _counted(first), subject, town.tick.number, not_before=later)


def _counted(digest: NoticeOrder) -> NoticeOrder:
    noun = "notice" if digest.count == 1 else "notices"
    return replace(digest, title=f"{digest.count} more {noun} in the last hour")


def _digest_of(channel: str) -> str:
    return f"{channel}:digest"


def _waiting_digest(town: Town, channel: str) -> tuple[str, NoticeOrder] | None:
    """The digest of a channel that was never started, and its order."""
    for effect in outbox.unfinished(town):
        if effect.kind is EffectKind.SEND_NOTICE and effect.subject == _digest_of(channel) and not effect.attempts:
            order = effect.order(NoticeOrder)
            if order is not None:
                return effect.id, order
    return None
