"""A town that lives beside a hostile forge: its effects are performed by the real performers, its agents say anything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from shared.domain.orders import ModelOrder, OrderedRig, StartOrder, TokenOrder
from shared.domain.processes import ProcessStatus
from shared.domain.report import ClaimedEffect
from shared.images import first_image
from shared.ports.runtime import Done, NotDone, Started, StartRejected, StartUnknown
from shared.ports.steps import Steps, drive
from shared.runner.perform import Outside, perform
from shared.town import database
from tests.fakes import FakeClock, plain_time
from tests.properties.facts import Fact
from tests.properties.forge_world import FORK, MOODS, TO_A_PULL, HostileForge, Pull
from tests.properties.life import Life
from tests.properties.outside import Answers
from tests.properties.steps import Post, Step
from tests.properties.views import AgentRow
from tests.towns import TOWN, TownBuilder


@dataclass(frozen=True)
class Happen:
    """Something happens at the forge: to the nth pull request, or to how it answers."""

    what: str
    pick: int = 0


@dataclass(frozen=True)
class Days:
    """Some ticks in a row; meanwhile all workers and reviewers behave in one way."""

    ticks: int = 1
    move: str = "due"
    workers: str = "works"
    reviewers: str = "reviews"


@dataclass(frozen=True)
class Wait:
    """Hours pass without a tick; agents, where there are any, beat."""

    hours: int = 25


@dataclass(frozen=True)
class Adopt:
    """An operator has the town watch over a pull request: the nth one, or a new one of a stranger or of a fork."""

    whose: str = "any"
    pick: int = 0


ForgeStep = Happen | Days | Wait | Adopt | Post


@dataclass
class Processes:
    """The runtime port: what runs, by agent and generation, with its order."""

    running: dict[tuple[str, int], StartOrder] = field(default_factory=dict)
    started: list[StartOrder] = field(default_factory=list)

    def start(self, order: StartOrder, *, effect_id: str) -> Started | StartRejected | StartUnknown:
        self.running = {key: each for key, each in self.running.items() if key[0] != order.agent_id}
        self.running[order.agent_id, order.generation] = order
        self.started.append(order)
        return Started(effect_id)

    def stop(self, town_id: str, agent_id: str, *, generation: int, effect_id: str) -> Done | NotDone:
        self.running.pop((agent_id, generation), None)
        return Done()

    def status(self, town_id: str, agent_id: str) -> ProcessStatus:
        return ProcessStatus("running" if any(key[0] == agent_id for key in self.running) else "not_found")

    def heard(self, town_id: str, seen: Sequence[tuple[str, ProcessStatus]]) -> None:
        pass

    def message(self, town_id: str, agent_id: str, *, message_id: str, text: str, mode: str) -> Done | NotDone:
        return Done()

    def update_model(self, order: ModelOrder, *, effect_id: str) -> Done | NotDone:
        return Done()

    def refresh_token(self, order: TokenOrder, *, effect_id: str) -> Done | NotDone:
        return Done()

    def stop_container(self, town_id: str, *, effect_id: str) -> Done | NotDone:
        return Done()

    def container_state(self, town_id: str) -> str:
        return "running"


@dataclass
class ForgeLife(Life):
    """A life whose outside has state."""

    forge: HostileForge = field(default_factory=HostileForge)
    processes: Processes = field(default_factory=Processes)
    merging: dict[str, str] = field(default_factory=dict)
    """For which MR the town asked to merge a pull request last, by URL."""

    def acts(self, *steps: ForgeStep) -> "ForgeLife":
        """Play steps in order."""
        for step in steps:
            self._act(step)
        return self

    def _act(self, step: ForgeStep) -> None:
        match step:
            case Happen():
                self._happen(step)
            case Days():
                for _ in range(step.ticks):
                    self._day(step)
            case Wait():
                self.now += timedelta(hours=step.hours)
                self._day(Days(1, "ms", "beats", "beats"))
            case Adopt():
                self._adopt(step)
            case Post():
                self._play(step)

    def _adopt(self, step: Adopt) -> None:
        base = ("acme/rig-1", "main")
        if step.whose != "any":
            head = (FORK if step.whose == "fork" else base[0], "their-work")
            self.forge.push(*head)
            pull = self.forge.opens(head, base, "stranger")
        elif self.forge.pulls:
            pull = list(self.forge.pulls.values())[step.pick % len(self.forge.pulls)]
        else:
            return
        rig = pull.base_repository.removeprefix("acme/")
        bead = {"bead_id": f"adopted-{self.count}", "type": "merge_request", "title": "Theirs", "rig_id": rig}
        metadata = {"babysit": True, "pr_url": pull.url}
        given = {**bead, "branch": pull.head_branch, "pr_url": pull.url, "metadata": metadata}
        self.post("bead_created", Fact({"bead": given}))

    def _happen(self, step: Happen) -> None:
        if step.what in MOODS:
            for name, value in MOODS[step.what].items():
                setattr(self.forge, name, value)
            return
        pulls = list(self.forge.pulls.values())
        if pulls:
            TO_A_PULL[step.what](self.forge, pulls[step.pick % len(pulls)])

    def _day(self, step: Days) -> None:
        self.move(step.move)
        for agent in self.view().at_work():
            behaviour = step.reviewers if agent.role == "refinery" else step.workers
            order = self.processes.running.get((agent.id, agent.generation))
            if order is not None:
                for event_type, fact in says(behaviour, agent, order, self.forge):
                    self.post(event_type, fact)
                    if event_type in ("agent_done", "agent_completed"):
                        self.processes.running.pop((agent.id, agent.generation), None)
        seen = {agent.id: self._seen(agent) for agent in self.view().at_work()}
        for effect in self.tick(seen=seen).effects:
            self._perform(effect, Answers())

    def _seen(self, agent: AgentRow) -> ProcessStatus:
        if (agent.id, agent.generation) in self.processes.running:
            return ProcessStatus("running", None, agent.generation)
        return ProcessStatus("not_found")

    def _perform(self, effect: ClaimedEffect, answers: Answers) -> None:
        """Perform it for good, at the hostile forge; the answer arrives a second later."""
        posted: list[dict[str, Any]] = []

        def post(results: tuple[dict[str, Any], ...]) -> Steps[None]:
            posted.extend(results)
            yield from ()

        if effect.kind == "merge_pr":
            self.merging[str(effect.payload.get("pr_url"))] = effect.subject
        outside = Outside(runtime=self.processes, forge=self.forge)
        drive(perform((effect,), outside, time=plain_time(FakeClock(self.now)), claimed_at=self.now, post=post))
        for result in posted:
            arrives = self.now + timedelta(seconds=1)
            fact = Fact(result["payload"], result.get("agent_id"), result.get("bead_id"))
            envelope = self._envelope(result["event_type"], fact, source="effect", at=arrives)
            self.coming.append((arrives, replace(envelope, event_id=result["event_id"])))


# agents

Said = list[tuple[str, Fact]]


@dataclass(frozen=True)
class Report:
    """Who reports, and about which order."""

    agent: AgentRow
    order: StartOrder
    forge: HostileForge

    @property
    def repository(self) -> str:
        """The rig's repository."""
        rig = self.order.rig or OrderedRig(git_url="https://github.com/acme/rig-1.git")
        return rig.git_url.removeprefix("https://github.com/").removesuffix(".git")

    @property
    def branch(self) -> str:
        """The branch of the order."""
        return self.order.branch or f"gt/{self.agent.id[:8]}/lost"

    @property
    def target(self) -> str:
        """The branch into which the work is to be merged."""
        return self.order.target_branch or "main"

    def done(self, **said: Any) -> Said:
        """The agent reports that it is done."""
        payload = {"generation": self.agent.generation, "branch": self.branch, "summary": "as asked", **said}
        known = {name: value for name, value in payload.items() if value is not None}
        return [("agent_done", Fact(known, self.agent.id))]

    def opened(self, *, branch: str | None = None, base: str | None = None, repository: str | None = None) -> Pull:
        """A pull request for that branch: the one that is open, or a new one."""
        head = (repository or self.repository, branch or self.branch)
        into = (self.repository, base or self.target)
        for pull in self.forge.pulls.values():
            same = (pull.head_repository, pull.head_branch, pull.base_branch) == (*head, into[1])
            if same and pull.state == "open":
                return pull
        self.forge.push(*head)
        return self.forge.opens(head, into, "bot" if repository is None else "stranger")


