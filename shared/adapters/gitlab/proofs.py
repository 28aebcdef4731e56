"""Whether a branch at GitLab contains a merge, asked by merge bases and comparisons.

A merge base is a definite answer: X is in B if the merge base of both is X. After a squash or a rebase the branch's own commits are
not in the target, so the commit that the merge made is looked for, and the files of the branch are compared.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from shared.adapters.gitlab.call import GitLabCall
from shared.ports.forge import ForgeError, MergeClaim, Proof

FILES_AT_MOST: Final = 1000
"""GitLab's usual limit of a comparison. One that reaches it may be incomplete."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Commit(_Answer):
    id: str = Field(min_length=1, max_length=64)


class _Branch(_Answer):
    commit: _Commit


class _Diff(_Answer):
    old_path: str
    new_path: str


class _Comparison(_Answer):
    diffs: list[_Diff]
    compare_timeout: bool = False


_COMMIT: Final = TypeAdapter(_Commit)
_BRANCH: Final = TypeAdapter(_Branch)
_DIFFS: Final = TypeAdapter(list[_Diff])
_COMPARISON: Final = TypeAdapter(_Comparison)


@dataclass(frozen=True, slots=True)
class _Missing:
    """GitLab does not know one of the commits or branches; `says` names it."""

    says: str


@dataclass(frozen=True, slots=True)
class _Files:
    """Names of files; `complete` is False if there may be more."""

    names: frozenset[str]
    complete: bool


class _Repository:
    """The questions about the commits of one project."""

    def __init__(self, call: GitLabCall, project: int) -> None:
        self._call = call
        self._path = f"/projects/{project}/repository"

    def contains(self, branch: str, commit: str) -> bool | _Missing | ForgeError:
        """Whether a commit is in a branch, or in the past of another commit."""
        query = urlencode([("refs[]", branch), ("refs[]", commit)])
        answer = self._call.rest(_COMMIT, "GET", f"{self._path}/merge_base?{query}")
        if not isinstance(answer, ForgeError):
            return answer.id == commit
        if answer.http_status == 404 and "merge base" in answer.message.lower():
            return False
        if answer.http_status == 400 and "could not find ref" in answer.message.lower():
            return _Missing(answer.message)
        return answer

    def tip(self, branch: str) -> str | ForgeError | None:
        """The newest commit of a branch; None if there is no such branch."""
        answer = self._call.rest(_BRANCH, "GET", f"{self._path}/branches/{quote(branch, safe='')}")
        if isinstance(answer, ForgeError):
            return None if answer.http_status == 404 else answer
        return answer.commit.id

    def files(self, start: str, end: str, *, straight: bool) -> _Files | ForgeError:
        """The files that differ between two commits (`straight`), or that changed from their merge base to `end`."""
        query = urlencode([("from", start), ("to", end), ("straight", str(straight).lower())])
        answer = self._call.rest(_COMPARISON, "GET", f"{self._path}/compare?{query}")
        if isinstance(answer, ForgeError):
            return answer
        return _Files(_names(answer.diffs), not answer.compare_timeout and len(answer.diffs) < FILES_AT_MOST)

    def changed_by(self, commit: str) -> _Files | ForgeError:
        """The first hundred files that a commit changes."""
        answer = self._call.rest(_DIFFS, "GET", f"{self._path}/commits/{quote(commit, safe='')}/diff?per_page=100")
        return answer if isinstance(answer, ForgeError) else _Files(_names(answer), len(answer) < 100)


def proof(call: GitLabCall, claim: MergeClaim) -> Proof | ForgeError:
    """Look once whether the target branch contains what is claimed."""
    project = call.project()
    if isinstance(project, ForgeError):
        return project
    repository = _Repository(call, project.id)
    head: str | ForgeError | None = claim.head or repository.tip(claim.branch)
    if isinstance(head, ForgeError):
        return head
    target = repository.tip(claim.target_branch)
    if isinstance(target, ForgeError):
        return target
    if target is None:
        return Proof(False, says=f"the project has no branch {claim.target_branch}")
    if head is not None:
        own = _by_head(repository, target, head, claim.base)
        if isinstance(own, ForgeError) or own.contained:
            return own
        if claim.merge_commit is None:
            return own
    elif claim.merge_commit is None:
        return Proof(None, says=f"neither {claim.branch} nor a commit of its merge is known")
    return _by_merge_commit(repository, target, head, claim.merge_commit)


def _by_head(repository: _Repository, target: str, head: str, base: str | None) -> Proof | ForgeError:
    """Whether the branch's own commits are in the target. A branch that adds nothing to its base proves nothing."""
    inside = repository.contains(target, head)
    if isinstance(inside, ForgeError):
        return inside
    if isinstance(inside, _Missing):
        return Proof(False, says=inside.says)  # what the target contains, GitLab knows
    if not inside:
        return Proof(False, says=f"{head} is not in the target")
    if base is None:
        return Proof(True, head)
    empty = repository.contains(base, head)
    if isinstance(empty, ForgeError):
        return empty
    if empty is True:
        return Proof(False, says=f"{head} adds nothing to {base}")
    return Proof(True, head)


def _by_merge_commit(repository: _Repository, target: str, head: str | None, commit: str) -> Proof | ForgeError:
    """Whether a commit of the target brought the changes of the branch."""
    inside = repository.contains(target, commit)
    if isinstance(inside, ForgeError):
        return inside
    if inside is not True:
        return Proof(False, says=inside.says if isinstance(inside, _Missing) else f"{commit} is not in the target")
    if head is None:
        return Proof(None, says=f"{commit} is in the target, and the branch is gone")
    older = repository.contains(head, commit)
    if isinstance(older, ForgeError):
        return older
    if isinstance(older, _Missing):
        return Proof(None, says=f"{commit} is in the target, and the head of the branch is gone")
    if older:
        return Proof(False, says=f"{commit} is older than the branch")
    return _by_files(repository, target, head, commit)


def _by_files(repository: _Repository, target: str, head: str, commit: str) -> Proof | ForgeError:
    """Whether the files of the branch are as the work left them, in the commit or, where the work landed in several, in the target.

    If not, others may have changed the same files; only a commit that changes none of them is a definite no.
    """
    own = repository.files(commit, head, straight=False)
    if isinstance(own, ForgeError):
        return own
    for seen_at in (commit, target):
        differing = repository.files(seen_at, head, straight=True)
        if isinstance(differing, ForgeError):
            return differing
        if own.complete and differing.complete and own.names.isdisjoint(differing.names):
            return Proof(True, commit)
    brought = repository.changed_by(commit)
    if isinstance(brought, ForgeError):
        return brought
    if own.complete and brought.complete and own.names.isdisjoint(brought.names):
        return Proof(False, says=f"{commit} changes no file of the branch")
    return Proof(None, says=f"files of the branch differ from the target, which contains {commit}")


def _names(diffs: list[_Diff]) -> frozenset[str]:
    return frozenset(name for diff in diffs for name in (diff.old_path, diff.new_path))
