"""A local bare repository for a fake forge: heads are its branches, and git finds conflicts and merges.

Git merges trees (`git merge-tree --write-tree`) without a checkout, so agents may push at the same time.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.devstack.git_seed import OFFLINE

_WHO: Final = ("-c", "user.name=Fake Forge", "-c", "user.email=forge@town.invalid", "-c", "core.hooksPath=/dev/null")
_SECONDS: Final = 30.0


@dataclass(frozen=True)
class GitRepository:
    """A bare repository."""

    path: Path

    def tip(self, branch: str) -> str:
        """The newest commit of a branch. Raises LookupError if there is no such branch."""
        done = self._git("rev-parse", "--quiet", "--verify", f"refs/heads/{branch}^{{commit}}")
        if done.returncode != 0:
            raise LookupError(f"there is no branch {branch}")
        return done.stdout.strip()

    def conflicts(self, head: str, base: str) -> bool:
        """Whether the branches cannot be merged as they are. Raises LookupError."""
        return self._merged_tree(self.tip(head), self.tip(base)) is None

    def merge(self, head: str, base: str, message: str) -> str:
        """Merge `head` into `base` and return the merge commit. Raises LookupError, also if they conflict or `base` has moved."""
        old, other = self.tip(base), self.tip(head)
        tree = self._merged_tree(other, old)
        if tree is None:
            raise LookupError(f"{head} conflicts with {base}")
        made = self._git("commit-tree", tree, "-p", old, "-p", other, "-m", message)
        if made.returncode != 0 or self._git("update-ref", f"refs/heads/{base}", made.stdout.strip(), old).returncode:
            raise LookupError(f"{base} moved during the merge: {made.stderr.strip()}")
        return made.stdout.strip()

    def _merged_tree(self, head: str, base: str) -> str | None:
        done = self._git("merge-tree", "--write-tree", base, head)
        return done.stdout.split("\n", 1)[0] if done.returncode == 0 else None

    def _git(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["git", *_WHO, *words],
            check=False,
            cwd=self.path,
            env={**os.environ, **OFFLINE},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
