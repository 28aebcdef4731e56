"""The browser of these tests: Debian's chromium.

`python -m tests.ui.browser` installs it where that is possible, and says how else.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from typing import Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
INSTALL: Final = "apt-get update && apt-get install -y --no-install-recommends chromium fonts-liberation"
"""The fonts are for ids and commands; all other text has its font from the page."""
_SECONDS: Final = 420
ARGUMENTS: Final = ("--no-sandbox", "--disable-background-networking", "--disable-component-update")


def program() -> str | None:
    """The path of the browser; None if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name)) is not None), None)


def main() -> int:
    """Install the browser if it is missing and this is Debian or Ubuntu as root."""
    if program() is not None:
        return 0
    if os.geteuid() == 0 and shutil.which("apt-get") is not None:
        print("test-ui: installing chromium", file=sys.stderr)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["sh", "-c", INSTALL], check=False, stdout=subprocess.DEVNULL, env=environment, timeout=_SECONDS
            )
    if program() is not None:
        return 0
    print(f"test-ui: there is no chromium here; install it, then repeat this command: {INSTALL}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
