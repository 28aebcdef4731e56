"""The key that callers of a control server must present: the platform's, or one that the server makes for itself."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from infra.agents.control_server.secret_files import write_secret

KEY_FILE: Final = "control-key"
_BYTES: Final = 32


def own_key(root: Path) -> str:
    """The key that the server made for itself, in a file that only this user can read; the first call makes it.

    Raises OSError if the file can be read by others, belongs to somebody else, or is a link: then the key may be known to others.
    """
    path = root / KEY_FILE
    if not os.path.lexists(path):
        write_secret(path, secrets.token_urlsafe(_BYTES))
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, encoding="ascii") as file:
        found = os.fstat(file.fileno())
        key = file.read(1024).strip()
    if (
        not stat.S_ISREG(found.st_mode)
        or stat.S_IMODE(found.st_mode) & 0o077
        or found.st_uid != os.geteuid()
        or not key
    ):
        raise PermissionError(
            f"{path} is not a file that only this user can read: delete it, and the next start makes a new key"
        )
    return key
