"""The directories in which agents work: a cache of each repository, and for every start of an agent a new clone of its own.

The cache is bare, belongs to a user of its own and is fetched before every start, with the credential of the agent that starts. If
that succeeds, the agent may see the repository, and its clone borrows the objects (`lending`), so that it costs little time and
disk. The clone belongs to the agent; it is at the commit that the order's branch has in the origin. If the origin has no such
branch, the branch is created at the start point.

Work that an evicted agent did not push is committed and pushed to its branch, so that the next generation finds it. This too
is done as the agent, and with a repository that is made for it, because the configuration in the agent's clone may make git run
anything.
"""

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from infra.agents.control_server.forge_access import Access
from infra.agents.control_server.git_runs import GIT_SECONDS, Git, git_environment, is_refused, never
from infra.agents.control_server.lending import lend
from shared.adapters import local_supervisor as supervisor
from shared.adapters.clock import wait_for
from shared.adapters.local_processes import Launch, NotPrepared
from shared.adapters.local_removal import remove
from shared.adapters.local_state import LENT, AgentHome
from shared.adapters.start_request import branch_of
from shared.domain.orders import OrderedRig, StartOrder
from shared.domain.states import Role

TREE: Final = "tree"
_SAVING: Final = "saving.git"
_AUTHOR: Final = {
    "GIT_AUTHOR_NAME": "Town",
    "GIT_AUTHOR_EMAIL": "town@town.invalid",
    "GIT_COMMITTER_NAME": "Town",
    "GIT_COMMITTER_EMAIL": "town@town.invalid",
}
_LAST_COMMIT: Final = "Work of an evicted agent, unfinished"
_SAFE_BRANCH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+=@-]*")
_ID: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_MOST_PACKS: Final = 50
_GITLINK: Final = "160000 "


