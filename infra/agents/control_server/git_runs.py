"""Runs git for the control server: as the user whose files it works on, with a small environment, and within limits.

What an agent has in its clone decides what git runs there: hooks, filters, `core.fsmonitor`, credential helpers. So git never
runs as the server in a directory that an agent may write. Git may hang on the network, so every command has a time limit and is
killed when its start is cancelled; it may print without end, so only the beginning is kept. Credentials are removed from git's
messages before people see them.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

from shared.adapters.clock import Budget, wait_for
from shared.adapters.git_prover import without_credentials
from shared.adapters.local_processes import PROXIES_AND_CERTIFICATES, NotPrepared
from shared.adapters.local_supervisor import AsUser, as_user

GIT_SECONDS: Final = 600.0
_SETTINGS: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.sharedRepository=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "commit.gpgSign=false",
    "protocol.ext.allow=never",
    "fetch.recurseSubmodules=false",
    "fetch.unpackLimit=1",
    "submodule.recurse=false",
)
_INHERITED: Final = ("PATH", "HOME", "LANG", *PROXIES_AND_CERTIFICATES)
_QUIET: Final = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "https:ssh"}
_IN_ENGLISH: Final = {"LC_ALL": "C"}
_REFUSED: Final = ("Authentication failed", "could not read Username", "could not read Password")
_MOST_OUTPUT: Final = 16 << 20
_LAST_SECONDS: Final = 0.2


def never() -> bool:
    """The argument `cancelled` of a call that is never cancelled."""
    return False


def git_environment(given: Mapping[str, str]) -> dict[str, str]:
    """What git sees: where programs, its user's home, proxies and certificates are, and how the operator configured git."""
    ours = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**ours, **_QUIET, **{name: value for name, value in given.items() if name.startswith("GIT_")}}


@dataclass(frozen=True, slots=True)
class Git:
    """Git as one user, in one directory. With `user` None, it runs as ours; `home` is then our home, too.

    `access` are the variables with which it reaches a forge. They may contain a credential.
    """

    environment: Mapping[str, str]
    at: Path
    cancelled: Callable[[], bool] = never
    user: int | None = None
    home: Path | None = None
    more: Mapping[str, str] = field(default_factory=dict)
    umask: int = 0o077
    access: Mapping[str, str] = field(default_factory=dict, repr=False)

    def where(self, at: Path, **more: str) -> "Git":
        """The same in another directory, with more variables."""
        return replace(self, at=at, more=more)

    def reaching(self, access: Mapping[str, str]) -> "Git":
        """The same with access to a forge."""
        return replace(self, access=access)

    def run(self, *words: str) -> str:
        """Run git and return its output. Raises NotPrepared with git's message."""
        flags = [word for setting in _SETTINGS for word in ("-c", setting)]
        home = {} if self.home is None else {"HOME": str(self.home)}
        process = subprocess.Popen(
            ["git", *flags, *words],
            cwd=self.at,
            env={**self.environment, **home, **self.more, **self.access, **_IN_ENGLISH},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **self._as_user(),
        )
        out, err = _Beginning(process.stdout), _Beginning(process.stderr)
        budget = Budget(GIT_SECONDS)
        wait_for(
            lambda: _is_over(process, out, err) or self.cancelled() or budget.left() == 0,
            seconds=GIT_SECONDS,
            every=0.005,
        )
        # A git that is about to end may end.
        if not wait_for(lambda: _is_over(process, out, err), seconds=_LAST_SECONDS):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise NotPrepared("cancelled" if self.cancelled() else f"git {words[0]} took longer than {GIT_SECONDS:g} s")
        if process.returncode != 0:
            raise NotPrepared(f"git {words[0]}: {said(bytes(err.kept))}")
        return out.kept.decode(errors="replace").strip()

    def _as_user(self) -> AsUser:
        found = as_user(self.user)
        if self.user is not None:
            found["umask"] = self.umask
        return found

    def succeeds(self, *words: str) -> bool:
        """Whether a command ends with exit code 0."""
        try:
            self.run(*words)
        except NotPrepared:
            return False
        return True


class _Beginning(threading.Thread):
    """Reads a stream to its end and keeps its beginning."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        super().__init__(daemon=True)
        self.kept = bytearray()
        self._stream = stream
        self.start()

    def run(self) -> None:
        """Read to the end."""
        if self._stream is not None:
            with self._stream as stream:
                while read := os.read(stream.fileno(), 1 << 16):
                    self.kept += read[: _MOST_OUTPUT - len(self.kept)]


def _is_over(process: "subprocess.Popen[bytes]", *readers: _Beginning) -> bool:
    """Whether git has ended and everything that it printed is read."""
    return process.poll() is not None and not any(reader.is_alive() for reader in readers)


def is_refused(message: str) -> bool:
    """Whether git's message says that a forge did not accept its credential."""
    return any(words in message for words in _REFUSED)


def said(stderr: bytes) -> str:
    """Git's message without credentials; its end, if it is long."""
    return without_credentials(stderr.decode(errors="replace")).strip()[-500:] or "git gave no reason"
