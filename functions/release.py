"""The release of this code, for people: the commit that `make build` stored in the bundle."""

from functools import cache
from pathlib import Path
from typing import Final

_BUNDLED: Final = Path(__file__).with_name("release.txt")


@cache
def release() -> str:
    """The description of the commit, as in `v0.2.0-3-g1a2b3c4`; `unknown` if the code was not built from a git checkout."""
    return _BUNDLED.read_text(encoding="ascii").strip() if _BUNDLED.is_file() else "unknown"
