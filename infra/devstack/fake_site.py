"""The state of a fake forge: repositories with ids and former names, pull requests, runs of checks, opinions, merge queues.

What people do has one name at both forges. Each fake shows the state in its forge's own words, and shows less where its forge
has less.
"""

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from infra.devstack.fake_git import GitRepository
from infra.devstack.fake_history import Commits, History, WayToMerge

ForgeDecision = Literal["APPROVED", "REVIEW_REQUIRED", "CHANGES_REQUESTED"]
Outcome = Literal["success", "failure", "pending", "queued", "cancelled", "skipped"]
Opinion = Literal["APPROVED", "CHANGES_REQUESTED", "COMMENTED", "DISMISSED"]

_START: Final = datetime(2026, 1, 10, 12, tzinfo=UTC)


@dataclass
class Home:
    """A repository. Its id never changes; under `former` names it is still found, unless another one took the name.

    `has_queue`: the base merges only through a queue (GitHub) or train (GitLab). `is_strict`: a head must contain its base.
    `required` are the names of the checks that the base requires. `hides_checks`: the token may not read checks.
    """

    id: int
    name: str
    former: list[str] = field(default_factory=list)
    archived: bool = False
    has_queue: bool = False
    is_strict: bool = False
    required: tuple[str, ...] = ()
    hides_checks: bool = False
    may_not_merge: bool = False
    line: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """One run of a check at one head. `may_fail`: GitLab's allow_failure; at GitHub such a check is not required.

    A queued run has no beginning, and one that is pending has no end.
    """

    id: int
    name: str
    outcome: Outcome
    sha: str
    app: str = "ci"
    workflow: str = "build"
    event: str = "pull_request"
    suite: int = 1
    may_fail: bool = False
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True)
class Review:
    """What a person said in a review."""

    id: int
    author: str
    opinion: Opinion
    sha: str
    words: str = ""


@dataclass(frozen=True)
class Said:
    """A comment in a thread, and where it stands. A comment about the whole pull request has no file."""

    text: str
    author: str = "ann"
    file: str | None = "README.md"
    line: int | None = 1


