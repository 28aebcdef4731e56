"""Towns at both fake forges for the scenarios "true to the forge": what agents report, people do, and forges answer.

    with a_scene(FakeGitLab()) as scene:
        scene.reports["work"] = lambda order, report: {**report, "pr_url": another}
        a_convoy(scene)
        scene.until(lambda: scene.failed() != {})

Time passes from one due tick to the next, so that a week costs no more than what happens in it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import pytest

from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from infra.devstack.fake_site import Pull
from shared.domain import limits
from shared.domain.orders import StartOrder
from tests.forge_sites import served
from tests.pull_request_life import PROJECT, REFINERY, Life, bead_of
from tests.towns import a_town, event
from tests.worlds import a_world

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)

Server = FakeGitHub | FakeGitLab
Report = dict[str, Any]

on_both_forges = pytest.mark.parametrize("server", [FakeGitHub, FakeGitLab])


@dataclass
class Scene(Life):
    """A life at a forge. `reports` change what agents of a kind of order say; None: they say nothing."""

    reports: dict[str, Callable[[StartOrder, Report], Report | None]] = field(default_factory=dict)

    @property
    def site(self) -> Any:
        return self.github.site

    def passes(self, span: timedelta, *, step: timedelta = limits.ACTIVE_INTERVAL) -> None:
        """Time passes, from one due tick to the next. With a longer `step`, the town is looked at more rarely."""
        end = self.world.clock.now() + span
        while self.world.clock.now() < end:
            due = min(self.world.markers(), default=end)
            now = self.world.clock.now()
            self.world.clock.at = min(max(due, now + step), end)
            self.world.look()
            self._agents_act()

    def until(self, happened: Callable[[], bool], *, minutes: float = 60) -> None:
        """Time passes until something is so."""
        end = self.world.clock.now() + timedelta(minutes=minutes)
        while not happened():
            assert self.world.clock.now() < end, (self.failed(), self.waits(), self.beads())
            due = min(self.world.markers(), default=end)
            now = self.world.clock.now()
            self.passes(max(min(due, end) - now, limits.ACTIVE_INTERVAL))

    def posts(self, event_type: str, payload: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Somebody tells the town something, and the town looks at it."""
        self.world.post(event(event_type, payload, at=self.world.clock.now(), **more))
        self.passes(limits.ACTIVE_INTERVAL)

    def task(self, bead_id: str, **payload: Any) -> None:
        """Somebody files a task outside of any convoy."""
        bead = {"bead_id": bead_id, "type": "issue", "title": bead_id, "rig_id": "rig-1", **payload}
        self.posts("bead_created", {"bead": bead})

    # questions

    def beads(self) -> list[tuple[str, str, str]]:
        """Type, title and status of everything that is work."""
        return self.town.rows(
            "SELECT type, title, status FROM beads WHERE type NOT IN ('agent', 'message') ORDER BY created_at, bead_id"
        )

    def review_of(self, task: str) -> str:
        """The newest review of a bead."""
        found = self.town.rows(
            "SELECT b.bead_id FROM beads b JOIN bead_dependencies d USING (bead_id) WHERE b.type = 'merge_request' "
            "AND d.dependency_type = 'tracks' AND d.depends_on_bead_id = ? ORDER BY b.created_at, b.bead_id",
            task,
        )
        return str(found[-1][0])

    def escalations(self, *, live: bool = False) -> list[str]:
        """The titles of all escalations, or of those that are not closed."""
        return [
            title
            for title, status in self.town.rows(
                "SELECT title, status FROM beads WHERE type = 'escalation' ORDER BY created_at, bead_id"
            )
            if not live or status not in ("closed", "failed")
        ]

    def starts(self, bead_id: str | None = None) -> list[str]:
        """The kinds of order that were started, of a bead or of all, without the mayor's and triage agents'."""
        kinds = ("work", "review", "landing", "pr_feedback", "pr_conflict", "rework")
        return [
            order.prompt_kind
            for order in self.world.runtime.orders
            if order.prompt_kind in kinds and order.bead is not None and bead_id in (None, order.bead.id)
        ]

    def merged(self) -> list[tuple[str, str, str, str]]:
        """The forge's own log: repository, head and base of each merge, and who made it."""
        return list(self.site.merged)

    def merged_by_town(self) -> list[tuple[str, str, str]]:
        """What the town merged: repository, head and base."""
        return [(project, head, base) for project, head, base, by in self.merged() if by != "person"]

    def outcome_of(self, event_id: str) -> str | None:
        """What became of an event, as the journal tells."""
        for row in reversed(self.world.journal()):
            for told in row["outputs"]["events"]:
                if told["event_id"] == event_id:
                    return str(told["outcome"])
        return None

    # agents

    def _act(self, order: StartOrder) -> None:
        kind = order.prompt_kind or ""
        report = self._did(order, kind)
        change = self.reports.get(kind)
        told = report if change is None else change(order, report)
        self.story.append(f"{kind} {bead_of(order).title}")
        if told is None:
            return
        name = f"done-{order.agent_id}-{order.generation}"
        said = event(
            "agent_done",
            {**told, "generation": order.generation},
            event_id=name,
            agent=order.agent_id,
            at=self.world.clock.now(),
        )
        self.world.post(said)
        self.world.runtime.exits(order.agent_id)

    def _did(self, order: StartOrder, kind: str) -> Report:
        report: Report = {"branch": order.branch or f"gt/{bead_of(order).id}"}
        if kind in ("work", "landing"):
            base = order.target_branch or order.feature_branch or "main"
            pull = self.site.opens(PROJECT, head=report["branch"], base=base, title=bead_of(order).title)
            return {**report, "pr_url": self.github.url_of(pull), "head": pull.sha}
        pull = self._pull_of(order)
        if kind == "pr_feedback":
            self.site.resolves(pull)
            self.site.pushes(pull)
            pull.checks = dict.fromkeys(pull.checks, "success")
        elif kind == "pr_conflict":
            self.site.pushes(pull)
        report["head"] = pull.sha
        return report if kind != "review" else {**report, "pr_url": order.pr_url}


@contextmanager
def a_scene(
    server: Callable[[], Server] = FakeGitHub, *, config: Mapping[str, Any] | None = None, **refinery: Any
) -> Iterator[Scene]:
    """A town with the rig rig-1 at a forge, and beside it rig-2 at the same forge, in which nothing is filed."""
    forge = server()
    given = {"merge_strategy": "pr", **(config or {})}
    town = a_town().config(**given, refinery={**REFINERY, "auto_merge_delay_minutes": 1, **refinery})
    town.update("rigs", "rig-1", git_url=f"https://{forge.host}/{PROJECT}.git")
    town.rig("rig-2", name="other-rig", git_url=f"https://{forge.host}/acme/other-rig.git")
    world = a_world(town)
    with served(forge, clock=world.clock) as site:
        site.site.home(PROJECT)
        site.site.home("acme/other-rig")
        world.forge = site.forge  # type: ignore[assignment]  # a real adapter in the fake's place
        yield Scene(world, site)


def once(change: Callable[[StartOrder, Report], Report | None]) -> Callable[[StartOrder, Report], Report | None]:
    """The first agent reports that; every later one the truth."""
    left = [change]

    def tell(order: StartOrder, report: Report) -> Report | None:
        return left.pop()(order, report) if left else report

    return tell


def pull_of(scene: Scene, branch: str) -> Pull:
    """The newest pull request of a branch in the rig's own repository."""
    home = scene.site.home(PROJECT).id
    return [each for each in scene.site.pulls if (each.head, each.head_home, each.home) == (branch, home, home)][-1]
