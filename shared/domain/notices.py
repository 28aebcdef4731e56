"""Notices to people: their channels, and which addresses a webhook may have."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Channel = Literal["webhook", "fleet_webhook", "desktop", "mail"]
NoticeKind = Literal["escalation", "raised_again", "alert", "digest"]
SENT_BY: Final[Mapping[str, str]] = {
    "webhook": "link sent to the town's webhook",
    "fleet_webhook": "link sent to the webhook of all towns",
    "desktop": "link shown on the desktop",
    "mail": "link sent by mail",
}
"""How the audit trail names the link with which a person acknowledged an escalation, by the channel that it was sent on."""

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
LINES_AT_MOST: Final = 20
"""So many notices a digest names; the others it counts."""


_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?:[/?][!\"$-~]*)?"
)
_LARGEST_PORT: Final = 65535


def is_safe_address(address: str) -> bool:
    """Whether a webhook may have this address: https, or http on this machine; without credentials."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"] or 0) > _LARGEST_PORT:
        return False
    return found["scheme"] == "https" or found["host"] in LOOPBACK


def webhook_secret(town_id: str | None) -> str:
    """The name of the secret that signs the webhooks of a town; without one, those of the deployment."""
    return "platform/notices/webhook" if town_id is None else f"towns/{town_id}/notices/webhook"


@dataclass(frozen=True, slots=True)
class FleetChannels:
    """The channels of a deployment. `page` and `api` are the addresses to which its notices link."""

    webhook: str | None = None
    desktop: bool = False
    mail: bool = False
    page: str | None = None
    api: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The channels that every town of the deployment uses, whatever its settings say."""
        given = (
            ("fleet_webhook", self.webhook is not None),
            ("desktop", self.desktop),
            ("mail", self.mail),
        )
        return tuple(name for name, is_there in given if is_there)
