"""Whether a branch at GitHub contains a merge that was reported (decision T2).

Proven is a merge whose head is in the branch and brought something: it is not already in the commit from which the work began. A
squash or a rebase makes other commits. Then the merge commit must be in the branch, and either that commit or the tip must have
every file of the work exactly as the work left it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

from pydantic import Field, TypeAdapter

from shared.adapters.github import queries
from shared.adapters.github.call import GitHubCall
from shared.adapters.github.contexts import Answer
from shared.ports.forge import ForgeError, MergeClaim, Proof

_MOST_FILES: Final = 299
"""GitHub lists at most 300 files of a comparison, so a list of 300 may not be all."""

_AT_ONCE: Final = 100
_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NO_COMMON_ANCESTOR: Final = "no common ancestor"


class _File(Answer):
    filename: str
    status: str
    sha: str | None = None
    previous_filename: str | None = None


class _Sha(Answer):
    sha: str


class _Comparison(Answer):
    status: Literal["diverged", "ahead", "behind", "identical"]
    files: list[_File] | None = None
    merge_base: _Sha | None = Field(alias="merge_base_commit", default=None)

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


@dataclass(frozen=True, slots=True)
class _Known:
    """The commits of a claim as the repository has them; None for one that is not named or not there."""

    tip: str | None
    head: str | None
    merge: str | None
    base: str | None


def proof(call: GitHubCall, claim: MergeClaim) -> Proof | ForgeError:
    """Look once whether the target branch contains what the claim says."""
    known = _known(call, claim)
    if isinstance(known, ForgeError):
        return known
    tip, head, merge = known.tip, known.head, known.merge
    if tip is None:
        return Proof(False, says=f"the repository has no branch {claim.target_branch}")
    work = None if head is None else _compared(call, tip, head)
    if isinstance(work, ForgeError):
        return work
    if work is not None and head is not None and work.contained:
        return _brought_something(call, known.base, head)
    if merge is not None:
        return _by_merge_commit(call, claim.target_branch, (tip, head, merge), work)
    if head is not None:
        return Proof(False, says=f"{claim.target_branch} does not contain {head}")
    if claim.head is None and claim.merge_commit is None:
        return Proof(None, says=f"there is no branch {claim.branch}, and no commit is named")
    return Proof(False, says="the repository does not have the commit that is named")


def _known(call: GitHubCall, claim: MergeClaim) -> _Known | ForgeError:
    """The commits of the claim. The head is the tip of the branch and, once that is gone, the head that was named.

    Agents name commits, so only a whole hash counts: `main` would be in `main`.
    """
    named = {
        "tip": f"refs/heads/{claim.target_branch}",
        "branch": f"refs/heads/{claim.branch}",
        "head": _hash(claim.head),
        "merge": _hash(claim.merge_commit),
        "base": _hash(claim.base),
    }
    asked = {name: expression for name, expression in named.items() if expression is not None}
    found = _objects(call, list(asked.values()))
    if isinstance(found, ForgeError):
        return found
    commits = dict(zip(asked, found, strict=True))
    head = commits.get("branch") or commits.get("head")
    return _Known(commits.get("tip"), head, commits.get("merge"), commits.get("base"))


def _hash(named: str | None) -> str | None:
    return named if named is not None and _HASH.fullmatch(named) else None


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
    call: GitHubCall, target: str, commits: tuple[str, str | None, str], work: _Comparison | None
) -> Proof | ForgeError:
    tip, head, merge = commits
    landed = _compared(call, tip, merge)
    if isinstance(landed, ForgeError):
        return landed
    if not landed.contained:
        return Proof(False, says=f"{target} does not contain {merge}")
    if work is None or head is None:
        return Proof(None, says="the head of the work is not known, so its files cannot be compared")
    own = _compared(call, head, merge)
    if isinstance(own, ForgeError):
        return own
    if own.contained:
        return Proof(False, says=f"{merge} is older than the work")
    start = work.merge_base
    if start is None or work.files is None or not 0 < len(work.files) <= _MOST_FILES:
        return Proof(None, says="the files of the work could not be listed")
    return _same_files(call, work.files, start.sha, (merge, tip))


def _same_files(call: GitHubCall, files: Sequence[_File], start: str, commits: tuple[str, str]) -> Proof | ForgeError:
    """Whether the merge commit or the tip has the files as the work left them.

    If both have a file as it was before the work, that is a definite no. A file that is neither may hold other work as well, which
    only a merge could tell apart.
    """
    wanted = {file.filename: None if file.status == "removed" else file.sha for file in files}
    wanted |= {file.previous_filename: None for file in files if file.status == "renamed" and file.previous_filename}
    before = _objects(call, [f"{start}:{path}" for path in wanted])
    if isinstance(before, ForgeError):
        return before
    lacks: list[bool] = []
    for commit in commits:
        found = _objects(call, [f"{commit}:{path}" for path in wanted])
        if isinstance(found, ForgeError):
            return found
        if found == list(wanted.values()):
            return Proof(True, sha=commits[0])
        compared = zip(found, before, wanted.values(), strict=True)
        lacks.append(any(now == old != new for now, old, new in compared))
    if all(lacks):
        return Proof(False, says=f"{commits[0]} does not have what the work changed")
    return Proof(None, says="the files of the work were changed by others too, so the forge cannot tell")


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
