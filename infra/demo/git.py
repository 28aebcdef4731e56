"""Git for the demo agents: each agent has its own mirror, a new worktree per start, and pushes that may lose a race.

A process may be killed at any moment, even inside git. Leftovers in its mirror (a lock, half a ref) must not stop the next
generation: if a fetch into the mirror fails, the mirror is deleted and created again. Worktrees are never reused.
"""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.devstack.git_seed import OFFLINE

_GIT_SECONDS: Final = 60.0
_SETTINGS: Final = ("core.hooksPath=/dev/null", "gc.auto=0", "advice.detachedHead=false", "commit.gpgSign=false")


class GitFailed(Exception):
    """A git command failed; the text is git's message."""


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git as one author, without the network, the user's configuration and hooks."""

    author: str
    environment: Mapping[str, str]

    def __call__(self, *words: str, at: Path) -> str:
        """Run a command and return its output. Raises GitFailed."""
        done = self.attempt(*words, at=at)
        if done.returncode != 0:
            raise GitFailed(f"git {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def attempt(self, *words: str, at: Path) -> "subprocess.CompletedProcess[str]":
        """Run a command that is allowed to fail."""
        email = f"{self.author.lower()}@town.invalid"
        settings = [f"user.name={self.author}", f"user.email={email}", *_SETTINGS]
        flags = [word for setting in settings for word in ("-c", setting)]
        return subprocess.run(
            ["git", *flags, *words],
            check=False,
            cwd=at,
            env={**self.environment, **OFFLINE},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_GIT_SECONDS,
        )


@dataclass(frozen=True, slots=True)
class Worktree:
    """A checkout of one commit, without a branch."""

    git: Git
    path: Path

    def merge(self, commit: str, *, message: str) -> list[str]:
        """Merge a commit with a merge commit. If there are conflicts, undo the merge and return the files in conflict."""
        if self.git.attempt("merge", "--no-ff", "--no-verify", "-m", message, commit, at=self.path).returncode == 0:
            return []
        conflicts = self.git("diff", "--name-only", "--diff-filter=U", at=self.path).splitlines()
        self.git("merge", "--abort", at=self.path)
        return conflicts or ["(no single file)"]

    def merge_preferring_ours(self, commit: str, *, message: str) -> None:
        """Merge a commit and resolve every conflict in favour of what is checked out. Raises GitFailed."""
        self.git("merge", "--no-verify", "-X", "ours", "-m", message, commit, at=self.path)

    def commit(self, message: str) -> bool:
        """Commit everything. Returns False if there is nothing to commit."""
        self.git("add", "--all", at=self.path)
        if not self.git("status", "--porcelain", at=self.path):
            return False
        self.git("commit", "--quiet", "--no-verify", "-m", message, at=self.path)
        return True

    def push(self, branch: str) -> bool:
        """Push this commit to a branch. Returns False if the push fails, usually because another agent pushed first."""
        return self.git.attempt("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}", at=self.path).returncode == 0

    def rebase(self, commit: str) -> None:
        """Rebase this worktree's commits onto another commit. Raises GitFailed if there is a conflict."""
        self.git("rebase", commit, at=self.path)

    def changed_since(self, commit: str) -> list[str]:
        """The files that this worktree has added or changed since it branched off from that commit."""
        return self.git("diff", "--name-only", "--diff-filter=AM", f"{commit}...HEAD", at=self.path).splitlines()


class Mirror:
    """An agent's own mirror of its rig's repository."""

    def __init__(self, home: Path, url: str, git: Git) -> None:
        self._home = home
        self._url = url
        self._git = git
        self._mirror = home / "mirror.git"

    def fetch(self) -> None:
        """Update the mirror, or create it again if that fails. Raises GitFailed."""
        if (
            self._mirror.exists()
            and self._git.attempt("fetch", "--quiet", "--prune", "origin", at=self._mirror).returncode == 0
        ):
            return
        shutil.rmtree(self._mirror, ignore_errors=True)
        self._mirror.mkdir(parents=True)
        self._git("init", "--quiet", "--bare", ".", at=self._mirror)
        self._git("remote", "add", "origin", self._url, at=self._mirror)
        self._git("fetch", "--quiet", "--prune", "origin", at=self._mirror)

    def tip(self, branch: str) -> str | None:
        """The commit of a branch at the last fetch; None if there is no such branch."""
        name = f"refs/remotes/origin/{branch}^{{commit}}"
        done = self._git.attempt("rev-parse", "--quiet", "--verify", name, at=self._mirror)
        return done.stdout.strip() if done.returncode == 0 else None

    def existing_tip(self, branch: str) -> str:
        """The commit of a branch at the last fetch. Raises GitFailed if there is no such branch."""
        commit = self.tip(branch)
        if commit is None:
            raise GitFailed(f"{self._url} has no branch {branch}")
        return commit

    def ensure_branch(self, branch: str, *, base: str) -> None:
        """Create a branch at the tip of another branch, unless it exists. Several agents may do this at the same time."""
        if self.tip(branch) is None:
            push = ["push", "--quiet", "origin", f"{self.existing_tip(base)}:refs/heads/{branch}"]
            self._git.attempt(*push, at=self._mirror)
            self.fetch()
            self.existing_tip(branch)

    def checkout(self, commit: str, *, name: str) -> Worktree:
        """A new worktree. Worktrees of earlier starts are removed, because their processes have ended."""
        trees = self._home / "trees"
        shutil.rmtree(trees, ignore_errors=True)
        self._git("worktree", "prune", at=self._mirror)
        self._git("worktree", "add", "--quiet", "--detach", str(trees / name), commit, at=self._mirror)
        return Worktree(self._git, trees / name)

    def first_time(self, what: str, *, base: str) -> bool:
        """Whether no agent has done this before. A ref in the shared repository records it for all later agents."""
        ref = f"refs/demo/{what}"
        if self._git("ls-remote", "origin", ref, at=self._mirror):
            return False
        self._git("push", "--quiet", "origin", f"{self.existing_tip(base)}:{ref}", at=self._mirror)
        return True
