"""A local bare repository for a fake forge: heads are its branches, and git finds conflicts and merges and says what came before.

Git merges trees (`git merge-tree --write-tree`) without a checkout, so agents may push at the same time.
"""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.devstack.fake_history import Named, WayToMerge
from infra.devstack.git_seed import OFFLINE

_WHO: Final = ("-c", "user.name=Fake Forge", "-c", "user.email=forge@town.invalid", "-c", "core.hooksPath=/dev/null")
_NOTHING: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The tree without files, which git knows without an object."""

_SECONDS: Final = 30.0


@dataclass(frozen=True)
class GitRepository:
    """A bare repository. It answers as `fake_history.Commits`, whatever the id of its home."""

    path: Path

    # what there is

    def named(self, home_id: int, expression: str) -> Named | None:  # noqa: ARG002 - a site has one repository of git
        """What an expression of git names; None if it names nothing, or a tree."""
        done = self._git("cat-file", "--batch-check", told=f"{expression}\n")
        found = re.fullmatch(r"([0-9a-f]{40}) (commit|blob) \d+\n", done.stdout)
        return None if found is None else Named("commit" if found[2] == "commit" else "blob", found[1])

    def tip(self, home_id: int, branch: str) -> str | None:
        """The newest commit of a branch; None if there is no such branch."""
        found = self.named(home_id, f"refs/heads/{branch}")
        return None if found is None else found.id

    def parents(self, sha: str) -> tuple[str, ...]:
        """The parents of a commit; none if it is not there."""
        return tuple(self._git("rev-list", "--parents", "--max-count=1", sha).stdout.split()[1:])

    def past(self, sha: str) -> set[str]:
        """A commit and everything before it."""
        return set(self._git("rev-list", sha).stdout.split())

    def base_of(self, one: str, other: str) -> str | None:
        """The newest common commit; None if they have none."""
        return next(iter(self._git("merge-base", one, other).stdout.split()), None)

    def changed(self, start: str | None, end: str) -> list[str]:
        """The files that differ between two commits; all of `end` if `start` is None."""
        words = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", start or _NOTHING, end)
        return sorted(filter(None, self._git(*words).stdout.split("\0")))

    def conflicts(self, head: str, base: str) -> bool:
        """Whether two commits cannot be merged as they are."""
        return self._merged_tree(head, base) is None

    # what people and the town do at the forge

    def merge(self, head: str, base: str, message: str, how: WayToMerge = "merge") -> str:
        """Bring the branch `head` into the branch `base` and return the newest commit there.

        Raises LookupError if a branch is not there or has moved meanwhile, and if they conflict.
        """
        old, other = self._at(base), self._at(head)
        if how == "rebase":
            made = self._rebased(other, old)
        else:
            made = self._merged(other, old, message, (old, other) if how == "merge" else (old,))
        return self._moved(base, old, made, f"{head} conflicts with {base}")

    def update(self, head: str, base: str, *, rebase: bool) -> str:
        """Bring the branch `head` up to date with the branch `base` and return its newest commit. Raises LookupError as `merge`."""
        old, other = self._at(head), self._at(base)
        message = f"Merge branch '{base}' into {head}"
        made = self._rebased(old, other) if rebase else self._merged(other, old, message, (old, other))
        return self._moved(head, old, made, f"{head} conflicts with {base}")

    def delete(self, branch: str) -> None:
        """Delete a branch, if it is there."""
        self._git("update-ref", "-d", f"refs/heads/{branch}")

    def _at(self, branch: str) -> str:
        found = self.tip(0, branch)
        if found is None:
            raise LookupError(f"there is no branch {branch}")
        return found

    def _moved(self, branch: str, old: str, new: str | None, conflict: str) -> str:
        if new is None:
            raise LookupError(conflict)
        done = self._git("update-ref", f"refs/heads/{branch}", new, old)
        if done.returncode != 0:
            raise LookupError(f"{branch} moved meanwhile: {done.stderr.strip()}")
        return new

    def _merged(self, head: str, base: str, message: str, parents: tuple[str, ...]) -> str | None:
        tree = self._merged_tree(head, base)
        if tree is None:
            return None
        of = [word for parent in parents for word in ("-p", parent)]
        return self._git("commit-tree", tree, *of, "-m", message).stdout.strip()

    def _rebased(self, head: str, base: str) -> str | None:
        with tempfile.TemporaryDirectory() as scratch:
            tree = Path(scratch) / "tree"
            self._git("worktree", "add", "--quiet", "--detach", str(tree), head)
            try:
                done = self._git("rebase", "--quiet", base, at=tree)
                return self._git("rev-parse", "HEAD", at=tree).stdout.strip() if done.returncode == 0 else None
            finally:
                self._git("worktree", "remove", "--force", str(tree))

    def _merged_tree(self, head: str, base: str) -> str | None:
        done = self._git("merge-tree", "--write-tree", base, head)
        return done.stdout.split("\n", 1)[0] if done.returncode == 0 else None

    def _git(self, *words: str, told: str = "", at: Path | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["git", *_WHO, *words],
            check=False,
            cwd=at or self.path,
            env={**os.environ, **OFFLINE},
            input=told,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
