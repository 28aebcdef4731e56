"""Files of the control server that one user can read."""

import os
import threading
from pathlib import Path


def write_secret(path: Path, secret: str, *, reader: int | None = None) -> None:
    """Atomically write a file that only this user can read, or only the user `reader` if one is given."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if reader is not None:
        path.parent.chmod(0o711)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(secret)
        if reader is not None:
            os.fchmod(file.fileno(), 0o400)
            os.fchown(file.fileno(), reader, reader)
    draft.replace(path)
