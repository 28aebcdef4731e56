"""`townctl ui`: the towns of a directory, a bucket or an API as a page in the browser of this machine."""

from __future__ import annotations

import webbrowser
from dataclasses import replace
from typing import Annotated, Final

from cyclopts import Parameter

from infra.townctl.context import TheContext
from infra.townctl.loop import Stop
from infra.townctl.output import Answer
from infra.townctl.place import Place, ThePlace
from infra.townctl.stored_towns import StoredTowns
from shared.domain.shapes import answer

ANY_PORT: Final = 0


@answer
class Shown:
    """A page that was closed: where it was."""

    url: str


def ui(
    town_id: Annotated[str | None, Parameter(help="Open the page of this town; without it, the list of all.")] = None,
    /,
    *,
    port: Annotated[int, Parameter(help="The port on 127.0.0.1 to listen on; 0 is any free port.")] = ANY_PORT,
    write: Annotated[
        bool, Parameter(negative="", help="Let buttons act. Without it the page only reads, and copies commands.")
    ] = False,
    browser: Annotated[
        bool, Parameter(negative="--no-browser", help="Open the page in the browser of this machine.")
    ] = True,
    place: ThePlace,
    context: TheContext,
) -> Answer:
    """Show the towns as a page in a browser: what each does, why things wait, what happened, what would have happened.

    The page is on this machine only, and its address opens it once, in one browser. It runs until Ctrl-C or SIGTERM.
    """
    from infra.listening.live import live
    from infra.ui.acts import Acts, place_options
    from infra.ui.address import Address
    from infra.ui.pages import served
    from infra.ui.site import Site

    def opened() -> Place:
        return StoredTowns(replace(context)) if isinstance(place, StoredTowns) else place

    if town_id is None:
        opened().town_ids()
    else:
        opened().require(town_id)
    site = Site(opened, writes=write)
    acts = Acts(site, place_options(context, place))
    stop = Stop()
    with stop.on_signals(), live(lambda: served(site, acts), port=port) as pages:
        first = pages.first_url
        if town_id is not None:
            first = first.replace("/?", f"{Address('town', town_id).href}?", 1)
        context.talk(f"showing {place.name} at {first}")
        context.talk("this address opens the page once, in one browser of this machine; Ctrl-C ends it")
        if browser:
            webbrowser.open(first)
        while not stop.wait(3600):
            pass
    return Answer(Shown(pages.url), ())
