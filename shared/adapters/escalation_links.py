"""Links with which a person acknowledges one escalation, and nothing else, without any other credential.

    <API>/acknowledge/<content>.<signature>

The content is a JSON list of town, escalation, channel and the second at which the link ends, in base64url. The signature is an
HMAC-SHA256 over the text of the content, with the key that signs town tokens. What is signed begins with words of its own, so
neither can a link be used as a token nor a token as a link. The text itself is signed, so a link has one spelling.

A link is made when its notice is sent, because it needs a clock and the key. Whoever has the link can acknowledge.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.adapters.town_tokens import key_id, usable
from shared.domain import strict_json
from shared.domain.errors import Refused, TownError
from shared.domain.ids import is_subject_id, is_town_id
from shared.domain.notice_orders import NoticeOrder
from shared.domain.notices import SENT_BY
from shared.ports.clock import Clock

PATH: Final = "/acknowledge/"
LIFE: Final = timedelta(days=7)
"""Longer than a weekend. An escalation that waits is told again within a day, with a new link."""

_SIGNED: Final = b"link to acknowledge an escalation\n"
_LONGEST: Final = 1024


@dataclass(frozen=True, slots=True)
class EscalationLink:
    """What a link says: the escalation, the channel that it was sent on, and its end."""

    town_id: str
    bead_id: str
    channel: str
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class ReadLink:
    """A link whose signature is right. `name` and `key` name it and the key that signed it, and reveal neither."""

    link: EscalationLink
    name: str
    key: str


def sealed(link: EscalationLink, keys: Sequence[str]) -> str:
    """The last part of the address of a link, signed with the first key. Raises Terminal (no usable key)."""
    said = [link.town_id, link.bead_id, link.channel, int(link.ends_at.timestamp())]
    content = _as_text(json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode())
    return f"{content}.{_signature(content, usable(keys)[0])}"


def opened(text: str, keys: Sequence[str], *, now: datetime) -> ReadLink:
    """What the last part of an address says. Raises Refused: 401 if it is no link of ours, 410 if it has ended; Terminal."""
    content, _, signature = text[: _LONGEST + 1].partition(".")
    signer = None
    for key in usable(keys):
        if hmac.compare_digest(_signature(content, key).encode(), signature.encode(errors="replace")):
            signer = key
    if signer is None or len(text) > _LONGEST:
        raise _no_link()
    link = _read(content)
    if now >= link.ends_at:
        hint = "look at the newest notice of it, or call `townctl escalation acknowledge`"
        raise Refused("this link has expired", status=410, path="link", hint=hint)
    return ReadLink(link, name_of(text), key_id(signer))


def name_of(text: str) -> str:
    """A name for a link, by which audit lines and events can be compared. It reveals nothing about the link."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class LinkMaker:
    """Makes the links in the notices of a deployment, whose API has the address `api`."""

    api: str
    keys: Callable[[], Sequence[str]]
    clock: Clock

    def __call__(self, order: NoticeOrder) -> str | None:
        """The link in a notice. None: it is about no escalation, or no key can be read; then the notice leaves without a link."""
        if order.bead_id is None:
            return None
        link = EscalationLink(order.town_id, order.bead_id, order.channel, self.clock.now() + LIFE)
        try:
            return f"{self.api.rstrip('/')}{PATH}{sealed(link, self.keys())}"
        except TownError:
            return None


def _signature(content: str, key: str) -> str:
    return _as_text(hmac.new(key.encode(), _SIGNED + content.encode(errors="replace"), hashlib.sha256).digest())


def _as_text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _read(content: str) -> EscalationLink:
    """The link in a content whose signature is right. Raises Refused."""
    try:
        said = strict_json.foreign(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)), limit=_LONGEST)
        town_id, bead_id, channel, ends = said
        link = EscalationLink(str(town_id), str(bead_id), str(channel), datetime.fromtimestamp(ends, UTC))
    except (TypeError, ValueError, OverflowError, OSError):
        raise _no_link() from None
    if not is_town_id(link.town_id) or not is_subject_id(link.bead_id) or link.channel not in SENT_BY:
        raise _no_link()
    return link


def _no_link() -> Refused:
    hint = "open the link exactly as it stands in the notice"
    return Refused("this is not a link of a notice", status=401, path="link", hint=hint)
