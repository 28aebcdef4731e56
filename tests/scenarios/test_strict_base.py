"""Twenty pull requests into a base that only takes branches that are up to date: what they cost in runs of the checks."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.domain import limits
from shared.ports.forge import (
    Asker,
    BranchUpdate,
    Feedback,
    ForgeError,
    Identity,
    Merged,
    NotMerged,
    PullRequest,
    Queued,
    RepositoryAt,
)
from tests.fakes import FakeClock, FakeForge
from tests.scenarios.outside import effects
from tests.scenarios.table import scenario
from tests.towns import T, a_town, ago
from tests.worlds import World, a_world

COUNT = 20
CHECKS_TAKE = timedelta(minutes=4)
REPOSITORY = RepositoryAt("acme/main-rig", "acme/main-rig")
PR = "https://github.com/acme/main-rig/pull/"


@dataclass
class Branch:
    """The branch of one pull request: which state of the base it contains, and when its checks are done."""

    name: str
    contains: int
    checked_at: datetime
    head: int = 1
    heads: tuple[str, ...] = ()
    runs: int = 1

    @property
    def sha(self) -> str:
        return f"{self.name}-{self.head}"


@dataclass
class StrictForge(FakeForge):
    """A forge whose base has moved on with each merge. Each new head runs the checks once."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(T))
    base: int = 0
    branches: dict[str, Branch] = field(default_factory=dict)
    merged: list[str] = field(default_factory=list)

    def has(self, number: int, *, checks_take: timedelta) -> None:
        name = f"gt/toast/{number:02}"
        self.branches[f"{PR}{number}"] = Branch(name, self.base, self.clock.now() + checks_take)

    @property
    def runs(self) -> int:
        """How often the checks ran, for all branches together."""
        return sum(branch.runs for branch in self.branches.values())

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        branch = self.branches[pr_url]
        if pr_url in self.merged:
            return PullRequest("merged", head_sha=branch.sha, merge_sha=f"merge-of-{branch.sha}")
        is_behind = branch.contains < self.base
        return PullRequest(
            "open",
            head_sha=branch.sha,
            mergeable_state="behind" if is_behind else "clean",
            feedback=Feedback(
                all_checks_pass=self.clock.now() >= branch.checked_at,
                merge_state_status="BEHIND" if is_behind else "CLEAN",
            ),
            identity=Identity(REPOSITORY, branch.name, REPOSITORY, "main"),
            rig_repository=REPOSITORY,
            is_behind=is_behind,
            head_parents=branch.heads,
        )

    def merge(
        self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str
    ) -> Merged | Queued | NotMerged | ForgeError:
        branch = self.branches[pr_url]
        if head_sha != branch.sha:
            return NotMerged("the head moved", "head_moved")
        if branch.contains < self.base:
            return NotMerged("the head branch is not up to date with the base branch", "behind")
        self.base += 1
        self.merged.append(pr_url)
        return Merged(f"merge-of-{branch.sha}")

    def update_branch(self, asker: Asker, pr_url: str, *, head_sha: str) -> BranchUpdate | ForgeError:
        branch = self.branches[pr_url]
        if head_sha != branch.sha:
            return BranchUpdate("refused", reason="the head moved")
        if branch.contains == self.base:
            return BranchUpdate("current")
        self.branches[pr_url] = replace(
            branch,
            contains=self.base,
            checked_at=self.clock.now() + CHECKS_TAKE,
            head=branch.head + 1,
            heads=(branch.sha, f"base-{self.base}"),
            runs=branch.runs + 1,
        )
        return BranchUpdate("updated")


def a_strict_world(*, delay: int, checks_take: timedelta = CHECKS_TAKE, apart: timedelta = timedelta(0)) -> World:
    """Twenty MRs in progress in a rig without code review; their checks begin so far apart."""
    town = a_town().config(refinery={"auto_merge": True, "auto_merge_delay_minutes": delay, "code_review": False})
    town.config(merge_strategy="pr", refinery={"auto_merge_delay_minutes": delay, "code_review": False})
    for number in range(1, COUNT + 1):
        name = f"m{number:02}"
        town.bead(f"s{number:02}", status="in_review")
        town.review(
            name,
            "in_progress",
            of=f"s{number:02}",
            pr_url=f"{PR}{number}",
            branch=f"gt/toast/{number:02}",
            created_at=ago(hours=1, minutes=-number),
        )
    world = a_world(town)
    world.forge = forge = StrictForge(clock=world.clock)
    for number in range(1, COUNT + 1):
        forge.has(number, checks_take=checks_take + apart * number)
    return world


def lived(world: World, hours: float) -> StrictForge:
    forge = world.forge
    assert isinstance(forge, StrictForge)
    end = world.clock.now() + timedelta(hours=hours)
    while world.clock.now() < end and len(forge.merged) < COUNT:
        world.live_through(timedelta(minutes=10), every=timedelta(seconds=30))
    return forge


@scenario(360)
def test_twenty_pull_requests_behind_a_strict_base_cost_at_most_forty_runs_of_the_checks() -> None:
    world = a_strict_world(delay=0)
    forge = lived(world, hours=8)
    assert len(forge.merged) == COUNT
    assert forge.merged == [f"{PR}{number}" for number in range(1, COUNT + 1)]
    assert forge.runs <= 2 * COUNT
    assert effects(world.town(), "update_branch") == [("done", f"m{n:02}", 1) for n in range(2, COUNT + 1)]


@scenario(360)
def test_it_costs_no_more_if_their_own_checks_end_at_different_times() -> None:
    forge = lived(a_strict_world(delay=1, apart=timedelta(minutes=2)), hours=8)
    assert len(forge.merged) == COUNT
    assert forge.runs <= 2 * COUNT


@scenario(360)
def test_no_branch_is_updated_more_than_five_times_for_one_head_of_its_own() -> None:
    """Somebody else merges into the base all the time."""
    world = a_strict_world(delay=0)
    forge = world.forge
    assert isinstance(forge, StrictForge)
    end = world.clock.now() + timedelta(hours=3)
    while world.clock.now() < end:
        forge.base += 1
        world.live_through(timedelta(minutes=2), every=timedelta(seconds=30))
    assert max(branch.runs for branch in forge.branches.values()) <= 1 + limits.BRANCH_UPDATES
