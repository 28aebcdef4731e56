"""Scenarios 534 and 535: agents that do literally what their prompts say bring the work of every kind of town into its target.

The engine, git and `town-agent` are real. Each first review of a piece of work asks for changes; where there are no reviews, a
person comments on the pull request. So each story goes through work, review, rework or feedback, and the landing of a convoy.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from shared.domain.orders import StartOrder
from shared.domain.senders import Sender
from shared.intake import ingest
from shared.ports.forge import Comment
from shared.ports.steps import drive
from tests.literal_agents import GitForge, LiteralAgent, an_origin, git, work_through
from tests.scenarios.outside import failure_of
from tests.scenarios.table import scenario
from tests.towns import TOWN, a_town, event
from tests.worlds import World, a_world

LAND, MERGE = "review-then-land", "review-and-merge"
CELLS = [
    pytest.param(
        strategy,
        review_mode,
        code_review,
        mode,
        id=f"{strategy}-{review_mode}-{'reviewed' if code_review else 'unreviewed'}-{mode}",
    )
    for strategy, review_mode, code_review, mode in product(
        ("pr", "direct"), ("rework", "comments"), (True, False), (LAND, MERGE, None)
    )
    if strategy == "pr" or code_review  # the other setting is refused: nothing could ever land
]
PATIENCE = 60
"""The most looks at the town, 20 s apart, until the work is in its target."""


@dataclass
class Story:
    """A town, its repository, and the agents that have worked."""

    world: World
    forge: GitForge
    place: Path
    agents: list[LiteralAgent] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    reported: dict[str, str] = field(default_factory=dict)
    gives_up: bool = False

    def lives_until(self, bead_id: str, *, looks: int = PATIENCE) -> None:
        """Let agents work as they are started, until a bead is closed."""
        for _ in range(looks):
            self.lives_on()
            if self.world.town().status(bead_id) == "closed":
                return
        pytest.fail(f"{bead_id} is not closed: {self.told()}")

    def lives_on(self) -> None:
        """One look at the town; then the agents that it has started do their work."""
        self.world.live_through(timedelta(seconds=20), every=timedelta(seconds=20))
        self._note_outcomes()
        for order in self.world.runtime.orders[len(self.agents) :]:
            self._works(order)

    def told(self) -> list[tuple[Any, ...]]:
        """What the town is like, for a person who reads a failure."""
        rows = self.world.town().rows("SELECT bead_id, type, status, title, metadata FROM beads WHERE type != 'agent'")
        return [*rows, *((agent.order.prompt_kind, agent.called) for agent in self.agents)]

    def _works(self, order: StartOrder) -> None:
        agent = LiteralAgent(order, self.place / f"agent-{len(self.agents)}", self.forge)
        self.agents.append(agent)
        if self.gives_up:
            agent.runs(the_command(agent.order.system_prompt or "", "town-agent give-up"))
        else:
            work_through(agent, judge=self._judge, text=f"start {len(self.agents)}")
        if not order.code_review and order.opens_pr_into and order.prompt_kind == "work" and not self.asked:
            self.asked.add("a person")
            (url, *_) = self.forge.pull_requests
            self.forge.threads[url] = {"P1": Comment("Say why.", "rosa", "README.md", 1, "P1")}
        self._sends(agent)

    def _judge(self, order: StartOrder) -> bool:
        """The first review of each piece of work asks for changes."""
        name = order.branch or ""
        is_good = name in self.asked or order.prompt_kind == "landing"
        self.asked.add(name)
        return is_good

    def _sends(self, agent: LiteralAgent) -> None:
        """The reports reach the town with the token of the agent, which must be entitled to each of them."""
        if not agent.reports:
            return
        sender = Sender(agent.order.scope, agent.order.agent_id, agent.order.generation)
        now = self.world.clock.now()
        batch = ingest.batch_of(agent.reports, received_at=now, sent_by=sender)
        drive(self.world.store.post(TOWN, batch.body, received_at=now, batch_id=f"a{len(self.agents)}", wake=True))

    def _note_outcomes(self) -> None:
        for row in self.world.journal():
            for seen in row["outputs"]["events"]:
                self.reported[seen["event_id"]] = seen["outcome"]

    @property
    def kinds(self) -> set[str | None]:
        """The prompt kinds of all who have worked."""
        return {agent.order.prompt_kind for agent in self.agents}

    def outcomes(self) -> set[str]:
        """What became of the reports of agents. Every one of them has been seen by a tick."""
        sent = [report["event_id"] for agent in self.agents for report in agent.reports]
        found = {event_id.partition("@")[0]: outcome for event_id, outcome in self.reported.items() if "@" in event_id}
        assert set(sent) <= set(found)
        return {found[event_id] for event_id in sent}


def a_story(place: Path, *, strategy: str, review_mode: str, code_review: bool) -> Story:
    """A town with an empty plan and a repository."""
    town = a_town().config(
        merge_strategy=strategy,
        refinery={
            "review_mode": review_mode,
            "code_review": code_review,
            "auto_merge_delay_minutes": 0,
            "auto_resolve_pr_feedback": True,
        },
    )
    world = a_world(town)
    forge = GitForge(origin=an_origin(place))
    world.forge = forge
    return Story(world, forge, place)


def the_command(text: str, begins: str) -> str:
    """A command that a prompt names in the midst of a sentence."""
    return text[text.index(f"`{begins}") + 1 :].partition("`")[0]


def plans(story: Story, mode: str | None) -> str:
    """Plan work of this kind, and return the id of the bead that ends it."""
    if mode is None:
        story.world.post(
            event(
                "bead_created",
                {"bead": {"bead_id": "b", "type": "issue", "title": "Add a door", "rig_id": "rig-1"}},
                source="operator",
            )
        )
        return "b"
    tasks = [{"title": "First"}, {"title": "Second", "depends_on": [0]}]
    convoy = {
        "convoy_id": "c",
        "title": "A house",
        "rig_id": "rig-1",
        "merge_mode": mode,
        "staged": False,
        "tasks": tasks,
    }
    story.world.post(event("convoy_created", convoy, source="operator"))
    return "c"


@scenario(534)
@scenario(535)
@pytest.mark.lengthy
@pytest.mark.parametrize(("strategy", "review_mode", "code_review", "mode"), CELLS)
def test_who_does_what_its_prompt_says_brings_the_work_into_its_target(
    tmp_path: Path, strategy: str, review_mode: str, code_review: bool, mode: str | None
) -> None:
    story = a_story(tmp_path, strategy=strategy, review_mode=review_mode, code_review=code_review)
    story.lives_until(plans(story, mode))
    assert story.outcomes() == {"applied"}
    files = git("ls-tree", "--name-only", "main", at=story.forge.origin).splitlines()
    works = [agent.order.bead.id for agent in story.agents if agent.order.bead and agent.order.prompt_kind == "work"]
    assert {f"work-{bead}.txt" for bead in works} <= set(files)
    assert len(works) == (1 if mode is None else 2), "a piece of work was done twice"
    assert story.kinds & {"rework", "pr_feedback"}
    assert ("landing" in story.kinds) is (mode == LAND)
    open_ones = [url for url, pull in story.forge.pull_requests.items() if pull.state == "open"]
    assert open_ones == []


@scenario(534)
def test_a_conflict_is_resolved_by_the_commands_of_its_prompt(tmp_path: Path) -> None:
    story = a_story(tmp_path, strategy="pr", review_mode="rework", code_review=True)
    story.asked.add("gt/toast/b")  # its first review passes it
    plans(story, None)
    while not story.forge.pull_requests:
        story.lives_on()
    main = tmp_path / "seed"
    (main / "work-b.txt").write_text("somebody else\n", encoding="utf-8")
    git("add", "--all", at=main)
    git("commit", "--quiet", "-m", "the same file", at=main)
    git("push", "--quiet", str(story.forge.origin), "main", at=main)
    story.lives_until("b")
    assert "pr_conflict" in story.kinds
    assert story.outcomes() == {"applied"}
    assert git("show", "main:work-b.txt", at=story.forge.origin) == "both"


@scenario(534)
@scenario(535)
def test_questions_are_answered_by_the_commands_of_their_prompt(tmp_path: Path) -> None:
    story = a_story(tmp_path, strategy="pr", review_mode="rework", code_review=True)
    town = story.world.town().bead("q", labels=["gt:triage-request"], rig_id=None, title="Triage: it hangs")
    world = a_world(town)
    world.forge, story.world = story.forge, world
    story.lives_until("q")
    assert story.kinds == {"triage"}
    assert {agent.order.scope for agent in story.agents} == {"coordinator"}
    assert story.outcomes() == {"applied"}


@scenario(534)
def test_who_gives_up_says_why_and_the_bead_fails_with_that(tmp_path: Path) -> None:
    story = a_story(tmp_path, strategy="pr", review_mode="rework", code_review=True)
    plans(story, None)
    story.gives_up = True
    for _ in range(3):
        story.lives_on()
    assert failure_of(story.world.town(), "b") == ("agent_failed", "REASON", "agent")