def _beats(report: Report) -> Said:
    fact = {"generation": report.agent.generation, "last_event_type": "tool", "active_tools": []}
    return [("agent_heartbeat", Fact(fact, report.agent.id))]


def _works(report: Report) -> Said:
    if report.order.pr_url:
        report.forge.push(report.repository, report.branch)
        return report.done()
    return report.done(pr_url=report.opened().url)


def _works_without(report: Report) -> Said:
    report.forge.push(report.repository, report.branch)
    return report.done()


def _reviews(report: Report) -> Said:
    pull = report.forge.pulls.get(report.order.pr_url or "")
    if pull is None:
        return report.done(pr_url=report.opened().url)
    return report.done(pr_url=pull.url, head=pull.head)


def _merges(report: Report) -> Said:
    """A refinery of the direct strategy merges the branch and reports it."""
    forge, target = report.forge, (report.repository, report.target)
    sha = forge.commit(forge.tip(*target), forge.tip(report.repository, report.branch))
    forge.branches[target] = sha
    return report.done(merge_commit=sha)


def _names(url: Callable[[Report], str]) -> Callable[[Report], Said]:
    return lambda report: report.done(pr_url=url(report))


def _of_a_stranger(report: Report) -> str:
    return report.opened(branch="feature/of-a-stranger").url


