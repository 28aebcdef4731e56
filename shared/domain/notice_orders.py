"""The order of a notice to people."""

from dataclasses import dataclass
from typing import ClassVar

from shared.domain.orders import Order
from shared.domain.states import EffectKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeOrder(Order):
    """Tell people something on one channel. `address` is that of the town's own webhook.

    A digest stands for `count` notices and names the first of them in `lines`.
    """

    kind: ClassVar[EffectKind] = EffectKind.SEND_NOTICE

    channel: str
    notice: str
    severity: str
    title: str
    at: str
    address: str | None = None
    text: str = ""
    bead_id: str | None = None
    count: int = 0
    lines: tuple[str, ...] = ()
