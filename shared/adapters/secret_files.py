"""Secrets as files in one directory, readable only by their owner, for a deployment on one machine."""

import os
import stat
from pathlib import Path
from typing import Final

from shared.domain.errors import AccessDenied, Refused, SecretsUnavailable
from shared.ports.secrets import Secret

LARGEST: Final = 64 << 10
_PRIVATE_FILE: Final = 0o600
_PRIVATE_DIRECTORY: Final = 0o700


class SecretFiles:
    """The Secrets port over a directory. The name of a secret is the path of its file in the directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._looked_at: dict[str, Path] = {}

    def get(self, name: str) -> Secret | None:
        """The secret of that name. Raises AccessDenied if others may read its file, SecretsUnavailable."""
        path = self._path(name)
        try:
            with path.open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    hint = f"chmod 600 {path} and store a new token, because others may have read this one"
                    raise AccessDenied(f"the file of the secret {name} can be read by others", hint=hint)
                text = file.read(LARGEST).decode().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            hint = f"make {path} readable, or store the secret again"
            raise SecretsUnavailable(f"the secret {name} cannot be read: {type(error).__name__}", hint=hint) from error
        return Secret(text) if text else None

    def state(self, name: str) -> tuple[int, ...] | None:
        """A value that differs after each change of a secret, found without reading it; None if there is none."""
        path = self._looked_at.get(name)
        if path is None:
            path = self._looked_at[name] = self._path(name)
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode

    def put(self, name: str, secret: Secret) -> None:
        """Store a secret, replacing an older one. Raises AccessDenied."""
        path = self._path(name)
        try:
            for directory in [*reversed(path.relative_to(self._directory).parents)]:
                (self._directory / directory).mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            self._directory.chmod(_PRIVATE_DIRECTORY)
            fresh = path.with_name(f".{path.name}.new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE), "w") as file:
                file.write(secret.reveal())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            hint = f"make {self._directory} writable"
            raise AccessDenied(f"the secret {name} cannot be stored: {error.strerror}", hint=hint) from error

    def remove(self, name: str) -> bool:
        """Delete a secret; returns False if there was none."""
        try:
            self._path(name).unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def names(self) -> tuple[str, ...]:
        """The names of all stored secrets, without their values."""
        found = (path for path in self._directory.rglob("*") if path.is_file() and not path.name.startswith("."))
        return tuple(sorted(path.relative_to(self._directory).as_posix() for path in found))

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if not all(parts) or any(part.startswith(".") or "\\" in part or "\0" in part for part in parts):
            hint = "a name has parts with slashes between them, of which none begins with a dot"
            raise Refused(f"{name[:80]!r} is not a valid name of a secret", status=400, path="secret", hint=hint)
        return self._directory.joinpath(*parts)
