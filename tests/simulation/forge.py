"""Pull requests and the people around them: checks turn green, reviewers approve, somebody merges. And the forge's lies."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random

from shared.domain.orders import OrderedRig, StartOrder
from shared.domain.repositories import repository_of_pull_request
from shared.ports.forge import (
    Accepted,
    Asker,
    BranchUpdate,
    Feedback,
    ForgeError,
    Identity,
    MergeClaim,
    Merged,
    NotMerged,
    Proof,
    PullRequest,
    RepositoryAt,
)
from tests.simulation.ground import Ground
from tests.simulation.scheduler import MINUTE, SECOND


@dataclass(eq=False)
class Pull:
    """One pull request; times are in simulated milliseconds."""

    known_from: int
    green_from: int
    approved_from: int
    merged_by_hand_at: int | None
    dirty: bool = False
    unresolved: bool = False
    branch: str = ""
    base: str = "main"
    head: int = 1
    state: str = "open"
    merges: int = 0
    closed_at: int | None = None


@dataclass
class SimulatedForge:
    """The SourceForge port."""

    ground: Ground
    pulls: dict[str, Pull] = field(default_factory=dict)
    calm: bool = False

    def __post_init__(self) -> None:
        self._random = Random(f"{self.ground.random.random()} forge")

    # what people and agents do

    def opened(self, order: StartOrder) -> str:
        """A pull request for the branch of an order: the one that there is, or a new one. Returns its URL."""
        if order.pr_url:
            return order.pr_url
        git_url = (order.rig or OrderedRig()).git_url.removesuffix(".git")
        url = f"{git_url}/pull/{len(self.pulls) + 1}"
        now, draw = self.ground.scheduler.now, self._random.randrange
        lazy = self._random.random() < 0.5 and not self.calm
        self.pulls[url] = Pull(
            known_from=now + (draw(0, 3 * MINUTE) if lazy else 0),
            green_from=now + (draw(0, 6 * MINUTE) if lazy else 0),
            approved_from=now + (draw(0, 10 * MINUTE) if lazy else 0),
            merged_by_hand_at=now + draw(MINUTE, 20 * MINUTE),
            dirty=lazy and self._random.random() < 0.3,
            unresolved=lazy and self._random.random() < 0.4,
            closed_at=now + draw(0, 10 * MINUTE) if lazy and self._random.random() < 0.1 else None,
            branch=order.branch or "",
            base=order.target_branch or "main",
        )
        return url

    def improved(self, url: object) -> None:
        """Somebody pushed: no conflict, no open comment any more."""
        pull = self.pulls.get(url) if isinstance(url, str) else None
        if pull is not None:
            pull.dirty, pull.unresolved = False, False
            pull.head += 1
            pull.green_from = self.ground.scheduler.now + 30 * SECOND

    def calm_down(self) -> None:
        """From now on everything turns out well."""
        self.calm = True
        now = self.ground.scheduler.now
        for pull in self.pulls.values():
            pull.dirty, pull.unresolved = False, False
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
        seen = PullRequest(
            "open", f"head-{pull.head}", identity=Identity(own, pull.branch, own, pull.base), rig_repository=rig
        )
        if pull.state != "open":
            if self.ground.plan.happens("forge_lies"):
                return replace(seen, mergeable_state="unknown")
            sha = "merge" if pull.state == "merged" else None
            return replace(seen, state="merged" if pull.state == "merged" else "closed", merge_sha=sha)
        state = "unknown" if self._now < pull.known_from else "dirty" if pull.dirty else "clean"
        if self.ground.plan.happens("forge_lies"):
            state = self._random.choice(("unknown", "behind", "blocked", "unstable", "dirty"))
        feedback = self._feedback(pull) if want_feedback else None
        return replace(seen, mergeable_state=state, feedback=feedback)

    def merge(
        self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str
    ) -> Merged | NotMerged | ForgeError:
        self.ground.checks.key_used(asker.town_id, effect_id)
        refused = self._refusal(pr_url)
        if refused is not None:
            return refused
        pull = self.pulls[pr_url]
        self._live(pull)
        if pull.state != "open" or pull.dirty or head_sha not in (None, f"head-{pull.head}"):
            return NotMerged("it cannot be merged")
        pull.state = "merged"
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
        return BranchUpdate("current", head=head_sha)

    def dequeue(self, asker: Asker, pr_url: str) -> Accepted | ForgeError:
        return self._refusal(pr_url) or Accepted()

    def request_review(self, asker: Asker, pr_url: str, *, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
        return self._refusal(pr_url) or Accepted()

    def proof(self, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:
        return Proof(None, says="this forge has no commits")

    @property
    def _now(self) -> int:
        return self.ground.scheduler.now

    def _live(self, pull: Pull) -> None:
        """What people did since."""
        if pull.state == "open" and pull.closed_at is not None and self._now >= pull.closed_at:
            pull.state = "closed"
        if pull.state == "open" and pull.merged_by_hand_at is not None and self._now >= pull.merged_by_hand_at:
            pull.state = "merged"

    def _feedback(self, pull: Pull) -> Feedback:
        green = self._now >= pull.green_from
        approved = self._now >= pull.approved_from
        return Feedback(
            has_unresolved_comments=pull.unresolved,
            has_failing_checks=not green and pull.head % 2 == 0,
            all_checks_pass=green,
            awaiting_approval=not approved,
            review_decision="APPROVED" if approved else "REVIEW_REQUIRED",
            merge_state_status="CLEAN" if green and approved else "BLOCKED",
        )

    def _refusal(self, url: str) -> ForgeError | None:
        happens = self.ground.plan.happens
        if url not in self.pulls or happens("forge_forgets"):
            return ForgeError("http", "there is no such pull request", http_status=404)
        if happens("forge_fails"):
            if self._random.random() < 0.3:
                return ForgeError("invalid_response", "no JSON")
            return ForgeError("transient", "bad gateway", http_status=502)
        if happens("forge_limits"):
            retry_at = self.ground.scheduler.time() + timedelta(minutes=self._random.randrange(1, 90))
            return ForgeError("rate_limited", "slow down", http_status=429, retry_at=retry_at)
        return None


def _repository_of(pr_url: str) -> RepositoryAt:
    """The repository of a pull request. Its id is its name."""
    found = repository_of_pull_request(pr_url)
    return RepositoryAt("none" if found is None else f"{found.owner}/{found.name}")
