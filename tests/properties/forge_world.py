"""A forge with a truth of its own: commits as a graph, branches, pull requests, a log of every merge. And its bad days.

It is the port that the performers call. People and agents change it directly; what it answers may be old, partial or an error.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from shared.ports.forge import (
    Accepted,
    Asker,
    BranchUpdate,
    ChangeRequest,
    Feedback,
    ForgeError,
    Identity,
    MergeClaim,
    Merged,
    NotMerged,
    Proof,
    PullRequest,
    Queued,
    RepositoryAt,
)

FORK: Final = "stranger/fork"
"""A repository beside the rigs' ones, with branches of any name."""

ERRORS: Final[dict[str, ForgeError]] = {
    "expired": ForgeError("http", "bad credentials", http_status=401, secret="GITHUB_TOKEN", host="github.com"),
    "forbidden": ForgeError("http", "resource not accessible", http_status=403, host="github.com"),
    "sign-on": ForgeError("http", "sign-on required", http_status=403, host="github.com"),
    "no token": ForgeError("no_token", "no token", secret="GITHUB_TOKEN", host="github.com"),
    "missing": ForgeError("http", "not found", http_status=404, host="github.com"),
    "down": ForgeError("transient", "bad gateway", http_status=503, host="github.com"),
    "unreadable": ForgeError("invalid_response", "no JSON", host="github.com"),
}
Way = Literal["merge", "squash", "rebase"]


@dataclass(frozen=True)
class Pull:
    """One pull request as it is now. `merge_sha` is the commit that its merge left in the base."""

    url: str
    head_repository: str | None
    head_branch: str
    base_repository: str
    base_branch: str
    author: str
    head: str
    state: Literal["open", "merged", "closed"] = "open"
    merge_sha: str | None = None
    draft: bool = False
    comments: bool = False
    failing: bool = False
    running: bool = False
    changes: bool = False
    unapproved: bool = False
    dirty: bool = False
    queued: bool = False


@dataclass(frozen=True)
class MergeDone:
    """One merge, as the forge's own log has it. `by` is the town or a person; `shown` what the town was shown last."""

    by: str
    pull: Pull
    shown: PullRequest | None