@dataclass
class Pull:
    """A pull request. The next `unknown_reads` reads find that its mergeability is still being computed.

    `checks` and `statuses` are the plain outcomes at any head; `runs` are single runs at one head. `head_home` is None once the
    repository of the head is deleted. `asked` are the people who were asked for a review and have not reviewed since.
    """

    project: str
    number: int
    title: str
    head: str
    base: str
    sha: str
    state: Literal["open", "closed", "merged"] = "open"
    merge_sha: str | None = None
    merged_how: WayToMerge = "merge"
    merges: int = 0
    draft: bool = False
    conflicts: bool = False
    behind: bool = False
    unknown_reads: int = 0
    decision: ForgeDecision | None = None
    author: str | None = "worker"
    home: int = 0
    head_home: int | None = 0
    threads: dict[str, bool] = field(default_factory=dict)
    said: dict[str, list[Said]] = field(default_factory=dict)
    notes: list[Said] = field(default_factory=list)
    checks: dict[str, Outcome] = field(default_factory=dict)
    statuses: dict[str, Outcome] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    reviewers: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    in_queue: bool = False
    auto_merge: bool = False
    old: "list[Pull]" = field(default_factory=list)

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes of all its checks: of each check of an app, the newest run at the head."""
        newest = {(run.app, run.name): run.outcome for run in self.runs if run.sha == self.sha and not run.may_fail}
        return [*self.checks.values(), *self.statuses.values(), *newest.values()]

    @property
    def opinions(self) -> dict[str, Review]:
        """The newest review with an opinion of each person."""
        return {review.author: review for review in self.reviews if review.opinion != "COMMENTED"}


@dataclass
class Site:
    """The pull requests of a forge, and the actions of people on them. `merged` is its own log of merges, `now` its clock.

    Commits are those of `repository`, to which people push with git; without one, they are made up in `history`.
    """

    repository: GitRepository | None = None
    ways_to_merge: tuple[str, ...] = ("merge", "squash", "rebase")
    on_open: Callable[[Pull], None] = lambda _pull: None
    now: Callable[[], datetime] = lambda: _START
    deletes_branches: bool = False
    pulls: list[Pull] = field(default_factory=list)
    projects: set[str] = field(default_factory=set)
    homes: list[Home] = field(default_factory=list)
    history: History = field(default_factory=History)
    merged: list[tuple[str, str, str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _ids: int = 100

    def __post_init__(self) -> None:
        for project in sorted(self.projects):
            self.home(project)

    @property
    def commits(self) -> Commits:
        """The commits of its repositories."""
        return self.history if self.repository is None else self.repository

    # repositories

    def home(self, name: str) -> Home:
        """The repository with that present name; made if there is none."""
        with self.lock:
            found = self.at(name)
            if found is None:
                found = Home(self._next_id(), name)
                self.homes.append(found)
                self.projects.add(name.lower())
                self.history.branches[found.id, "main"] = self.history.commit((), {"README": name})
            return found

    def at(self, name: str) -> Home | None:
        """The repository with that present name; None if there is none."""
        return next((each for each in self.homes if each.name.lower() == name.lower()), None)

    def led_to(self, name: str) -> Home | None:
        """The repository that once had that name, if no other has it now."""
        if self.at(name) is not None:
            return None
        return next((each for each in self.homes if name.lower() in map(str.lower, each.former)), None)

    def by_id(self, home_id: int | None) -> Home | None:
        """The repository with that id; None if there is none."""
        return next((each for each in self.homes if each.id == home_id), None)

    def renames(self, name: str, new_name: str) -> Home:
        """Rename a repository, or move it to another owner."""
        with self.lock:
            home = self.home(name)
            home.former.append(home.name)
            home.name = new_name
            self.projects = {each.name.lower() for each in self.homes}
            for pull in self.pulls:
                if pull.home == home.id:
                    pull.project = new_name
            return home

    def deletes(self, name: str) -> None:
        """Delete a repository. Pull requests from it stay, without a repository of the head."""
        with self.lock:
            gone = self.home(name)
            self.homes.remove(gone)
            self.projects = {each.name.lower() for each in self.homes}
            self.pulls = [pull for pull in self.pulls if pull.home != gone.id]
            for pull in self.pulls:
                if pull.head_home == gone.id:
                    pull.head_home = None

    def moves_base(self, project: str, base: str = "main") -> str:
        """Somebody else's work arrives in the base branch; returns its new tip."""
        with self.lock:
            home = self.home(project)
            old = self._tip(home, base)
            files = {**self.history.commits[old].files, f"of-others-{len(self.history.commits)}": "new"}
            self.history.branches[home.id, base] = self.history.commit((old,), files)
            return self.history.branches[home.id, base]

    # pull requests

    def opens(
        self,
        project: str,
        *,
        head: str = "work",
        base: str = "main",
        title: str = "Work",
        fork: str | None = None,
        author: str | None = "worker",
    ) -> Pull:
        """Open a pull request, or return the one that is already open for that branch. `fork` is the repository of the head.

        Raises LookupError if the repository of git lacks a branch.
        """
        with self.lock:
            home, source = self.home(project), self.home(fork or project)
            for pull in self.pulls:
                if (pull.home, pull.head_home, pull.head, pull.state) == (home.id, source.id, head, "open"):
                    return pull
            sha = self._made_up(home, source, head, base) if self.repository is None else self._pushed(home, head, base)
            number = sum(each.home == home.id for each in self.pulls) + 1
            pull = Pull(home.name, number, title, head, base, sha, author=author, home=home.id, head_home=source.id)
            self.pulls.append(pull)
            self.on_open(pull)
            return pull

    def pushes(self, pull: Pull) -> str:
        """Push to its branch, which changes its head and takes it out of the queue, and return the new head."""
        with self.lock:
            return self._new_head(pull, (pull.sha,), {f"of-{pull.head}": str(len(self.history.commits))})

    def forces(self, pull: Pull) -> str:
        """Push other commits by force: its old head is no longer in the branch. Returns the new head."""
        with self.lock:
            self._known(pull)
            parents = self.history.commits[pull.sha].parents
            return self._new_head(pull, parents, {f"of-{pull.head}": str(len(self.history.commits))})

    def retargets(self, pull: Pull, base: str) -> None:
        """Its author changes its base, which takes it out of the queue."""
        with self.lock:
            self.leaves(pull)
            pull.base = base

    def updates(self, pull: Pull, *, rebase: bool) -> str:
        """Bring its branch up to date, by a merge of the base or by a rebase onto it, and return the new head."""
        with self.lock:
            if self.repository is not None:
                pull.sha = self.repository.update(pull.head, pull.base, rebase=rebase)
                return pull.sha
            tip = self._tip(self.home(pull.project), pull.base)
            made = self._new_head(pull, (tip,) if rebase else (pull.sha, tip), {})
            pull.behind = False
            return made

    def is_behind(self, pull: Pull) -> bool:
        """Whether its base has commits that its branch does not have."""
        with self.lock:
            if self.repository is None:
                self._tip(self.home(pull.project), pull.base)
            tip = self.commits.tip(pull.home, pull.base)
            return pull.behind or tip not in self.commits.past(pull.sha)

    def comments(self, pull: Pull, said: Said | None = None) -> str:
        """Open a thread and return its id."""
        with self.lock:
            thread_id = f"thread-{pull.number}-{len(pull.threads) + 1}"
            pull.threads[thread_id] = False
            pull.said[thread_id] = [said or Said("Please look at this.")]
            return thread_id

    def resolves(self, pull: Pull) -> None:
        """Resolve every thread."""
        with self.lock:
            pull.threads = dict.fromkeys(pull.threads, True)

    def resolves_thread(self, thread_id: str) -> bool:
        """Resolve one thread. Returns False if no thread has that id."""
        with self.lock:
            for pull in self.pulls:
                if thread_id in pull.threads:
                    pull.threads[thread_id] = True
                    return True
        return False

    def says(self, pull: Pull, author: str, opinion: Opinion, *, words: str = "") -> Review:
        """A person reviews it, without a thread."""
        with self.lock:
            review = Review(self._next_id(), author, opinion, pull.sha, words)
            pull.reviews.append(review)
            if author not in pull.reviewers:
                pull.reviewers.append(author)
            pull.asked = [each for each in pull.asked if each != author]
            return review

    def asks(self, pull: Pull, reviewer: str) -> None:
        """Ask a person for a review, or for another one."""
        with self.lock:
            if reviewer not in pull.reviewers:
                pull.reviewers.append(reviewer)
            if reviewer not in pull.asked:
                pull.asked.append(reviewer)

    def runs(self, pull: Pull, name: str, outcome: Outcome, **details: Any) -> Run:
        """A check runs at its present head; an earlier run of it stays."""
        with self.lock:
            details.setdefault("suite", len(pull.runs) + 1)
            details.setdefault("started_at", None if outcome == "queued" else self.now())
            ends = None if outcome in ("queued", "pending") else details["started_at"]
            details.setdefault("completed_at", ends)
            run = Run(self._next_id(), name, outcome, details.pop("sha", pull.sha), **details)
            pull.runs.append(run)
            return run

    def closes(self, pull: Pull) -> None:
        """Close it without a merge."""
        with self.lock:
            pull.state = "closed"
            self.leaves(pull)

    def reopens(self, pull: Pull) -> None:
        """Open it again."""
        with self.lock:
            pull.state = "open"

    def enqueues(self, pull: Pull) -> int:
        """Put it into the queue of its base and return its place, from 1."""
        with self.lock:
            line = self.home(pull.project).line
            if pull.number not in line:
                line.append(pull.number)
            pull.in_queue = True
            return line.index(pull.number) + 1

    def leaves(self, pull: Pull) -> bool:
        """Take it out of the queue and cancel an automatic merge. Returns whether there was anything to take back."""
        with self.lock:
            had = pull.in_queue or pull.auto_merge
            pull.in_queue = pull.auto_merge = False
            home = self.by_id(pull.home)
            if home is not None and pull.number in home.line:
                home.line.remove(pull.number)
            return had

    def lags(self, pull: Pull, reads: int) -> None:
        """The next reads show it as it is now, whatever happens to it meanwhile."""
        with self.lock:
            seen = copy.copy(pull)
            seen.threads, seen.checks, seen.statuses = dict(pull.threads), dict(pull.checks), dict(pull.statuses)
            seen.runs, seen.reviews, seen.old = list(pull.runs), list(pull.reviews), []
            pull.old = [seen] * reads

    def find(self, project: str, number: int, *, reads: bool = False) -> Pull | None:
        """The pull request with that number and the current head of its branch; None if there is none. A read may lag."""
        with self.lock:
            for pull in self.pulls:
                if (pull.project.lower(), pull.number) == (project.lower(), number):
                    if self.repository is not None and pull.state == "open":
                        pull.sha = self.commits.tip(pull.home, pull.head) or pull.sha  # a branch may be deleted
                        base = self.commits.tip(pull.home, pull.base)
                        pull.conflicts = base is None or self.repository.conflicts(pull.sha, base)
                    return pull.old.pop() if reads and pull.old else pull
        return None

    def looked_at(self, pull: Pull) -> bool:
        """Whether this read finds the mergeability computed. Each read brings the result closer (`unknown_reads`)."""
        with self.lock:
            known = pull.unknown_reads == 0
            pull.unknown_reads = max(0, pull.unknown_reads - 1)
            return known

    def merge(self, pull: Pull, how: WayToMerge = "merge", *, by: str = "person") -> str:
        """Merge a pull request. The caller has checked that it may be merged."""
        with self.lock:
            if self.repository is None:
                pull.merge_sha = self._merge_commit(pull, how)
            else:
                title = f"Merge pull request #{pull.number}: {pull.title}"
                pull.merge_sha = self.repository.merge(pull.head, pull.base, title, how)
            pull.state, pull.merges, pull.merged_how = "merged", pull.merges + 1, how
            self.leaves(pull)
            if self.deletes_branches:
                self.history.branches.pop((pull.head_home or 0, pull.head), None)
                if self.repository is not None:
                    self.repository.delete(pull.head)
            self.merged.append((pull.project, pull.head, pull.base, by))
            return pull.merge_sha

    def _pushed(self, home: Home, head: str, base: str) -> str:
        """The tip of a branch to which somebody has pushed. Raises LookupError if it or its base is not there."""
        tips = {branch: self.commits.tip(home.id, branch) for branch in (head, base)}
        missing = [branch for branch, tip in tips.items() if tip is None]
        if missing:
            raise LookupError(f"there is no branch {missing[0]}")
        return str(tips[head])

    def _made_up(self, home: Home, source: Home, head: str, base: str) -> str:
        """The tip of a made-up branch with one commit."""
        start = self._tip(home, base)
        files = {**self.history.commits[start].files, f"of-{head}": "1"}
        made = self.history.commit((start,), files, sha=f"{len(self.pulls) + 1:040x}")
        self.history.branches[source.id, head] = made
        return made

    def _merge_commit(self, pull: Pull, how: WayToMerge) -> str:
        home = self.home(pull.project)
        tip = self._tip(home, pull.base)
        self._known(pull)
        parents = (tip, pull.sha) if how == "merge" else (tip,)
        sha = f"{int(pull.sha[:40], 16) + 0xABC0000000:040x}"
        made = self.history.commit(parents, self.history.merged(tip, pull.sha), sha=sha)
        self.history.branches[home.id, pull.base] = made
        return made

    def _new_head(self, pull: Pull, parents: tuple[str, ...], changes: dict[str, str]) -> str:
        self._known(pull)
        files = dict(self.history.commits[pull.sha].files)
        for parent in parents:
            files = files if parent == pull.sha else {**self.history.merged(parent, pull.sha)}
        pull.sha = self.history.commit(parents, {**files, **changes}, sha=f"{int(pull.sha[:40], 16) + 0x1000:040x}")
        if pull.head_home is not None:
            self.history.branches[pull.head_home, pull.head] = pull.sha
        pull.conflicts = False
        self.leaves(pull)
        return pull.sha

    def _known(self, pull: Pull) -> None:
        """A head that a test set by hand becomes a commit on the base."""
        if pull.sha not in self.history.commits:
            tip = self._tip(self.home(pull.project), pull.base)
            files = {**self.history.commits[tip].files, f"of-{pull.head}": pull.sha}
            self.history.commit((tip,), files, sha=pull.sha)

    def _tip(self, home: Home, branch: str) -> str:
        if (home.id, branch) not in self.history.branches:
            start = self.history.branches[home.id, "main"]
            self.history.branches[home.id, branch] = self.history.commit(
                (start,), {**self.history.commits[start].files, "BRANCH": branch}
            )
        return self.history.branches[home.id, branch]

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids
