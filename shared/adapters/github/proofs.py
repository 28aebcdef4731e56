"""Whether a branch at GitHub contains a merge that was reported (decision T2).

Proven is a merge whose head is in the branch and brought something: it is not already in the commit from which the work began. A
squash or a rebase makes other commits. Then the merge commit must be in the branch, and either that commit or the tip must have
every file of the work exactly as the work left it.
"""

from collections.abc import Sequence
from typing import Final, Literal
from urllib.parse import quote

from pydantic import TypeAdapter

from shared.adapters.github import queries
from shared.adapters.github.call import GitHubCall
from shared.adapters.github.contexts import Answer
from shared.ports.forge import ForgeError, MergeClaim, Proof

_MOST_FILES: Final = 299
"""GitHub lists at most 300 files of a comparison, so a list of 300 may not be all."""

_AT_ONCE: Final = 100
_NO_COMMON_ANCESTOR: Final = "no common ancestor"


class _File(Answer):
    filename: str
    status: str
    sha: str | None = None
    previous_filename: str | None = None


class _Comparison(Answer):
    status: Literal["diverged", "ahead", "behind", "identical"]
    files: list[_File] | None = None

    @property
    def contained(self) -> bool:
        """Whether the second commit is the first or one of its ancestors."""
        return self.status in ("behind", "identical")


class _Object(Answer):
    oid: str


class _Objects(Answer):
    repository: dict[str, _Object | None]


_COMPARISON: Final = TypeAdapter(_Comparison)
_OBJECTS: Final = TypeAdapter(_Objects)
_UNRELATED: Final = _Comparison(status="diverged")


def proof(call: GitHubCall, claim: MergeClaim) -> Proof | ForgeError:
    """Look once whether the target branch contains what the claim says."""
    target, head = f"refs/heads/{claim.target_branch}", claim.head or f"refs/heads/{claim.branch}"
    known = _objects(call, [target, head, claim.merge_commit or head])
    if isinstance(known, ForgeError):
        return known
    tip, head_sha, merge_sha = known
    if tip is None:
        return Proof(None, says=f"there is no branch {claim.target_branch}")
    if head_sha is None and (claim.merge_commit is None or merge_sha is None):
        return Proof(False, says=f"the repository has no commit {head}")
    work = None if head_sha is None else _compared(call, tip, head_sha)
    if isinstance(work, ForgeError):
        return work
    if work is not None and work.contained and head_sha is not None:
        return _brought_something(call, claim.base, head_sha)
    if claim.merge_commit is None or merge_sha is None:
        return Proof(False, says=f"{claim.target_branch} does not contain {head_sha}")
    return _by_merge_commit(call, claim, (tip, head_sha, merge_sha), work)


def _brought_something(call: GitHubCall, base: str | None, head: str) -> Proof | ForgeError:
    if base is None:
        return Proof(True, sha=head)
    before = _compared(call, base, head)
    if isinstance(before, ForgeError):
        return before
    if before.contained:
        return Proof(False, says=f"{head} was there before the work began")
    return Proof(True, sha=head)


def _by_merge_commit(
    call: GitHubCall, claim: MergeClaim, commits: tuple[str, str | None, str], work: _Comparison | None
) -> Proof | ForgeError:
    tip, head, merge = commits
    landed = _compared(call, tip, merge)
    if isinstance(landed, ForgeError):
        return landed
    if not landed.contained:
        return Proof(False, says=f"{claim.target_branch} does not contain {merge}")
    if work is None or head is None:
        return Proof(None, says="the head of the work is not known, so its files cannot be compared")
    own = _compared(call, head, merge)
    if isinstance(own, ForgeError):
        return own
    if own.contained:
        return Proof(False, says=f"{merge} is older than the work")
    if work is _UNRELATED or work.files is None or len(work.files) > _MOST_FILES:
        return Proof(None, says="the files of the work could not be listed")
    return _same_files(call, work.files, tip, merge)


def _same_files(call: GitHubCall, files: Sequence[_File], tip: str, merge: str) -> Proof | ForgeError:
    """Whether the merge commit or the tip has the files as the work left them.

    If not, others may have changed the same files; only a commit that changes none of them is a definite no.
    """
    wanted = {file.filename: None if file.status == "removed" else file.sha for file in files}
    wanted |= {file.previous_filename: None for file in files if file.status == "renamed" and file.previous_filename}
    states: list[list[str | None]] = []
    for commit in (merge, tip, f"{merge}^"):
        found = _objects(call, [f"{commit}:{path}" for path in wanted])
        if isinstance(found, ForgeError):
            return found
        if len(states) < 2 and found == list(wanted.values()):
            return Proof(True, sha=merge)
        states.append(found)
    if states[0] == states[2]:
        return Proof(False, says=f"{merge} changes no file of the work")
    return Proof(None, says=f"files of the work differ from {merge}, which others may have changed too")


def _compared(call: GitHubCall, base: str, head: str) -> _Comparison | ForgeError:
    """The second commit compared with the first. Histories without a common commit are a definite no."""
    answer = call.ask(_COMPARISON, "GET", f"/compare/{quote(base, safe='')}...{quote(head, safe='')}?per_page=1")
    if isinstance(answer, ForgeError) and answer.http_status == 404 and _NO_COMMON_ANCESTOR in answer.message.lower():
        return _UNRELATED
    return answer


def _objects(call: GitHubCall, expressions: Sequence[str]) -> list[str | None] | ForgeError:
    """The ids of what git expressions name, in their order; None where there is nothing."""
    found: list[str | None] = []
    for start in range(0, len(expressions), _AT_ONCE):
        part = expressions[start : start + _AT_ONCE]
        variables = {f"e{place}": expression for place, expression in enumerate(part)}
        answer = call.graphql(_OBJECTS, queries.objects(len(part)), variables)
        if isinstance(answer, ForgeError):
            return answer
        objects = (answer.repository.get(f"o{place}") for place in range(len(part)))
        found += [None if each is None else each.oid for each in objects]
    return found