def _any_pull(report: Report) -> str:
    return next(iter(report.forge.pulls), "https://github.com/acme/rig-1/pull/404")


def says(behaviour: str, agent: AgentRow, order: StartOrder, forge: HostileForge) -> Said:
    """What an agent reports."""
    report = Report(agent, order, forge)
    return _beats(report) if agent.role == "mayor" else BEHAVIOURS[behaviour](report)


BEHAVIOURS: Final[dict[str, Callable[[Report], Said]]] = {
    "works": _works,
    "reviews": _reviews,
    "works without": _works_without,
    "merges": _merges,
    "beats": _beats,
    "is silent": lambda report: [],
    "gives up": lambda report: [
        ("agent_completed", Fact({"generation": report.agent.generation, "status": "failed"}, report.agent.id))
    ],
    "claims a merge": lambda report: report.done(merge_commit="c0ffee"),
    "claims the root": lambda report: report.done(merge_commit="root", head="root"),
    "names no generation": lambda report: report.done(generation=None, pr_url=report.opened().url),
    "names another branch": lambda report: report.done(branch="gt/other/branch", pr_url=report.opened().url),
    "names main": lambda report: report.done(branch="main"),
    "names refs": lambda report: report.done(branch=f"refs/heads/{report.branch}", pr_url=report.opened().url),
    "names a stranger's": _names(_of_a_stranger),
    "names a fork's": _names(lambda report: report.opened(repository=FORK).url),
    "names another base's": _names(lambda report: report.opened(base="release").url),
    "names another case's": _names(lambda report: report.opened(branch=report.branch.upper()).url),
    "names any": _names(_any_pull),
    "names a missing one": _names(lambda report: f"https://github.com/{report.repository}/pull/404"),
}
"""What all workers, or all reviewers, do in a while."""


# towns


def begins(*, strategy: str = "pr", reviews: bool = True, staged: bool = False) -> ForgeLife:
    """A young town with two rigs, whose pull requests are merged as soon as they are green."""
    config = {
        "merge_strategy": strategy,
        "staged_convoys_default": staged,
        "refinery": {"code_review": reviews, "auto_merge_delay_minutes": 0, "auto_resolve_pr_feedback": True},
    }
    life = ForgeLife(TownBuilder(sql=database.open_image(first_image.found(TOWN, config=config)), tick_no=0))
    rigs: tuple[Step, ...] = (Post("rig_registered", 0, 6), Post("rig_registered", 1, 6))
    life.play(*rigs)
    return life
