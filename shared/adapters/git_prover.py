"""Looks with git whether a target branch contains a merge: for repositories at no forge whose API the town may use (decision T2).

Each repository has a private bare clone below `root`, into which only the branches in question are fetched. Git runs without the
user's hooks and prompts, with a list of allowed protocols and with a time limit. Addresses, branches and commits come from agents
and producers, so nothing of them can be taken for an option, and a commit is only ever given to git as a whole hash.
"""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from shared.adapters import file_locks
from shared.adapters.clock import Budget
from shared.domain.branches import is_branch_name
from shared.ports.forge import Asker, ForgeError, MergeClaim, Proof

SECONDS: Final = 25.0
REMOTE_PROTOCOLS: Final = "https:ssh"
LOCAL_PROTOCOLS: Final = "file:https:ssh"
_SETTINGS: Final = (
    "core.hooksPath=/dev/null",
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.fsckObjects=false",
    "fetch.recurseSubmodules=false",
    "merge.renames=true",
    "protocol.ext.allow=never",
)
_LONGEST_OUTPUT: Final = 64 << 10
"""Bytes of git's output that are read. In a repository with very many conflicts git prints far more."""
_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")
_MISSING_REF: Final = re.compile(r"couldn't find remote ref|not our ref", re.IGNORECASE)
_REFUSED: Final = re.compile(
    r"could not read (username|password)|authentication failed|permission denied|terminal prompts disabled|access denied"
    r"|host key verification failed|invalid username",
    re.IGNORECASE,
)
_ABSENT: Final = re.compile(
    r"does not appear to be a git repository|repository .*not found|does not exist", re.IGNORECASE
)


def without_credentials(message: str) -> str:
    """A message of git without the credentials in its addresses, which older versions of git show."""
    return _CREDENTIALS.sub("", message)


class _GitFailed(Exception):
    """A git command failed; the text is git's message without credentials."""


class _OutOfTime(Exception):
    """A git command took longer than the look may take."""


