"""Small disks of the soak's own, which can be full or read-only. They need root and a mount namespace of our own."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.adapters.clock import wait_for

_UNSHARED: Final = "SOAK_HAS_ITS_OWN_MOUNTS"
_FILLER: Final = ".filler"
_PIECE: Final = b"\0" * (1 << 20)


def with_own_mounts() -> str:
    """Start this process again in a mount namespace of its own. Returns "" in that one, and otherwise why there is none."""
    if os.environ.get(_UNSHARED):
        return ""
    program = shutil.which("unshare")
    if program is None:
        return "there is no program unshare (package util-linux)"
    command = [program, "--mount", "--propagation", "private", "--"]
    tried = subprocess.run(
        [*command, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
    )
    if tried.returncode == 0:
        os.environ[_UNSHARED] = "1"
        os.execv(program, [*command, sys.executable, *sys.orig_argv[1:]])
    return tried.stderr.strip() or f"unshare ended with {tried.returncode}"


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk in memory, mounted at a directory."""

    at: Path

    @classmethod
    def mounted(cls, at: Path, *, mebibytes: int) -> "Disk":
        """A new disk of that size."""
        at.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", str(at))
        return cls(at)

    def fill(self) -> None:
        """Leave no byte free."""
        with contextlib.suppress(OSError), (self.at / _FILLER).open("wb", buffering=0) as file:
            piece = _PIECE
            while True:
                try:
                    file.write(piece)
                except OSError:
                    if len(piece) == 1:
                        raise
                    piece = piece[: len(piece) // 2]

    def free(self) -> None:
        """Remove the filler; a disk that is read-only by now becomes writable for that."""
        self.become_writable()
        (self.at / _FILLER).unlink(missing_ok=True)

    def become_read_only(self) -> bool:
        """Refuse all writes from now on. False if files were open for writing all the time."""
        return wait_for(lambda: self._remount("ro"), seconds=5, every=0.05)

    def become_writable(self) -> None:
        """Take writes again."""
        if not self._remount("rw"):
            raise RuntimeError(f"cannot make {self.at} writable again")

    def unmount(self) -> None:
        """Detach it, even if a file is open."""
        _libc_unmount(self.at)

    def _remount(self, how: str) -> bool:
        command = ["mount", "-o", f"remount,{how}", str(self.at)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _libc_unmount(at: Path) -> None:
    detach = 2
    ctypes.CDLL(None, use_errno=True).umount2(str(at).encode(), detach)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
