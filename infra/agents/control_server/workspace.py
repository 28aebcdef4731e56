"""The directories in which agents work: one clone per repository, and a new worktree for every start.

The clone is bare and is fetched before every start. The worktree is at the commit that the order's branch has in the origin;
if the origin has no such branch, the branch is created at the start point. Work that an evicted agent did not push is
committed and pushed to its branch, so that the next generation finds it.

Git may hang on the network, so every command has a time limit and is killed when its start is cancelled. Credentials are
removed from git's messages before people see them.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from shared.adapters.clock import Budget, wait_for
from shared.adapters.local_processes import Launch, NotPrepared
from shared.adapters.start_request import branch_of
from shared.domain.orders import OrderedRig, StartOrder
from shared.domain.states import Role

TREE: Final = "tree"
GIT_SECONDS: Final = 600.0
_SETTINGS: Final = ("core.hooksPath=/dev/null", "gc.auto=0", "advice.detachedHead=false", "commit.gpgSign=false")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")
_SAFE_BRANCH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+=@-]*")


def never() -> bool:
    """The argument `cancelled` of a call that is never cancelled."""
    return False


class Workspaces:
    """Clones below `root`. Thread-safe."""

    def __init__(self, root: Path, *, environment: Mapping[str, str]) -> None:
        self._root = root
        self._environment = {**os.environ, **environment, "GIT_TERMINAL_PROMPT": "0"}
        self._locks: dict[Path, threading.Lock] = {}
        self._guard = threading.Lock()

    def prepare(self, launch: Launch, work: Path, cancelled: Callable[[], bool]) -> Path:
        """A new worktree for this start, or the agent's own directory if it needs no repository. Raises NotPrepared."""
        order = launch.order
        url = "" if order.rig is None else order.rig.git_url
        tree = work / TREE
        if order.lightweight or not url:
            return work
        clone = self._root / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"
        with self._locked(clone, cancelled):
            self._fetch(clone, url, cancelled)
            shutil.rmtree(tree, ignore_errors=True)
            self.git("worktree", "prune", at=clone, cancelled=cancelled)
            self._add(clone, tree, order, cancelled)
        return tree

    def fetch(self, url: str, cancelled: Callable[[], bool] = never) -> None:
        """Fetch a repository ahead of the first start that uses it. Raises NotPrepared."""
        clone = self._root / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"
        with self._locked(clone, cancelled):
            self._fetch(clone, url, cancelled)

    def save(self, work: Path, order: StartOrder, cancelled: Callable[[], bool] = never) -> str:
        """Commit and push the work that an agent left in its worktree. Returns a text about the result."""
        tree, branch = work / TREE, branch_of(order)
        if not tree.is_dir():
            return "nothing to save"
        git = partial(self.git, at=tree, cancelled=cancelled)
        try:
            git("add", "--all")
            if git("status", "--porcelain"):
                who = ["-c", "user.name=Town", "-c", "user.email=town@town.invalid"]
                git(*who, "commit", "--quiet", "--no-verify", "-m", "Work of an evicted agent, unfinished")
            if git("log", "--oneline", "-1", "HEAD", "--not", "--remotes"):
                git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
                return f"saved on {branch}"
        except NotPrepared as error:
            return f"could not be saved: {error}"
        return "nothing to save"

    def git(self, *words: str, at: Path, cancelled: Callable[[], bool] = never) -> str:
        """Run git and return its output. Raises NotPrepared with git's message."""
        flags = [word for setting in _SETTINGS for word in ("-c", setting)]
        process = subprocess.Popen(
            ["git", *flags, *words],
            cwd=at,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        output: list[bytes] = []
        reader = threading.Thread(target=lambda: output.extend(process.communicate()), daemon=True)
        reader.start()
        budget = Budget(GIT_SECONDS)
        wait_for(lambda: not reader.is_alive() or cancelled() or budget.left() == 0, seconds=GIT_SECONDS, every=0.02)
        if reader.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            reader.join()
            raise NotPrepared("cancelled" if cancelled() else f"git {words[0]} took longer than {GIT_SECONDS:g} s")
        if process.returncode != 0:
            raise NotPrepared(f"git {words[0]}: {_said(output[1])}")
        return output[0].decode(errors="replace").strip()

    def _fetch(self, clone: Path, url: str, cancelled: Callable[[], bool]) -> None:
        """Update the clone. A damaged clone is deleted and created again."""
        if (clone / "HEAD").exists():
            try:
                self.git("fetch", "--quiet", "--prune", "origin", at=clone, cancelled=cancelled)
            except NotPrepared:
                if cancelled() or self._is_sound(clone):
                    raise
            else:
                return
        shutil.rmtree(clone, ignore_errors=True)
        clone.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", ".", at=clone, cancelled=cancelled)
        self.git("remote", "add", "--", "origin", url, at=clone, cancelled=cancelled)
        self.git("fetch", "--quiet", "--prune", "origin", at=clone, cancelled=cancelled)

    def _is_sound(self, clone: Path) -> bool:
        """Whether the clone is intact. If so, a failed fetch has another cause, such as the network."""
        try:
            self.git("rev-parse", "--git-dir", at=clone)
            self.git("for-each-ref", "--count=1", at=clone)
        except NotPrepared:
            return False
        return True

    def _add(self, clone: Path, tree: Path, order: StartOrder, cancelled: Callable[[], bool]) -> None:
        default = (order.rig or OrderedRig()).default_branch or "main"
        branch = branch_of(order)
        begin = order.start_point or order.feature_branch or order.target_branch or default
        found = next((name for name in (branch, begin, default) if self._has(clone, name)), None)
        if found is None:
            raise NotPrepared(f"the repository has none of the branches {branch}, {begin} and {default}")
        origin = f"refs/remotes/origin/{found}"
        if order.role is Role.REFINERY:
            self.git(
                "worktree", "add", "--quiet", "--force", "--detach", str(tree), origin, at=clone, cancelled=cancelled
            )
            return
        if not _SAFE_BRANCH.fullmatch(branch):
            raise NotPrepared("the order's branch is not a valid branch name")
        self._free(clone, branch)
        words = ["worktree", "add", "--quiet", "--force", "--no-track", "-B", branch, str(tree), origin]
        self.git(*words, at=clone, cancelled=cancelled)

    def _free(self, clone: Path, branch: str) -> None:
        """Detach the worktree that has the branch checked out, because git allows a branch in one worktree only.

        That worktree belongs to an agent that worked on the branch earlier, and keeps its files and its commit.
        """
        place = ""
        for line in self.git("worktree", "list", "--porcelain", at=clone).splitlines():
            if line.startswith("worktree "):
                place = line.removeprefix("worktree ")
            elif line == f"branch refs/heads/{branch}":
                self.git("checkout", "--quiet", "--detach", at=Path(place))

    def _has(self, clone: Path, branch: str) -> bool:
        try:
            self.git("rev-parse", "--quiet", "--verify", f"refs/remotes/origin/{branch}^{{commit}}", at=clone)
        except NotPrepared:
            return False
        return True

    @contextmanager
    def _locked(self, clone: Path, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Hold the lock of a clone. Raises NotPrepared if the start is cancelled or the lock is not free in time."""
        with self._guard:
            lock = self._locks.setdefault(clone, threading.Lock())
        held = False

        def taken_or_given_up() -> bool:
            nonlocal held
            held = lock.acquire(blocking=False)
            return held or cancelled()

        wait_for(taken_or_given_up, seconds=GIT_SECONDS)
        if not held:
            raise NotPrepared("cancelled, or timed out, while another start was using the repository")
        try:
            yield
        finally:
            lock.release()


def _said(stderr: bytes) -> str:
    return _CREDENTIALS.sub("", stderr.decode(errors="replace")).strip()[-500:] or "git gave no reason"
