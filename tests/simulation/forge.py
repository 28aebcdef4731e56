"""Pull requests and the people around them: checks turn green, reviewers approve, somebody merges. And the forge's lies."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Final

from shared.domain.orders import OrderedRig, StartOrder
from shared.domain.repositories import pull_request_at
from shared.domain.states import Role
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
from tests.properties.forge_world import ERRORS
from tests.simulation.ground import Ground
from tests.simulation.scheduler import MINUTE, SECOND

_OUTAGE: Final = 40 * MINUTE
_FAILURES: Final = (ForgeError("transient", "no answer"), *ERRORS.values())
_STRANGER: Final = "a-stranger"


def _no_head(seen: PullRequest) -> PullRequest:
    return replace(seen, identity=None if seen.identity is None else replace(seen.identity, head_repository=None))


def _no_checks(seen: PullRequest) -> PullRequest:
    feedback = seen.feedback
    return replace(seen, feedback=None if feedback is None else replace(feedback, checks_unreadable=True))


_HIDDEN: Final[tuple[Callable[[PullRequest], PullRequest], ...]] = (
    lambda seen: replace(seen, identity=None),
    lambda seen: replace(seen, head_sha=None),
    lambda seen: replace(seen, feedback=None),
    lambda seen: replace(seen, rig_repository=None, rig_problem="no answer"),
    lambda seen: replace(seen, rig_repository=RepositoryAt("somebody/else")),
    _no_head,
    _no_checks,
    _no_checks,
)
"""What a forge leaves out of its answers."""
_UPDATES_AT_MOST: Final = 5
_LANDINGS_GIVEN_UP: Final = 0.4
"""The share of the convoys whose landing people do not want."""
Contents = tuple[str, str, str]
"""Repository, branch, and a branch that it contains."""


@dataclass(eq=False)
class Pull:
    """One pull request; times are in simulated milliseconds. `agreed` is the base of its order; None: it is a stranger's.

    Nobody `ordered` a person's own one: the town knows the branch that he named with it, and pins what it sees of it first.
    """

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
    author: str = "the-town"
    draft_until: int = 0
    change_request: str | None = None
    behind: bool = False
    updates: int = 0
    queued_until: int | None = None
    head: int = 1
    state: str = "open"
    merges: int = 0
    shown: PullRequest | None = None
    closed_at: int | None = None
    forbidden_until: int = 0
    ordered: bool = True
    veil: Callable[[PullRequest], PullRequest] = lambda seen: seen
    veiled_until: int = 0
    """Until then the forge answers through the veil."""


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
    _minds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = Random(f"{self.ground.random.random()} forge")
        kind = self._random.random()
        self.strict, self.queues = kind < 0.35, kind > 0.75

    # what people and agents do

    def opened(self, order: StartOrder) -> str:
        """A pull request for the branch of an order: the one that there is, or a new one. Returns its URL."""
        if order.pr_url:
            return order.pr_url
        return self._open(order)

    def opened_by_people(self, git_url: str) -> tuple[str, str]:
        """A person's own pull request, which nobody ordered: its URL and its branch."""
        branch = f"people/{len(self.pulls) + 1}"
        url = self._open(
            StartOrder(
                town_id="none",
                agent_id="nobody",
                generation=0,
                role=Role.POLECAT,
                rig=OrderedRig(git_url=git_url),
                branch=branch,
            )
        )
        pull = self.pulls[url]
        pull.ordered, pull.agreed = False, pull.base  # whoever asks the town to watch it names no base
        return url, branch

    def close_one(self, git_url: str) -> None:
        """A person closes a pull request of that repository."""
        own = [
            pull for pull in self.pulls.values() if pull.state == "open" and pull.url.startswith(f"{_place(git_url)}/")
        ]
        if own:
            pull = self._random.choice(own)
            pull.state, pull.queued_until = "closed", None

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
        agreed = order.opens_pr_into or order.target_branch or "main"
        lazy = self._random.random() < 0.5
        later = (2 if self.calm else 10) * MINUTE
        forbidden_until = now + 3 * later + draw(0, 2 * later) if not self.calm and self._random.random() < 0.1 else 0
        self.pulls[url] = pull = Pull(
            url=url,
            known_from=now + (draw(0, later // 3) if lazy else 0),
            green_from=now + (draw(0, later // 2) if lazy else 0),
            approved_from=now + (draw(0, later) if lazy else 0),
            merged_by_hand_at=max(now, forbidden_until) + draw(MINUTE, 2 * later),
            dirty=lazy and self._random.random() < 0.3,
            unresolved=lazy and self._random.random() < 0.4,
            closed_at=now + draw(0, later) if lazy and not self.calm and self._random.random() < 0.1 else None,
            branch=order.branch or "",
            base="release" if happens("wrong_base") else agreed,
            agreed=agreed,
            draft_until=now + draw(0, later) if lazy and self._random.random() < 0.25 else 0,
            forbidden_until=forbidden_until,  # by a rule, until somebody changes it; nobody merges it meanwhile
            change_request="r1" if lazy and self._random.random() < 0.35 else None,
            author=_STRANGER if lazy and self._random.random() < 0.25 else "the-town",
        )
        if order.prompt_kind == "landing":
            self._judge_landing(pull)
        return url

    def _judge_landing(self, pull: Pull) -> None:
        """Some convoys nobody wants: each landing of such a one is closed after some minutes, approved or not yet approved."""
        mind = self._minds.setdefault(pull.branch, self._random.random())
        if mind > _LANDINGS_GIVEN_UP:
            return
        now = self.ground.scheduler.now
        pull.closed_at = now + self._random.randrange(2 * MINUTE, 4 * MINUTE)
        pull.merged_by_hand_at, pull.draft_until, pull.change_request = None, 0, None
        pull.green_from = now
        pull.approved_from = now if mind < _LANDINGS_GIVEN_UP / 2 else now + 10 * MINUTE

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
        """From now on everything turns out well, and soon."""
        self.calm = True
        now = self.ground.scheduler.now
        self.denied_until = min(self.denied_until, now)
        for pull in self.pulls.values():
            pull.dirty, pull.unresolved, pull.change_request = False, False, None
            pull.draft_until, pull.forbidden_until = min(pull.draft_until, now), min(pull.forbidden_until, now)
            pull.shown = None
            pull.known_from = pull.green_from = pull.approved_from = min(pull.known_from, now)
            if pull.merged_by_hand_at is not None:
                pull.merged_by_hand_at = min(pull.merged_by_hand_at, now + 2 * MINUTE)

    # the port

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        refused = self._refusal(pr_url)
        if refused is not None:
            return refused
        pull, happens = self.pulls[pr_url], self.ground.plan.happens
        self._live(pull)
        if pull.shown is not None and happens("forge_lags"):
            return pull.shown
        if pull.ordered and happens("forge_confuses"):
            # an earlier one of the same branch could not be told from it by anything that the answer says
            others = [each for each in self.pulls.values() if each.branch != pull.branch]
            return self._shown(self._random.choice(others or [pull]), want_feedback=want_feedback)
        pull.shown = seen = self._shown(pull, want_feedback=want_feedback)
        if self._now >= pull.veiled_until and (happens("forge_hides") or happens("rig_renamed")):
            pull.veil = self._random.choice(_HIDDEN)
            pull.veiled_until = self._now + self._random.randrange(MINUTE, 5 * MINUTE)
        return pull.veil(seen) if self._now < pull.veiled_until and not self.calm else seen

    def _shown(self, pull: Pull, *, want_feedback: bool) -> PullRequest:
        """The pull request as it is, but for what this forge says about whether it can be merged."""
        own = _repository_of(pull.url)
        draft = pull.state == "open" and self._now < pull.draft_until
        identity = Identity(own, pull.branch, own, pull.base, author=pull.author, draft=draft)
        seen = PullRequest("open", f"head-{pull.head}", identity=identity, rig_repository=own)
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
        if self.ground.plan.happens("forge_refuses"):  # and goes on doing so, until somebody changes the rule
            pull.forbidden_until = self._now + self._random.randrange(MINUTE, 15 * MINUTE)
        if self._now < pull.forbidden_until:
            return NotMerged("a rule of the repository forbids it")
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
            merge_state_status="CLEAN" if green and approved and self._now >= pull.forbidden_until else "BLOCKED",
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
            return self._random.choice(_FAILURES)
        if happens("forge_limits"):
            retry_at = self.ground.scheduler.time() + timedelta(minutes=self._random.choice((1, 2, 5, 10, 20, 70)))
            return ForgeError("rate_limited", "slow down", http_status=429, retry_at=retry_at)
        return None


def _place(git_url: str) -> str:
    return git_url.removesuffix(".git")


def _repository_of(pr_url: str) -> RepositoryAt:
    """The repository of a pull request. Its id is its name."""
    found = pull_request_at(pr_url)
    return RepositoryAt("none" if found is None else f"{found.repository.owner}/{found.repository.name}")
