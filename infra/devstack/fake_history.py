"""The commits of a fake forge: what can be asked about them, and made-up ones for forges without a repository.

Made-up commits have parents and files: enough to say what a branch contains after a merge, a squash or a rebase.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

WayToMerge = Literal["merge", "squash", "rebase"]

_EXPRESSION: Final = re.compile(r"(?P<ref>[^:^]+)(?P<before>\^?)(?::(?P<path>.+))?")


@dataclass(frozen=True, slots=True)
class Named:
    """What an expression of git names: a commit, or the content of a file, by its id."""

    kind: Literal["commit", "blob"]
    id: str


class Commits(Protocol):
    """What a fake forge asks about commits. `home_id` is the id of a repository; ids of commits are whole hashes."""

    def named(self, home_id: int, expression: str) -> Named | None:
        """What `main`, `refs/heads/main`, a hash, a hash with `^` or one with `:PATH` names; None if there is no such thing."""
        ...

    def tip(self, home_id: int, branch: str) -> str | None:
        """The newest commit of a branch; None if there is no such branch."""
        ...

    def parents(self, sha: str) -> tuple[str, ...]:
        """The parents of a commit, the branch it was made on first."""
        ...

    def past(self, sha: str) -> set[str]:
        """A commit and everything before it."""
        ...

    def base_of(self, one: str, other: str) -> str | None:
        """The newest common commit; None if they have none."""
        ...

    def changed(self, start: str | None, end: str) -> list[str]:
        """The files that differ between two commits; all of `end` if `start` is None."""
        ...


@dataclass(frozen=True)
class Commit:
    """A commit: its parents (the first is the branch it was made on) and all files with their contents."""

    parents: tuple[str, ...]
    files: Mapping[str, str]


@dataclass
class History:
    """All commits of a forge, and the tips of branches by repository id and name."""

    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[tuple[int, str], str] = field(default_factory=dict)

    def commit(self, parents: tuple[str, ...], files: Mapping[str, str], *, sha: str = "") -> str:
        """Make a commit and return its id, which is `sha` if that is given."""
        made = sha or hashlib.sha1(repr((parents, sorted(files.items()), len(self.commits))).encode()).hexdigest()  # noqa: S324 - an id
        self.commits[made] = Commit(parents, dict(files))
        return made

    def named(self, home_id: int, expression: str) -> Named | None:
        """What an expression names, see `Commits`."""
        found = _EXPRESSION.fullmatch(expression)
        if found is None:
            return None
        sha = self.branches.get((home_id, found["ref"].removeprefix("refs/heads/")), found["ref"])
        commit = self.commits.get(sha)
        if commit is not None and found["before"]:
            sha = next(iter(commit.parents), "")
            commit = self.commits.get(sha)
        if commit is None or found["path"] is None:
            return None if commit is None else Named("commit", sha)
        content = commit.files.get(found["path"])
        return None if content is None else Named("blob", _blob_id(content))

    def tip(self, home_id: int, branch: str) -> str | None:
        """The newest commit of a branch; None if there is no such branch."""
        return self.branches.get((home_id, branch))

    def parents(self, sha: str) -> tuple[str, ...]:
        """The parents of a commit; none if it is not known."""
        return self.commits[sha].parents if sha in self.commits else ()

    def past(self, sha: str) -> set[str]:
        """A commit and everything before it."""
        found, ahead = set[str](), [sha]
        while ahead:
            each = ahead.pop()
            if each in self.commits and each not in found:
                found.add(each)
                ahead += self.commits[each].parents
        return found

    def contains(self, tip: str, sha: str) -> bool:
        """Whether a commit is `tip` or before it."""
        return sha in self.past(tip)

    def base_of(self, one: str, other: str) -> str | None:
        """The newest common commit; None if they have none."""
        shared = self.past(one) & self.past(other)
        newest = [each for each in shared if not any(each != more and self.contains(more, each) for more in shared)]
        return min(newest, default=None)

    def changed(self, start: str | None, end: str) -> list[str]:
        """The files that differ between two commits; all of `end` if `start` is None."""
        before = {} if start is None else self.commits[start].files
        after = self.commits[end].files
        return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))

    def merged(self, base: str, head: str) -> dict[str, str]:
        """The files of `base` with the changes of `head`."""
        changed = self.changed(self.base_of(base, head), head)
        files = {**self.commits[base].files}
        for name in changed:
            if name in self.commits[head].files:
                files[name] = self.commits[head].files[name]
            else:
                files.pop(name, None)
        return files


def _blob_id(content: str) -> str:
    return hashlib.sha1(content.encode(), usedforsecurity=False).hexdigest()
