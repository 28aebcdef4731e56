"""The commits of a fake forge: parents and files, enough to say what a branch contains after a merge, a squash or a rebase."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


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