@dataclass
class HostileForge:
    """The SourceForge port over the truth. `mood` says how it answers at the moment."""

    commits: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"root": ()})
    trees: dict[str, frozenset[str]] = field(default_factory=lambda: {"root": frozenset()})
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    pulls: dict[str, Pull] = field(default_factory=dict)
    log: list[MergeDone] = field(default_factory=list)
    error: str | None = None
    lag: int = 0
    identity: str = "whole"
    mergeability: str = "known"
    checks: str = "readable"
    strict: bool = False
    queue: bool = False
    strikes: str = ""
    """What somebody does between the look and the merge of the next call: `retarget`, `push`, `merge`; once."""
    history: dict[str, list[Pull]] = field(default_factory=dict)
    shown: dict[str, PullRequest] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    """The pull requests whose last answer was the truth."""

    # commits and branches

    def commit(self, *parents: str, work: frozenset[str] = frozenset()) -> str:
        """A new commit with the work of its parents and its own."""
        sha = f"c{len(self.commits)}"
        self.commits[sha] = parents
        self.trees[sha] = work.union(*(self.trees[parent] for parent in parents))
        return sha

    def tip(self, repository: str, branch: str) -> str:
        """The tip of a branch; a new branch begins at the root."""
        return self.branches.setdefault((repository, branch), "root")

    def push(self, repository: str, branch: str) -> str:
        """Somebody pushes work to a branch."""
        tip = self.tip(repository, branch)
        sha = self.commit(tip, work=frozenset({f"w{len(self.commits)}"}))
        self.branches[repository, branch] = sha
        self._follow(repository, branch, sha)
        return sha

    def _follow(self, repository: str, branch: str, sha: str) -> None:
        for pull in list(self.pulls.values()):
            if (pull.head_repository, pull.head_branch, pull.state) == (repository, branch, "open"):
                self.change(pull.url, head=sha, queued=False)

    def contains(self, repository: str, branch: str, sha: str | None) -> bool:
        """Whether the history of a branch contains a commit."""
        found, left = set(), [self.branches.get((repository, branch), "root")]
        while left:
            each = left.pop()
            if each not in found:
                found.add(each)
                left.extend(self.commits[each])
        return sha in found

    def holds_work_of(self, repository: str, branch: str, head: str) -> bool:
        """Whether merging that head into the branch would change nothing."""
        return self.trees.get(head, frozenset({"?"})) <= self.trees[self.tip(repository, branch)]

    # pull requests

    def opens(self, head: tuple[str, str], base: tuple[str, str], author: str = "bot") -> Pull:
        """Somebody opens a pull request."""
        url = f"https://github.com/{base[0]}/pull/{len(self.pulls) + 1}"
        pull = Pull(url, head[0], head[1], base[0], base[1], author, self.tip(*head))
        self.pulls[url] = pull
        return pull

    def change(self, url: str, **changed: object) -> Pull:
        """Somebody changes a pull request."""
        before = self.pulls[url]
        self.history.setdefault(url, []).append(before)
        self.pulls[url] = replace(before, **changed)  # type: ignore[arg-type] # the callers know the fields
        return self.pulls[url]

    def merged(self, url: str, way: Way = "merge", *, by: str = "a person") -> Pull:
        """It is merged: as a merge commit, squashed, or rebased."""
        pull = self.pulls[url]
        base = self.tip(pull.base_repository, pull.base_branch)
        work = self.trees[pull.head]
        sha = self.commit(base, pull.head) if way == "merge" else self.commit(base, work=work)
        self.branches[pull.base_repository, pull.base_branch] = sha
        done = self.change(url, state="merged", merge_sha=sha, queued=False)
        self.log.append(MergeDone(by, done, self.shown.get(url)))
        return done

    def behind(self, pull: Pull) -> bool:
        """Whether the head lacks commits of a strict base."""
        base = self.tip(pull.base_repository, pull.base_branch)
        return self.strict and not self.trees[base] <= self.trees[pull.head]

    def is_green(self, pull: Pull) -> bool:
        """Whether nothing prevents the merge, behind a strict base or not."""
        hindered = pull.draft or pull.comments or pull.failing or pull.running or pull.changes or pull.unapproved
        return pull.state == "open" and not hindered and not pull.dirty

    # the port

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        """What it shows: the truth, or an old answer, or only a part."""
        if self.error is not None:
            return ERRORS[self.error]
        pull = self.pulls.get(pr_url)
        if pull is None:
            return ERRORS["missing"]
        old = self.history.get(pr_url, [])
        seen = old[-self.lag] if 0 < self.lag <= len(old) else pull
        answer = self._answer(seen, asker, want_feedback=want_feedback)
        self.shown[pr_url] = answer
        (self.fresh.add if seen == pull else self.fresh.discard)(pr_url)
        return answer

    def _answer(self, pull: Pull, asker: Asker, *, want_feedback: bool) -> PullRequest:
        state = "dirty" if pull.dirty else "clean" if self.is_green(pull) else "blocked"
        base = RepositoryAt(f"id-{pull.base_repository}", pull.base_repository)
        own = None if pull.head_repository is None else RepositoryAt(f"id-{pull.head_repository}", pull.head_repository)
        head = None if self.identity == "headless" else own
        identity = Identity(head, pull.head_branch, base, pull.base_branch, pull.author, draft=pull.draft)
        rig = None if asker.repository is None else RepositoryAt(f"id-{asker.repository}", asker.repository)
        return PullRequest(
            state=pull.state,
            head_sha=pull.head,
            merge_sha=pull.merge_sha,
            mergeable_state="unknown" if self.mergeability == "unknown" else state,
            feedback=self._feedback(pull) if want_feedback else None,
            identity=None if self.identity == "none" else identity,
            rig_repository=None if self.identity == "no rig" else rig,
            has_queue=self.queue,
            in_queue=pull.queued,
            is_behind=self.behind(pull),
            head_parents=self.commits[pull.head],
        )

    def _feedback(self, pull: Pull) -> Feedback:
        readable = self.checks == "readable"
        return Feedback(
            has_unresolved_comments=pull.comments,
            has_failing_checks=readable and pull.failing,
            all_checks_pass=readable and not pull.failing and not pull.running,
            awaiting_approval=pull.unapproved,
            changes_requested=pull.changes,
            review_decision="REVIEW_REQUIRED" if pull.unapproved else None,
            merge_state_status="CLEAN" if self.is_green(pull) else "BLOCKED",
            checks_unreadable=not readable,
            change_requests=(ChangeRequest(f"review of {pull.url}", "ann"),) if pull.changes else (),
        )

    def merge(
        self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str
    ) -> Merged | Queued | NotMerged | ForgeError:
        """Merge what is there now: the head is compared, as forges do, and the base is not."""
        if self.error is not None:
            return ERRORS[self.error]
        self._strike(pr_url)
        pull = self.pulls[pr_url]
        if pull.state == "merged" and pull.merge_sha is not None:
            return Merged(pull.merge_sha)
        if pull.state == "closed":
            return NotMerged("it is closed", "closed")
        if head_sha not in (None, pull.head):
            return NotMerged("the head moved", "head_moved")
        if self.queue:
            self.change(pr_url, queued=True)
            return Queued(1)
        if self.behind(pull):
            return NotMerged("the head branch is not up to date", "behind")
        if not self.is_green(pull):
            return NotMerged("it is not mergeable", "checks")
        sha = self.merged(pr_url, by="the town").merge_sha
        return Merged(sha or "")

    def _strike(self, url: str) -> None:
        struck, self.strikes = self.strikes, ""
        pull = self.pulls[url]
        if pull.state != "open":
            return
        if struck == "retarget":
            self.change(url, base_branch="release")
        elif struck == "push" and pull.head_repository is not None:
            self.push(pull.head_repository, pull.head_branch)
        elif struck == "merge":
            self.merged(url, "squash")

    def update_branch(self, asker: Asker, pr_url: str, *, head_sha: str) -> BranchUpdate | ForgeError:
        """Merge the base into the branch."""
        if self.error is not None:
            return ERRORS[self.error]
        pull = self.pulls[pr_url]
        if pull.head != head_sha or pull.state != "open" or pull.head_repository is None:
            return BranchUpdate("refused", reason="the head moved")
        if not self.behind(pull):
            return BranchUpdate("current", head=head_sha)
        sha = self.commit(pull.head, self.tip(pull.base_repository, pull.base_branch))
        self.branches[pull.head_repository, pull.head_branch] = sha
        self._follow(pull.head_repository, pull.head_branch, sha)
        return BranchUpdate("updated", head=sha)

    def dequeue(self, asker: Asker, pr_url: str) -> Accepted | ForgeError:
        """Take it out of the queue."""
        if self.error is not None:
            return ERRORS[self.error]
        if self.pulls[pr_url].queued:
            self.change(pr_url, queued=False)
        return Accepted()

    def request_review(self, asker: Asker, pr_url: str, *, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
        """Ask again; the reviewers think about it."""
        return Accepted() if self.error is None else ERRORS[self.error]

    def proof(self, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:
        """Look into the truth (decision T2)."""
        if self.error is not None:
            return ERRORS[self.error]
        repository = claim.git_url.removeprefix("https://github.com/").removesuffix(".git")
        head = self.branches.get((repository, claim.branch), claim.head)
        target = (repository, claim.target_branch)
        if head is not None and head != claim.base and self.contains(*target, head):
            return Proof(True, sha=head)
        commit = claim.merge_commit
        if head is not None and commit is not None and self.contains(*target, commit) and commit != head:
            return Proof(self.holds_work_of(*target, head), sha=commit)
        return Proof(False, says="the target does not contain it")


def changed(**fields: object) -> Callable[[HostileForge, Pull], None]:
    """A person changes these fields of an open pull request."""

    def act(forge: HostileForge, pull: Pull) -> None:
        if pull.state == "open":
            forge.change(pull.url, **fields)

    return act


def _merged(way: Way) -> Callable[[HostileForge, Pull], None]:
    def act(forge: HostileForge, pull: Pull) -> None:
        if pull.state == "open":
            forge.merged(pull.url, way)

    return act


def _closed(forge: HostileForge, pull: Pull) -> None:
    if pull.state == "open":
        forge.change(pull.url, state="closed", queued=False)


def _reopened(forge: HostileForge, pull: Pull) -> None:
    if pull.state == "closed":
        forge.change(pull.url, state="open")


def _pushed(forge: HostileForge, pull: Pull) -> None:
    if pull.head_repository is not None:
        forge.push(pull.head_repository, pull.head_branch)


def _queue_merges(forge: HostileForge, pull: Pull) -> None:
    if pull.queued and pull.state == "open":
        forge.merged(pull.url, by="the town")


TO_A_PULL: Final[dict[str, Callable[[HostileForge, Pull], None]]] = {
    "merges": _merged("merge"),
    "squashes": _merged("squash"),
    "rebases": _merged("rebase"),
    "closes": _closed,
    "reopens": _reopened,
    "pushes": _pushed,
    "the queue merges": _queue_merges,
    "the queue drops": changed(queued=False),
    "retargets": changed(base_branch="release"),
    "targets main": changed(base_branch="main"),
    "drafts": changed(draft=True),
    "comments": changed(comments=True),
    "fails a check": changed(failing=True),
    "requests changes": changed(changes=True),
    "wants approval": changed(unapproved=True),
    "conflicts": changed(dirty=True),
    "makes green": changed(
        draft=False, comments=False, failing=False, running=False, changes=False, unapproved=False, dirty=False
    ),
}
"""What people do to a pull request."""

MOODS: Final[dict[str, dict[str, object]]] = {
    **{f"error: {name}": {"error": name} for name in ERRORS},
    "lags": {"lag": 1},
    "lags more": {"lag": 3},
    "hides identity": {"identity": "none"},
    "hides heads": {"identity": "headless"},
    "hides the rig": {"identity": "no rig"},
    "computes mergeability": {"mergeability": "unknown"},
    "hides checks": {"checks": "unreadable"},
    "strict base": {"strict": True},
    "merge queue": {"queue": True},
    "a retarget is coming": {"strikes": "retarget"},
    "a push is coming": {"strikes": "push"},
    "a merge is coming": {"strikes": "merge"},
    "recovers": {
        "error": None,
        "lag": 0,
        "identity": "whole",
        "mergeability": "known",
        "checks": "readable",
        "strict": False,
        "queue": False,
        "strikes": "",
    },
}
"""How the forge answers from now on."""
