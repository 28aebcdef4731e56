"""Towns whose pull requests live at a fake GitHub: agents that open, review and mend them, and time that passes.

Agents act as soon as they are started, by the kind of their order; the worker, the outbox performer, the adapter and
HTTP between them are the real ones.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from infra.devstack.fake_forge import Pull
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from shared.domain import limits
from shared.domain.orders import OrderedBead, StartOrder
from shared.domain.repositories import pull_request_at
from shared.ports.forge import SourceForge
from shared.ports.steps import drive
from shared.questions import status as reports
from shared.questions.failures import FailedLine
from tests.forge_sites import Served, served
from tests.towns import TOWN, TownBuilder, a_town, event
from tests.worlds import World, a_world

PROJECT = "acme/main-rig"
"""The repository of rig-1."""

REFINERY = {"auto_merge_delay_minutes": 5, "auto_resolve_pr_feedback": True}


@dataclass
class Life:
    """A world with a fake GitHub. `lazy` are the kinds of order that agents get and do nothing about."""

    world: World
    served: Served
    lazy: set[str] = field(default_factory=set)
    orders: list[tuple[str, str]] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    _done: int = 0

    @property
    def github(self) -> FakeGitHub | FakeGitLab:
        """The server; some lives are lived at GitLab."""
        return self.served.server

    @property
    def pull(self) -> Pull:
        """The newest pull request."""
        return self.github.site.pulls[-1]

    @property
    def town(self) -> TownBuilder:
        return self.world.town()

    def passes(self, span: timedelta) -> None:
        """Time passes; agents do what they are told."""
        end = self.world.clock.now() + span
        while self.world.clock.now() < end:
            self.world.clock.at += limits.ACTIVE_INTERVAL
            self.world.look()
            self._agents_act()

    def until(self, happened: Callable[[], bool], *, minutes: float = 60) -> None:
        """Time passes until something is so."""
        end = self.world.clock.now() + timedelta(minutes=minutes)
        while not happened():
            assert self.world.clock.now() < end, (self.failed(), self.waits())
            self.passes(limits.ACTIVE_INTERVAL)

    def finishes(self, kind: str) -> None:
        """The newest agent that idles over an order of that kind does its work after all."""
        self._act([order for order in self.world.runtime.orders if order.prompt_kind == kind][-1])

    def status(self, bead_id: str) -> str | None:
        return self.town.status(bead_id)

    def reviews(self) -> list[tuple[str, str]]:
        """Every merge request with its status, by creation."""
        return self.town.rows(
            "SELECT bead_id, status FROM beads WHERE type = 'merge_request' ORDER BY created_at, bead_id"
        )

    def labelled(self, label: str) -> list[str]:
        """The status of every bead with a label, by creation."""
        found = self.town.rows(
            "SELECT status FROM beads WHERE labels LIKE ? ORDER BY created_at, bead_id", f'%"{label}"%'
        )
        return [status for (status,) in found]

    def dispatched(self, kind: str) -> int:
        """How many agents were ever started with that kind of order."""
        return sum(each == kind for each, _ in self.orders)

    def waits(self) -> dict[str, str]:
        """Why each bead waits, as `townctl town status` says."""
        report = drive(reports.status(TOWN, self.world.around))
        return {waiting.bead_id: waiting.reason for waiting in report.waiting if waiting.reason is not None}

    def failed(self) -> dict[str, FailedLine]:
        """What failed and why, as `townctl town status` says."""
        return {bead.bead_id: bead for bead in drive(reports.status(TOWN, self.world.around)).failed}

    def refused(self) -> dict[str, str]:
        """What the forge said no to, as `townctl town status` says, by kind of call."""
        return {line.effect: line.said for line in drive(reports.status(TOWN, self.world.around)).refused_by_forge}

    # agents

    def _agents_act(self) -> None:
        orders = self.world.runtime.orders
        while self._done < len(orders):
            order = orders[self._done]
            self._done += 1
            self.orders.append((order.prompt_kind or "", bead_of(order).id))
            if order.prompt_kind not in self.lazy:
                self._act(order)

    def _act(self, order: StartOrder) -> None:
        kind, done = order.prompt_kind, {"branch": order.branch or f"gt/{bead_of(order).id}"}
        if kind in ("work", "landing"):
            head = done["branch"]
            base = order.target_branch or order.feature_branch or "main"
            pull = self.github.site.opens(PROJECT, head=head, base=base, title=bead_of(order).title)
            done["pr_url"], done["head"] = self.github.url_of(pull), pull.sha
        elif kind == "review":
            done["pr_url"], done["head"] = order.pr_url or "", self._pull_of(order).sha
        elif kind == "pr_feedback":
            pull = self._pull_of(order)
            self.github.site.resolves(pull)
            self.github.site.pushes(pull)
            pull.checks = dict.fromkeys(pull.checks, "success")
        elif kind == "pr_conflict":
            self.github.site.pushes(self._pull_of(order))
        generation, agent = order.generation, order.agent_id
        name = f"done-{agent}-{generation}"
        self.world.post(
            event(
                "agent_done", {**done, "generation": generation}, event_id=name, agent=agent, at=self.world.clock.now()
            )
        )
        self.world.runtime.exits(agent)

    def _pull_of(self, order: StartOrder) -> Pull:
        address = pull_request_at(order.pr_url or "")
        assert address is not None
        found = self.github.site.find(PROJECT, address.number)
        assert found is not None
        return found


def bead_of(order: StartOrder) -> OrderedBead:
    """The bead of an order; the mayor's has none."""
    assert order.bead is not None
    return order.bead


@contextmanager
def a_life(
    *,
    refinery: Mapping[str, Any] | None = None,
    forge: SourceForge | None = None,
    server: FakeGitHub | FakeGitLab | None = None,
) -> Iterator[Life]:
    """A town with one rig, its pull requests at a fake GitHub unless another server is given."""
    server = server or FakeGitHub()
    town = a_town().config(merge_strategy="pr", refinery={**REFINERY, **(refinery or {})})
    town.update("rigs", "rig-1", git_url=f"https://{server.host}/{PROJECT}.git")
    world = a_world(town)
    with served(server, clock=world.clock) as site:
        world.forge = forge or site.forge  # type: ignore[assignment]  # a real adapter in the fake's place
        yield Life(world, site)


def a_convoy(life: Life, *, mode: str = "review-and-merge") -> str:
    """Somebody files a convoy of one task; returns the task's id."""
    payload = {
        "convoy_id": "convoy",
        "title": "Build it",
        "rig_id": "rig-1",
        "merge_mode": mode,
        "staged": False,
        "tasks": [{"title": "The one task", "depends_on": []}],
    }
    life.world.post(event("convoy_created", payload, at=life.world.clock.now()))
    life.passes(limits.ACTIVE_INTERVAL)
    [(task,)] = life.town.rows("SELECT bead_id FROM beads WHERE title = 'The one task'")
    return str(task)
