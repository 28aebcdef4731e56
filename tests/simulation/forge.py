"""Pull requests and the people around them: checks turn green, reviewers approve, somebody merges. And the forge's lies."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Final

from shared.domain.orders import OrderedRig, StartOrder
from shared.domain.repositories import pull_request_at
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
from tests.simulation.ground import Ground
from tests.simulation.scheduler import MINUTE, SECOND

_OUTAGE: Final = 40 * MINUTE
_UPDATES_AT_MOST: Final = 5
Contents = tuple[str, str, str]
"""Repository, branch, and a branch that it contains."""


@dataclass(eq=False)
class Pull:
    """One pull request; times are in simulated milliseconds. `agreed` is the base of its order; None: it is a stranger's."""

    url: str
    known_from: int
    green_from: int
    approved_from: int
    merged_by_hand_at: int | None
    dirty: bool = False
    unresolved: bool = False
    branch: str = ""
    base: str = "main"
    agreed: str | None = "main"
    draft_until: int = 0
    change_request: str | None = None
    behind: bool = False
    updates: int = 0
    queued_until: int | None = None
    head: int = 1
    state: str = "open"
    merges: int = 0
    closed_at: int | None = None


@dataclass
class SimulatedForge:
    """The SourceForge port. `contents` is what was merged into which branch, with and without a pull request.

    Some forges have a strict base, so that each merge leaves the other pull requests behind; some merge through a queue only.
    """

    ground: Ground
    pulls: dict[str, Pull] = field(default_factory=dict)
    contents: set[Contents] = field(default_factory=set)
    denied_until: int = 0
    calm: bool = False

    def __post_init__(self) -> None:
        self._random = Random(f"{self.ground.random.random()} forge")
        kind = self._random.random()
        self.strict, self.queues = kind < 0.25, kind > 0.8

    # what people and agents do

    def opened(self, order: StartOrder) -> str:
        """A pull request for the branch of an order: the one that there is, or a new one. Returns its URL."""
        if order.pr_url:
            return order.pr_url
        return self._open(order)

    def strangers(self, order: StartOrder) -> str:
        """Somebody else's pull request in the repository of an order. Nothing but its branch is wrong with it."""
        url = self._open(order)
        pull = self.pulls[url]
        pull.branch, pull.base, pull.agreed = "somebody/else", pull.agreed or "main", None
        return url

    def merged_directly(self, order: StartOrder) -> None:
        """A refinery has merged the branch of its order and pushed the result."""
        rig = order.rig or OrderedRig()
        self.contents.add((_place(rig.git_url), order.target_branch or rig.default_branch, order.branch or ""))

    def contains(self, git_url: str, branch: str, merged: str) -> bool:
        """Whether that branch of the repository contains the other one."""
        return (_place(git_url), branch, merged) in self.contents

    def _open(self, order: StartOrder) -> str:
        git_url = (order.rig or OrderedRig()).git_url.removesuffix(".git")
        url = f"{git_url}/pull/{len(self.pulls) + 1}"
        now, draw, happens = self.ground.scheduler.now, self._random.randrange, self.ground.plan.happens
        if happens("forge_expires"):
            self.denied_until = now + _OUTAGE
        agreed = order.target_branch or "main"
        lazy = self._random.random() < 0.5 and not self.calm
        self.pulls[url] = Pull(
            url=url,
            known_from=now + (draw(0, 3 * MINUTE) if lazy else 0),
            green_from=now + (draw(0, 6 * MINUTE) if lazy else 0),
            approved_from=now + (draw(0, 10 * MINUTE) if lazy else 0),
            merged_by_hand_at=now + draw(MINUTE, 20 * MINUTE),
            dirty=lazy and self._random.random() < 0.3,
            unresolved=lazy and self._random.random() < 0.4,
            closed_at=now + draw(0, 10 * MINUTE) if lazy and self._random.random() < 0.1 else None,
            branch=order.branch or "",
            base="release" if happens("wrong_base") else agreed,
            agreed=agreed,
            draft_until=now + draw(0, 10 * MINUTE) if lazy and self._random.random() < 0.15 else 0,
            change_request="r1" if lazy and self._random.random() < 0.2 else None,
        )
        return url

    def improved(self, url: object) -> None:
        """Somebody pushed: no conflict, no open comment, no wrong base any more."""
        pull = self.pulls.get(url) if isinstance(url, str) else None
        if pull is not None and pull.agreed is not None:
            pull.dirty, pull.unresolved, pull.behind = False, False, False
            pull.base = pull.agreed
            pull.head += 1
            pull.updates = 0
            pull.green_from = self.ground.scheduler.now + 30 * SECOND

    def calm_down(self) -> None:
        """From now on everything turns out well."""
        self.calm = True
        now = self.ground.scheduler.now
        for pull in self.pulls.values():
            pull.dirty, pull.unresolved, pull.change_request = False, False, None
            pull.draft_until = min(pull.draft_until, now)
            pull.known_from = pull.green_from = pull.approved_from = min(pull.known_from, now)
            if pull.merged_by_hand_at is not None:
                pull.merged_by_hand_at = min(pull.merged_by_hand_at, now + 5 * MINUTE)

    # the port

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        refused = self._refusal(pr_url)
        if refused is not None:
            return refused
        pull = self.pulls[pr_url]
        self._live(pull)
        own = _repository_of(pr_url)
        rig = None if asker.repository is None else RepositoryAt(asker.repository)
        draft = pull.state == "open" and self._now < pull.draft_until
        identity = Identity(own, pull.branch, own, pull.base, draft=draft)
        seen = PullRequest("open", f"head-{pull.head}", identity=identity, rig_repository=rig)
        if pull.state != "open":
            if self.ground.plan.happens("forge_lies"):
                return replace(seen, mergeable_state="unknown")
            sha = "merge" if pull.state == "merged" else None
            return replace(seen, state="merged" if pull.state == "merged" else "closed", merge_sha=sha)
        state = "unknown" if self._now < pull.known_from else "dirty" if pull.dirty else "clean"
        if self.ground.plan.happens("forge_lies"):
            state = self._random.choice(("unknown", "behind", "blocked", "unstable", "dirty"))
        feedback = self._feedback(pull) if want_feedback else None
        return replace(
            seen,
            mergeable_state=state,
            feedback=feedback,
            has_queue=self.queues,
            in_queue=pull.queued_until is not None,
            is_behind=pull.behind,
            head_parents=(f"head-{pull.head - 1}", "base") if pull.updates else (),
        )

    def merge(
        self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str
    ) -> Merged | Queued | NotMerged | ForgeError:
        self.ground.checks.key_used(asker.town_id, effect_id)
        refused = self._refusal(pr_url)
        if refused is not None:
            return refused
        pull = self.pulls[pr_url]
        self._live(pull)
        if pull.state != "open" or pull.dirty or head_sha not in (None, f"head-{pull.head}"):
            return NotMerged("it cannot be merged")
        if pull.base != pull.agreed or self._now < pull.draft_until or pull.change_request is not None:
            self.ground.checks.fail("merged", f"{pr_url}, which is not what was agreed: {pull}")
        if pull.behind:
            return NotMerged("it is behind its base", refusal="behind")
        if self.queues:
            pull.queued_until = pull.queued_until or self._now + self._random.randrange(MINUTE, 5 * MINUTE)
            self.ground.checks.figures["pull requests queued"] += 1
            return Queued(1)
        self._merge(pr_url, pull)
        self.ground.checks.figures["pull requests merged by the town"] += 1
        pull.merges += 1
        return Merged("merge")

    def update_branch(self, asker: Asker, pr_url: str, *, head_sha: str) -> BranchUpdate | ForgeError:
        refused = self._refusal(pr_url)
        if refused is not None:
            return refused
        pull = self.pulls[pr_url]
        self._live(pull)
        if pull.state != "open" or head_sha != f"head-{pull.head}":
            return BranchUpdate("refused", reason="the head moved")
        if not pull.behind:
            return BranchUpdate("current", head=head_sha)
        pull.behind = False
        pull.head += 1
        pull.updates += 1
        pull.green_from = self._now + 30 * SECOND
        self.ground.checks.figures["branches updated"] += 1
        if pull.updates > _UPDATES_AT_MOST:
            self.ground.checks.fail("updates", f"{pr_url} was updated {pull.updates} times")
        return BranchUpdate("updated", head=f"head-{pull.head}")

    def dequeue(self, asker: Asker, pr_url: str) -> Accepted | ForgeError:
        refused = self._refusal(pr_url)
        if refused is None:
            self._live(self.pulls[pr_url])
            self.pulls[pr_url].queued_until = None
        return refused or Accepted()

    def request_review(self, asker: Asker, pr_url: str, *, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
        refused = self._refusal(pr_url)
        if refused is None:
            self.ground.checks.figures["reviews asked for"] += 1
            self.pulls[pr_url].change_request = None
        return refused or Accepted()

    def proof(self, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:
        refused = self._trouble()
        if refused is not None:
            return refused
        if self.ground.plan.happens("proof_missing"):
            return Proof(None, says="nobody can tell")
        for pull in self.pulls.values():
            self._live(pull)
        found = self.contains(claim.git_url, claim.target_branch, claim.branch)
        self.ground.checks.figures["merges proven" if found else "merges not found"] += 1
        return Proof(found, sha="merge")

    @property
    def _now(self) -> int:
        return self.ground.scheduler.now

    def _live(self, pull: Pull) -> None:
        """What people did since."""
        if pull.state == "open" and pull.closed_at is not None and self._now >= pull.closed_at:
            pull.state, pull.queued_until = "closed", None
        if pull.state == "open" and pull.merged_by_hand_at is not None and self._now >= pull.merged_by_hand_at:
            self._merge(pull.url, pull)
        if pull.state == "open" and pull.queued_until is not None and self._now >= pull.queued_until:
            pull.queued_until = None
            if self.calm or self._random.random() < 0.8:  # else its checks failed in the queue
                self._merge(pull.url, pull)

    def _merge(self, url: str, pull: Pull) -> None:
        pull.state, pull.queued_until = "merged", None
        self.contents.add((_place(url.split("/pull/", maxsplit=1)[0]), pull.base, pull.branch))
        for other_url, other in self.pulls.items():
            if (
                self.strict
                and other.base == pull.base
                and other_url.split("/pull/")[0] == url.split("/pull/", maxsplit=1)[0]
            ):
                other.behind = other.state == "open"

    def _feedback(self, pull: Pull) -> Feedback:
        green = self._now >= pull.green_from
        approved = self._now >= pull.approved_from
        return Feedback(
            has_unresolved_comments=pull.unresolved,
            has_failing_checks=not green and pull.head % 2 == 0,
            all_checks_pass=green,
            awaiting_approval=not approved,
            changes_requested=pull.change_request is not None,
            change_requests=() if pull.change_request is None else (ChangeRequest(pull.change_request, "a person"),),
            review_decision="APPROVED" if approved else "REVIEW_REQUIRED",
            merge_state_status="CLEAN" if green and approved else "BLOCKED",
        )

    def _refusal(self, url: str) -> ForgeError | None:
        happens = self.ground.plan.happens
        if url not in self.pulls or happens("forge_forgets"):
            return ForgeError("http", "there is no such pull request", http_status=404)
        return self._trouble()

    def _trouble(self) -> ForgeError | None:
        """Why nothing of the forge can be read now."""
        happens = self.ground.plan.happens
        if self._now < self.denied_until:
            return ForgeError("http", "bad credentials", http_status=401, secret="GITHUB_TOKEN", host="github.com")
        if happens("forge_fails"):
            if self._random.random() < 0.3:
                return ForgeError("invalid_response", "no JSON")
            return ForgeError("transient", "bad gateway", http_status=502)
        if happens("forge_limits"):
            retry_at = self.ground.scheduler.time() + timedelta(minutes=self._random.randrange(1, 90))
            return ForgeError("rate_limited", "slow down", http_status=429, retry_at=retry_at)
        return None


def _place(git_url: str) -> str:
    return git_url.removesuffix(".git")


def _repository_of(pr_url: str) -> RepositoryAt:
    """The repository of a pull request. Its id is its name."""
    found = pull_request_at(pr_url)
    return RepositoryAt("none" if found is None else f"{found.repository.owner}/{found.repository.name}")
