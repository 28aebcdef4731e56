"""What git in the agent's directory says about the work that `town-agent done` reports: head, merge base and merge commit.

Only facts that are certain are reported. Without git, outside a clone, or in doubt, a fact is left out: the town then looks for
itself or asks for less.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.agents.town_agent.order import Caller
from shared.domain.branches import is_branch_name, reported
from shared.domain.states import Role

_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Commits:
    """The head of the branch, its merge base with the target (of a worker), and the commit that merged it (of a refinery)."""

    head: str | None = None
    base: str | None = None
    merge_commit: str | None = None


UNKNOWN: Final = Commits()
"""Nothing is known about the commits."""


def found(caller: Caller, branch: str, *, has_pull_request: bool, at: Path) -> Commits:
    """The commits of the work on `branch`, as the clone at `at` knows them."""
    branch = reported(branch)
    target = caller.target_branch or ""
    if not is_branch_name(branch):
        return UNKNOWN
    pushed, merged_into = _commit(f"refs/remotes/origin/{branch}", at), None
    if is_branch_name(target):
        merged_into = _commit(f"refs/remotes/origin/{target}", at)
    if caller.role is not Role.REFINERY:
        head = pushed or _commit(f"refs/heads/{branch}", at)
        return Commits(head=head, base=_merge_base(head, merged_into, at))
    here = _commit("HEAD", at)
    head = here if _is_reviewed(here, pushed, merged_into, at) else pushed
    return Commits(head=head, merge_commit=None if has_pull_request else merged_into)


def _is_reviewed(here: str | None, pushed: str | None, target: str | None, at: Path) -> bool:
    """Whether the commit that a refinery has checked out is a head of the branch: then that one, and no newer one, was reviewed."""
    if here is None or pushed is None:
        return False
    belongs = here == pushed or _is_ancestor(here, pushed, at)
    return belongs and not (target is not None and _is_ancestor(here, target, at))


def _merge_base(head: str | None, target: str | None, at: Path) -> str | None:
    if head is None or target is None:
        return None
    code, out = _git("merge-base", head, target, at=at)
    return out if code == 0 and out else None


def _is_ancestor(ancestor: str, descendant: str, at: Path) -> bool:
    return _git("merge-base", "--is-ancestor", ancestor, descendant, at=at)[0] == 0


def _commit(name: str, at: Path) -> str | None:
    code, out = _git("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}", at=at)
    return out if code == 0 and out else None


def _git(*words: str, at: Path) -> tuple[int, str]:
    """Exit code and output of git; 1 if there is no git or it does not answer."""
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=at,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return 1, ""
    return done.returncode, done.stdout.strip()
