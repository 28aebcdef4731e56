"""Which rules ran: the digest of the core's source files, so that replay knows when they changed.

A deploy that does not touch the core changes nothing here.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

CORE: Final = ("domain", "town", "events", "actions", "rules", "engine")
_SHARED: Final = Path(__file__).parent.parent


@cache
def code_version() -> str:
    """The sha256 over names and contents of the core's .py and .sql files, hex, 16 characters."""
    digest = hashlib.sha256()
    for package in CORE:
        files = [path for path in (_SHARED / package).rglob("*") if path.suffix in (".py", ".sql")]
        for path in sorted(files):
            digest.update(path.relative_to(_SHARED).as_posix().encode() + b"\n")
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
