"""The channels to people of towns that run on this machine: the variables of its fleet, and the adapter, made when it is used.

TOWN_NOTICE_WEBHOOK   the address of a webhook for all towns here
TOWN_NOTICE_DESKTOP   `1`: notices of all towns are shown on this machine
TOWN_NOTICE_PAGE      the address of `townctl ui`, to which notices link
TOWN_NOTICE_API       the address of the API, to which notices link; by default that of the `townctl serve` that sends them
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.domain.errors import Refused
from shared.domain.notices import FleetChannels, is_safe_address

if TYPE_CHECKING:
    from shared.domain.notice_orders import NoticeOrder
    from shared.ports.notices import Untold

WEBHOOK: Final = "TOWN_NOTICE_WEBHOOK"
DESKTOP: Final = "TOWN_NOTICE_DESKTOP"
PAGE: Final = "TOWN_NOTICE_PAGE"
API: Final = "TOWN_NOTICE_API"


def fleet_of(environment: Mapping[str, str], *, api: str | None = None) -> FleetChannels:
    """The channels that the environment names; `api` is the address of the API if it names none.

    Raises Refused if an address is no https address, nor http of this machine.
    """
    given = {name: environment.get(name, "").strip() or None for name in (WEBHOOK, PAGE, API)}
    for name, address in given.items():
        if address is not None and not is_safe_address(address):
            hint = f"give {name} an address that begins with https://, or with http://127.0.0.1"
            raise Refused(f"{name} is no address that may be used", status=400, path=name, hint=hint)
    desktop = environment.get(DESKTOP, "").strip()
    if desktop not in ("", "0", "1"):
        raise Refused(f"{DESKTOP} is neither 1 nor 0", status=400, path=DESKTOP, hint=f"set {DESKTOP}=1, or unset it")
    return FleetChannels(webhook=given[WEBHOOK], desktop=desktop == "1", page=given[PAGE], api=given[API] or api)


class OnThisMachine:
    """The Notices port of this machine, whose secrets are files of the data directory."""

    def __init__(self, fleet: FleetChannels, data: Path) -> None:
        self._fleet = fleet
        self._data = data

    def send(self, order: NoticeOrder, *, effect_id: str) -> Untold | None:
        """Send one notice on its channel."""
        from infra.townctl.forges import secret_files
        from infra.townctl.token_keys import keys_in
        from shared.adapters.clock import SystemClock
        from shared.adapters.escalation_links import LinkMaker
        from shared.adapters.notices import ChannelsToPeople

        kept, clock, api = secret_files(self._data), SystemClock(), self._fleet.api
        link = (lambda _: None) if api is None else LinkMaker(api, lambda: keys_in(kept), clock)
        channels = ChannelsToPeople(self._fleet, clock=clock, secrets=kept, link=link)
        return channels.send(order, effect_id=effect_id)
