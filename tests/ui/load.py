"""The load figure of `townctl ui`: a town of thousands of live beads and ticks. `make bench-ui` prints it."""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from playwright.sync_api import sync_playwright

from infra.listening.live import live
from infra.ui.acts import Acts
from infra.ui.address import address_of
from infra.ui.pages import served
from infra.ui.site import Site
from tests.replayed import a_world_with_a_past
from tests.sites import a_site
from tests.towns import event
from tests.ui import browser
from tests.ui.large import a_large_town
from tests.worlds import World

RUNS = 5
AWAKE = 300
"""So many of the newest ticks work: more than the page shows at once."""
SECONDS = 120_000
"""Milliseconds after which a page that does not come ends the measurement."""
VIEWS = {
    "town": "/t/large",
    "list": "/t/large?as=list",
    "timeline, 40 min": "/t/large/timeline",
    "beads": "/t/large/beads",
}


def a_loaded_world(beads: int, ticks: int) -> World:
    """A town of so many live beads that has lived through so many ticks; the journal of each is kept.

    It is paused but for the newest ticks: that no rule looks at all of its beads makes a past of days in minutes.
    """
    world = a_world_with_a_past(kept_versions=64)
    world.put_in(a_large_town(beads, at=world.clock.now()))
    world.post(event("town_paused", {"by": "the benchmark"}, event_id="pause-01"), town_id="large")
    for number in range(ticks):
        world.clock.move(seconds=10)
        if number == max(ticks - AWAKE, 0):
            world.post(event("town_started", event_id="start-01"), town_id="large")
        bead = f"bead-{number % beads:05}"
        change = event(
            "bead_updated",
            {"priority": ("high", "low")[number // beads % 2]},
            bead=bead,
            event_id=f"change-{number:06}",
        )
        world.post(change, town_id="large")
        world.run(town_id="large")
        world.metrics.runs.clear()  # each holds the image of its run
        if number % 1000 == 999:
            print(f"  {number + 1} ticks", file=sys.stderr, flush=True)
    return world


def measured(what: Callable[[], object], runs: int = RUNS) -> str:
    """The median of some runs, in seconds; of the processor too, which other programs on this machine change little."""
    spent = []
    for _ in range(runs):
        start, worked = time.perf_counter(), time.process_time()
        what()
        spent.append((time.perf_counter() - start, time.process_time() - worked))
    clock, processor = sorted(spent)[runs // 2]
    return f"{clock:.2f} s ({processor:.2f} s of a processor)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beads", type=int, default=2000)
    parser.add_argument("--ticks", type=int, default=20_000)
    asked = parser.parse_args()
    world = a_loaded_world(asked.beads, asked.ticks)
    print(f"{asked.beads:,} live beads, {asked.ticks:,} ticks (median of {RUNS}, seconds of this machine)")
    with tempfile.TemporaryDirectory() as directory:
        site = a_site(world, Path(directory))
        of_the_server(site, world)
        of_the_browser(site)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  memory of the server: {most:.0f} MiB at most, with the world in it")


def of_the_server(site: Site, world: World) -> None:
    """How long the server makes each page."""
    for name, path in VIEWS.items():
        size = len(str(site.page(address_of(path)))) / 1024
        spent = measured(partial(site.page, address_of(path)))
        print(f"  page of the server, {name}: {spent}, {size:.0f} KiB")
    past = address_of(f"/t/large?at={world.clock.now() - timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}")
    print(f"  the town 30 minutes ago, the first time: {measured(partial(site.page, past), runs=1)}")
    print(f"  a refresh without news: {measured(partial(site.stamp, address_of('/t/large')))}")


def of_the_browser(site: Site) -> None:
    """When the browser paints first, and what the page costs it."""
    with live(lambda: served(site, Acts(site, ()))) as port, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.program(), args=list(browser.ARGUMENTS))
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(SECONDS)
        page.goto(port.first_url)
        for name in ("town", "timeline, 40 min"):
            page.goto(port.url + VIEWS[name])
            paint = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
            heap = page.evaluate("() => performance.memory.usedJSHeapSize")
            elements = page.evaluate("() => document.querySelectorAll('*').length")
            size = f"{elements:,} elements, heap {heap / 1_048_576:.0f} MiB"
            print(f"  browser, {name}: first paint after {paint / 1000:.2f} s, {size}")
        chromium.close()


if __name__ == "__main__":
    main()