class Workspaces:
    """Caches below `root`, and clones in the directories of agents. Thread-safe.

    `keeper` is the user who owns the caches; None if all run as our user.
    """

    def __init__(self, root: Path, *, environment: Mapping[str, str], keeper: int | None = None) -> None:
        self._root = root
        self._keeper = keeper
        self._environment = git_environment(environment)
        self._locks: dict[Path, threading.Lock] = {}
        self._guard = threading.Lock()

    def prepare(self, launch: Launch, work: Path, cancelled: Callable[[], bool], access: Access) -> Path:
        """A new clone for this start, or the agent's own directory if it needs no repository. Raises NotPrepared."""
        order, home = launch.order, AgentHome(work.parent)
        lent = home.directory / LENT
        remove(lent)  # it may be of another rig
        url = "" if order.rig is None else order.rig.git_url
        if order.lightweight or not url:
            return work
        if order.role is not Role.REFINERY and not _SAFE_BRANCH.fullmatch(branch_of(order)):
            raise NotPrepared("the order's branch is not a valid branch name")
        cache = self._cache(url)
        with self._locked(cache, cancelled):
            try:
                self._fetch(cache, url, cancelled, access)
                lend(cache, lent, reader=home.user)
            except NotPrepared:
                if cancelled():
                    raise
                # The agent may have a credential that the keeper of the caches has not. If not, its own message says why.
        tree = work / TREE
        git = self.as_agent(work, cancelled)

        def clone(online: Git) -> None:
            remove(tree)
            borrow = ("--reference-if-able", str(lent), "-c", "gc.auto=0", "-c", "maintenance.auto=false")
            online.run("clone", "--quiet", "--no-checkout", "--no-local", *borrow, "--", url, str(tree))

        try:
            _reaching(git, access, access.of_agents_ssh(work), clone)
        except NotPrepared:
            remove(lent)
            raise
        self._check_out(git.where(tree), order)
        return tree

    def fetch(self, url: str, cancelled: Callable[[], bool] = never) -> None:
        """Fetch a repository ahead of the first start that uses it. Raises NotPrepared."""
        cache = self._cache(url)
        with self._locked(cache, cancelled):
            self._fetch(cache, url, cancelled, None)

    def as_agent(self, work: Path, cancelled: Callable[[], bool] = never) -> Git:
        """Git as the user of the agent whose directory this is, with the agent's home."""
        home = AgentHome(work.parent)
        user = home.user
        return Git(self._environment, work, cancelled, user, None if user is None else home.directory / "home")

    def save(self, work: Path, order: StartOrder, access: Access, cancelled: Callable[[], bool] = never) -> str:
        """Commit and push the work that an agent left in its clone. Returns a text about the result."""
        tree, saving = work / TREE, work / _SAVING
        url = "" if order.rig is None else order.rig.git_url
        if tree.is_symlink() or not tree.is_dir() or not url:
            return "nothing to save"
        git = self.as_agent(work, cancelled)
        try:
            remove(saving)
            git.run("init", "--quiet", "--bare", "--template=", str(saving))
            commit = _commit(git.where(tree), saving)
            if commit is None:
                return "nothing to save"
            push = ("push", "--quiet", "--", url, f"{commit}:refs/heads/{branch_of(order)}")
            _reaching(_clean(git, tree, saving), access, access.of_agents_ssh(work), lambda online: online.run(*push))
        except (NotPrepared, OSError) as error:
            return f"could not be saved: {error}"
        finally:
            if git.user is not None:
                supervisor.end_user(git.user)
            remove(saving)
        return f"saved on {branch_of(order)}"

    def _cache(self, url: str) -> Path:
        return self._root / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"

    def _keeping(self, at: Path, cancelled: Callable[[], bool] = never) -> Git:
        """Git as the keeper of the caches. Agents may read its files, where they can pass to them."""
        home = None
        if self._keeper is not None:
            home = self._root / "home"
            home.mkdir(mode=0o700, exist_ok=True)
            os.chown(home, self._keeper, self._keeper)
        return Git(self._environment, at, cancelled, self._keeper, home, umask=0o022)

    def _fetch(self, cache: Path, url: str, cancelled: Callable[[], bool], access: Access | None) -> None:
        """Update the cache. A damaged one, and one of another user, is deleted and created again."""
        self._root.mkdir(mode=0o711, parents=True, exist_ok=True)
        git = self._keeping(cache, cancelled)
        if (cache / "HEAD").exists() and self._keeper in (None, cache.stat().st_uid):
            cache.chmod(0o700)  # until 0.2, agents read the cache itself
            try:
                self._update(git, access)
            except NotPrepared:
                if cancelled() or _is_sound(git):
                    raise
            else:
                return
        remove(cache)
        cache.mkdir(mode=0o700)
        if self._keeper is not None:
            self._root.chmod(0o711)
            os.chown(cache, self._keeper, self._keeper)
        git.run("init", "--quiet", "--bare", "--template=", ".")
        git.run("remote", "add", "--", "origin", url)
        self._update(git, access)

    def _update(self, git: Git, access: Access | None) -> None:
        """Fetch as the keeper. Every fetch makes one pack, so that few files are lent; many packs become few."""

        def fetch(online: Git) -> None:
            online.run("fetch", "--quiet", "--prune", "origin")

        if access is None:
            fetch(git)
        else:
            with access.of_keepers_ssh(git.home or self._root, self._keeper) as ssh:
                _reaching(git, access, ssh, fetch)
        if sum(1 for _ in (git.at / "objects" / "pack").glob("*.pack")) > _MOST_PACKS:
            git.run("repack", "--quiet", "-d", "--geometric=2")

    def _check_out(self, git: Git, order: StartOrder) -> None:
        default = (order.rig or OrderedRig()).default_branch or "main"
        branch = branch_of(order)
        begin = order.start_point or order.feature_branch or order.target_branch or default
        found = next((name for name in (branch, begin, default) if _has(git, name)), None)
        if found is None:
            raise NotPrepared(f"the repository has none of the branches {branch}, {begin} and {default}")
        origin = f"refs/remotes/origin/{found}"
        if order.role is Role.REFINERY:
            git.run("checkout", "--quiet", "--detach", origin)
        else:
            git.run("checkout", "--quiet", "--no-track", "-B", branch, origin)

    @contextmanager
    def _locked(self, clone: Path, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Hold the lock of a cache. Raises NotPrepared if the start is cancelled or the lock is not free in time."""
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


def _reaching(git: Git, access: Access, ssh: Mapping[str, str], do: Callable[[Git], object]) -> None:
    """Do what needs the network; once more with a new credential if the forge refused the one that we had. Raises NotPrepared."""
    try:
        do(git.reaching({**access.of_git(git.environment), **ssh}))
    except NotPrepared as error:
        if not is_refused(str(error)) or not access.renew():
            raise
        do(git.reaching({**access.of_git(git.environment), **ssh}))


def _is_sound(git: Git) -> bool:
    """Whether the cache is intact. If so, a failed fetch has another cause, such as the network."""
    return git.succeeds("rev-parse", "--git-dir") and git.succeeds("for-each-ref", "--count=1")


def _has(git: Git, branch: str) -> bool:
    return git.succeeds("rev-parse", "--quiet", "--verify", f"refs/remotes/origin/{branch}^{{commit}}")


def _clean(git: Git, tree: Path, saving: Path) -> Git:
    """Git in a clone's files and objects, with the configuration of `saving` in place of the clone's."""
    objects = str(tree / ".git" / "objects")
    return git.where(
        tree, GIT_DIR=str(saving), GIT_WORK_TREE=str(tree), GIT_ALTERNATE_OBJECT_DIRECTORIES=objects, **_AUTHOR
    )


def _commit(own: Git, saving: Path) -> str | None:
    """The commit with everything in the clone; None if the origin has it.

    In the clone itself, git only reads names of commits, for which it runs nothing.
    """
    head = own.run("rev-parse", "--quiet", "--verify", "HEAD")
    known = own.run("for-each-ref", "--format=%(objectname)", "refs/remotes").split()
    if not all(_ID.fullmatch(each) for each in (head, *known)):
        raise NotPrepared("the clone's commits cannot be read")
    git = _clean(own, own.at, saving)
    git.run("read-tree", head)
    for line in git.run("ls-files", "--stage", "-z").split("\0"):
        if line.startswith(_GITLINK):  # git would look for changes in it with the configuration that it has
            git.run("update-index", "--assume-unchanged", "--", line.partition("\t")[2])
    git.run("add", "--all", ".")
    tree = git.run("write-tree")
    if tree != git.run("rev-parse", f"{head}^{{tree}}"):
        return git.run("commit-tree", tree, "-p", head, "-m", _LAST_COMMIT)
    newer = git.run("rev-list", "--max-count=1", "--ignore-missing", head, "--not", *dict.fromkeys(known[:1000]))
    return head if newer else None
