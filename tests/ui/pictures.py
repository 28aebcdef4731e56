"""Makes the pictures of the README from a demo that runs: `make ui-pictures`."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, sync_playwright

from tests.ui import browser

TARGET: Final = Path("docs")
STARTED: Final = re.compile(r"http://127\.0\.0\.1:\d+/\?token=\S+")
SPEED: Final = "4"
"""Slow enough for a machine that does other things too: its agents answer before the town takes them for lost."""
SECONDS: Final = 600


def main() -> None:
    """Run a demo with its page, and take a picture of the town at work and of the timeline at its end."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            sys.executable,
            "-m",
            "infra.townctl.main",
            "--data",
            directory,
            "demo",
            "--keep",
            "--ui",
            "--speed",
            SPEED,
        ]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "BROWSER": "true"})
        try:
            take(demo)
        finally:
            demo.terminate()
            demo.wait()


def take(demo: subprocess.Popen[str]) -> None:
    """The pictures, while the demo runs."""
    address = ""
    assert demo.stdout is not None
    while not (found := STARTED.search(address)):
        address = demo.stdout.readline()
        if not address:
            raise SystemExit("the demo ended before its page was there")
    url = found[0].partition("/?")[0]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser.program(), args=list(browser.ARGUMENTS))
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.goto(found[0])
        page.goto(f"{url}/t/demo")
        wait_until(
            page,
            "() => document.querySelectorAll('.done-list li').length >= 2 && document.querySelectorAll('.bead').length >= 3",
        )
        page.screenshot(path=TARGET / "ui-town.png")
        wait_until(page, "() => document.querySelectorAll('.done-list li').length >= 5")
        page.goto(f"{url}/t/demo/timeline?span=all")
        page.screenshot(path=TARGET / "ui-timeline.png")
        chromium.close()
    print(f"{TARGET}/ui-town.png and {TARGET}/ui-timeline.png")


def wait_until(page: Page, condition: str) -> None:
    """Wait until the page shows something. A picture of anything else is not taken."""
    end = time.monotonic() + SECONDS
    while not page.evaluate(condition):
        if time.monotonic() > end:
            raise SystemExit(f"after {SECONDS} s the page did not show what the picture is of: {condition}")
        page.wait_for_timeout(500)


if __name__ == "__main__":
    main()
