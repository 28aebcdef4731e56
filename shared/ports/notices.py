"""The notices port: channels on which a town's notices reach people."""

from dataclasses import dataclass
from typing import Protocol

from shared.domain.notice_orders import NoticeOrder


@dataclass(frozen=True, slots=True)
class Untold:
    """The notice did not arrive, as far as is known. With `passing` the same one may arrive later."""

    error: str
    passing: bool = False


class Notices(Protocol):
    """Sends notices to people."""

    def send(self, order: NoticeOrder, *, effect_id: str) -> Untold | None:
        """Send one notice on the channel that it names, within 15 s; None if it arrived. `effect_id` is the same on every attempt.

        Never raises for what the outside says.
        """
        ...
