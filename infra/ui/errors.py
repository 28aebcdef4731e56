"""Pages of errors: what failed, in words, and the command that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from infra.ui import pieces
from infra.ui.address import Address
from infra.ui.markup import Html, tag
from infra.ui.shell import Standing, page, title_bar
from shared.domain.errors import DamagedImage, Refused, TownError, UnknownTown
from shared.domain.secret_texts import masked

if TYPE_CHECKING:
    from infra.townctl.place import Place

_FORBIDDEN: Final = (401, 403)


def error_page(standing: Standing, error: TownError, place: Place) -> Html:
    """The page instead of one that cannot be shown."""
    address = standing.address
    what, command = _words(error, address.town)
    hint = masked(error.hint or (place.hint if isinstance(error, UnknownTown) else "") or "")
    again = Address("town", address.town) if not address.exists else address.at_time(None)
    body = tag(
        "section",
        pieces.failed(
            masked(error.message), hint or None, again=again, said="Try again" if address.exists else "The town"
        ),
        tag("div", pieces.command(command), class_="body-pad") if command else None,
        class_="card",
    )
    return page(
        standing,
        title_bar(address.town or "Fleet", what),
        tag("div", body, class_="pad"),
        title=address.town or "Fleet",
    )


def _words(error: TownError, town: str) -> tuple[str, str | None]:
    if isinstance(error, UnknownTown):
        return "There is no such town here.", "townctl town list"
    if isinstance(error, DamagedImage):
        return "Its newest state cannot be read.", f"townctl points {town}"
    if isinstance(error, Refused) and error.status in _FORBIDDEN:
        return "These credentials may not read it.", None
    if isinstance(error, Refused) and error.path == "view":
        return "There is no such page.", None
    if isinstance(error, Refused) and error.path == "at":
        return "There is nothing to show of that time.", f"townctl points {town}"
    return "It cannot be shown.", f"townctl doctor {town}" if town else "townctl doctor"


def part(what: str, error: TownError, address: Address) -> Html:
    """An error in the place of the part of a page that failed; the rest of the page lives on."""
    if isinstance(error, Refused) and error.status in _FORBIDDEN:
        return pieces.failed(f"These credentials may not read {what}.", masked(error.hint or "") or None)
    return pieces.failed(
        f"{what.capitalize()}: {masked(error.message)}", masked(error.hint or "") or None, again=address
    )