@dataclass(frozen=True, slots=True)
class _Clone:
    """The private clone of one look: runs git in it until the time of the look is over."""

    place: Path
    environment: Mapping[str, str]
    budget: Budget
    user: int | None = None

    def git(self, *words: str) -> str:
        """Run git and return its output. Raises _GitFailed, _OutOfTime."""
        code, out, err = self.attempt(*words)
        if code != 0:
            raise _GitFailed(err or f"git {words[0]} ended with {code}")
        return out

    def attempt(self, *words: str) -> tuple[int, str, str]:
        """Run git; returns its exit code, output and message. Raises _OutOfTime."""
        flags = [word for setting in _SETTINGS for word in ("-c", setting)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                ["git", *flags, *words],
                cwd=self.place,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else (),
            )
            try:
                process.wait(timeout=max(0.1, self.budget.left()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise _OutOfTime from None
            out.seek(0)
            err.seek(max(0, err.seek(0, os.SEEK_END) - _LONGEST_OUTPUT))
            printed, complained = (each.read(_LONGEST_OUTPUT).decode(errors="replace") for each in (out, err))
        return process.returncode, printed.strip(), without_credentials(complained).strip()[-500:]

    def fetch(self, url: str, what: str, ref: str) -> bool:
        """Fetch a branch or commit into a ref of the clone; False if the repository has no such thing. Raises _GitFailed."""
        self.attempt("update-ref", "-d", ref)
        words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--force", "--", url, f"{what}:{ref}")
        code, _, err = self.attempt(*words)
        if code == 0:
            return True
        if _MISSING_REF.search(err):
            return False
        raise _GitFailed(err or "git fetch failed")

    def commit(self, name: str) -> str | None:
        """The hash of a commit that the clone has; None if it has none."""
        code, out, _ = self.attempt("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
        return out if code == 0 else None

    def contains(self, descendant: str, ancestor: str) -> bool:
        """Whether one commit is another one or has it among its ancestors."""
        code, _, err = self.attempt("merge-base", "--is-ancestor", ancestor, descendant)
        if code not in (0, 1):
            raise _GitFailed(err)
        return code == 0

    def would_change(self, into: str, branch: str) -> Literal["nothing", "something", "conflict", "unknown"]:
        """What a merge of the branch would change. A git before 2.38 cannot tell."""
        code, out, _ = self.attempt("merge-tree", "--write-tree", "--no-messages", into, branch)
        if code not in (0, 1):
            return "unknown"
        if code == 1:
            return "conflict"
        return "nothing" if out.split("\n", maxsplit=1)[0] == self.git("rev-parse", f"{into}^{{tree}}") else "something"


class GitProver:
    """A `MergeProver` over plain git. Safe for several threads and processes.

    `protocols` are those that git may use. `environment` is what git sees besides PATH, HOME and the like, for
    example a redirection of addresses. Git runs as `user` if one is given, which only root can do.
    """

    def __init__(
        self,
        root: Path,
        *,
        protocols: str = REMOTE_PROTOCOLS,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
    ) -> None:
        self._root = root
        self._user = user
        self._environment = _environment(protocols, environment or {})

    def proof(self, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:  # noqa: ARG002 - git has its own credentials
        """Look once, in at most 25 seconds."""
        if shutil.which("git", path=self._environment.get("PATH")) is None:
            return Proof(None, says="git is not installed where the town runs")
        if not claim.git_url or claim.git_url.startswith("-"):
            return Proof(None, says="the repository has no address that git could use")
        budget = Budget(SECONDS)
        name = hashlib.sha256(claim.git_url.encode()).hexdigest()[:16]
        try:
            with self._clone(name, budget) as clone:
                return _look(clone, claim)
        except _OutOfTime:
            return ForgeError("transient", f"git took longer than {SECONDS:g} s")
        except file_locks.LockHeld as error:
            return ForgeError("transient", f"another look at this repository is going on: {error}; {error.hint}")
        except _GitFailed as error:
            return _failed(claim, str(error))
        except OSError as error:
            return ForgeError("transient", f"git could not be run: {error.strerror}")

    @contextlib.contextmanager
    def _clone(self, name: str, budget: Budget) -> Iterator[_Clone]:
        """The clone of a repository, locked, and created anew if it is damaged."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = self._root / f"{name}.git"
        with file_locks.held(self._root / f"{name}.lock", seconds=budget.left(), tell=file_locks.say):
            self._make(place)
            home = {} if self._user is None else {"HOME": str(place)}
            clone = _Clone(place, {**self._environment, **home}, budget, self._user)
            if clone.attempt("rev-parse", "--git-dir")[0:2] != (0, "."):
                shutil.rmtree(place, ignore_errors=True)
                self._make(place)
                clone.git("init", "--quiet", "--bare", ".")
            yield clone

    def _make(self, place: Path) -> None:
        place.mkdir(mode=0o700, exist_ok=True)
        if self._user is not None:
            self._root.chmod(0o711)
            os.chown(place, self._user, self._user)


def git_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with which the agents' git was configured."""
    return {name: value for name, value in environment.items() if name.startswith("GIT_")}


def _look(clone: _Clone, claim: MergeClaim) -> Proof:
    if not (is_branch_name(claim.target_branch) and is_branch_name(claim.branch)):
        return Proof(None, says="the names of the branches are not names that git accepts")
    if not clone.fetch(claim.git_url, f"refs/heads/{claim.target_branch}", "refs/proof/target"):
        return Proof(False, says=f"the repository has no branch {claim.target_branch}")
    target = clone.git("rev-parse", "refs/proof/target")
    head = _head(clone, claim)
    merge_commit = None if claim.merge_commit is None else _known(clone, claim.merge_commit)
    if head is None:
        return Proof(None, says=f"the branch {claim.branch} is gone, and its head is not known")
    base = None if claim.base is None else _known(clone, claim.base)
    if clone.contains(target, head) and (base is None or not clone.contains(base, head)):
        return Proof(True, sha=_merge_of(clone, head, target, merge_commit), says="the target contains the branch")
    return _applied(clone, claim, head, target, merge_commit)


def _applied(clone: _Clone, claim: MergeClaim, head: str, target: str, merge_commit: str | None) -> Proof:
    """The second form of the proof: the work was squashed, rebased or picked, and the commit that did it is known."""
    lacks = f"{claim.target_branch} does not contain {claim.branch}"
    if claim.merge_commit is None:
        return Proof(False, says=f"{lacks}, and no commit was named that contains its work")
    if merge_commit is None or not clone.contains(target, merge_commit):
        return Proof(False, says=f"{lacks}, and the commit that was named is not in it")
    if clone.contains(head, merge_commit):
        return Proof(False, says=f"{lacks}, and the commit that was named belongs to the branch")
    change = clone.would_change(target, head)
    if change == "conflict":
        # Later commits of the target may have changed the same lines: what counts is what the named commit contained.
        change = clone.would_change(merge_commit, head)
    if change == "nothing":
        return Proof(True, sha=merge_commit, says="the target contains the work of the branch")
    if change == "unknown":
        return Proof(None, says="this version of git cannot tell whether the work of the branch is in the target")
    return Proof(False, says=f"{lacks}, and the commit that was named does not contain its work")


def _head(clone: _Clone, claim: MergeClaim) -> str | None:
    """The head of the branch now; if the branch is gone, the head that was reported."""
    if clone.fetch(claim.git_url, f"refs/heads/{claim.branch}", "refs/proof/branch"):
        return clone.git("rev-parse", "refs/proof/branch")
    if claim.head is None or not _HASH.fullmatch(claim.head):
        return None
    known = clone.commit(claim.head)
    if known is None:
        with contextlib.suppress(_GitFailed):
            if clone.fetch(claim.git_url, claim.head, "refs/proof/head"):
                known = clone.commit(claim.head)
    return known


def _known(clone: _Clone, commit: str) -> str | None:
    return clone.commit(commit) if _HASH.fullmatch(commit) else None


def _merge_of(clone: _Clone, head: str, target: str, merge_commit: str | None) -> str:
    """The commit with which the branch came into the target: the named one if it did that, else the first that contains it."""
    if merge_commit is not None and clone.contains(target, merge_commit) and clone.contains(merge_commit, head):
        return merge_commit
    after = clone.git("rev-list", "--first-parent", "--ancestry-path", "--reverse", f"{head}..{target}").split("\n")
    return after[0] or head


def _failed(claim: MergeClaim, said: str) -> Proof | ForgeError:
    """What a failure of git means: a repository that is gone, one that git may not read, or a network that does not answer."""
    if _ABSENT.search(said):
        return ForgeError("http", f"git: {said}", http_status=404, host=_host(claim.git_url))
    if _REFUSED.search(said):
        return Proof(None, says="git has no access to the repository")
    return ForgeError("transient", f"git: {said}", host=_host(claim.git_url))


def _host(git_url: str) -> str | None:
    found = re.match(r"(?:[a-z]+://)?(?:[^@/]*@)?([A-Za-z0-9.-]+)[:/]", git_url)
    return found[1].lower() if found is not None and not git_url.startswith(("/", "file:")) else None


def _environment(protocols: str, given: Mapping[str, str]) -> dict[str, str]:
    """What git sees: where programs are, what the caller gives, and settings with which it asks nobody and runs nothing else."""
    passed = (
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TMPDIR",
        "SSH_AUTH_SOCK",
        "https_proxy",
        "HTTPS_PROXY",
        "no_proxy",
        "NO_PROXY",
    )
    return {
        **{name: os.environ[name] for name in passed if name in os.environ},
        **given,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "SSH_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=10",
        "GIT_ALLOW_PROTOCOL": protocols,
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
    }
