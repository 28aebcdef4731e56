"""A notice as a mail: what the body of a webhook says, in words."""

from collections.abc import Iterator, Mapping
from typing import Final

from shared.domain.notice_orders import NoticeOrder

_KINDS: Final[Mapping[str, str]] = {
    "escalation": "An escalation was raised",
    "raised_again": "An escalation waits, and nobody has acknowledged it",
    "alert": "Something is wrong",
    "digest": "There were more notices than may be sent one by one",
}
_LINKS: Final = (
    ("acknowledge", "Acknowledge it, so that it is not raised again, by this link, which is good for seven days:"),
    ("acknowledge_command", "Acknowledge it in a terminal:"),
    ("page", "Look at it:"),
    ("api", "By the API:"),
    ("explain", "In a terminal:"),
)


def subject_of(order: NoticeOrder) -> str:
    """The subject of the mail about a notice."""
    return f"[{order.town_id}] {order.severity}: {order.title}"


def text_of(order: NoticeOrder, links: Mapping[str, str], *, effect_id: str) -> str:
    """The text of the mail about a notice. Each link stands alone on its line."""
    return "\n".join(_lines(order, links, effect_id)) + "\n"


def _lines(order: NoticeOrder, links: Mapping[str, str], effect_id: str) -> Iterator[str]:
    yield f"{_KINDS.get(order.notice, 'A notice')} in the town {order.town_id}."
    yield from ("", order.title)
    if order.text:
        yield from ("", order.text)
    for line in order.lines:
        yield f"- {line}"
    yield from ("", f"Severity: {order.severity}", f"Time: {order.at}")
    if order.bead_id is not None:
        yield f"Bead: {order.bead_id}"
    yield f"Notice: {effect_id}"
    for name, words in _LINKS:
        if name in links:
            yield from ("", words, links[name])
