"""Users and operators: they create, cancel, reopen, evict and change their minds, at any time."""

from functools import partial
from random import Random
from typing import Any, Final

from shared.domain import limits
from shared.events.containers import drain_nonce
from shared.events.convoys import task_id
from shared.town import database
from shared.town.town_keys import TownKeys
from tests.simulation.agents import SimulatedRuntime
from tests.simulation.ground import Ground, Post
from tests.simulation.scheduler import MINUTE, SECOND
from tests.simulation.strange_town import DEAD_REFINERY

RIG: Final = "rig-1"
_OF_PRODUCTION: Final = limits.EVENTS_PER_TICK
_PRIORITIES: Final = ("low", "medium", "high", "critical")
_SETTINGS: Final[tuple[dict[str, Any], ...]] = (
    {"max_dispatch_attempts": 3},
    {"max_dispatch_attempts": 5},
    {"on_failed_dependency": "proceed"},
    {"on_failed_dependency": "hold"},
    {"max_polecats_per_rig": 1},
    {"max_polecats_per_rig": None},
    {"refinery": {"auto_merge_delay_minutes": None}},
    {"refinery": {"auto_merge_delay_minutes": 0}},
    {"refinery": {"auto_resolve_pr_feedback": True}},
    {"refinery": {"code_review": False}},  # refused where it would never land
    {"refinery": {"code_review": True}},
    {"alarm_interval_active": 10},
    {"default_model": "another"},
    {"budget": {"per_bead": {"tokens": 60_000}}},
    {"budget": {"per_day": {"usd": 2.0}}},
    {"budget": {"per_convoy": {"tokens": 90_000}, "per_bead": None, "per_day": None}},
    {"refinery": {"trusted_authors": ["the-town"]}},
    {"refinery": {"trusted_authors": []}},
    {"refinery": {"auto_merge": False}},
    {"refinery": {"auto_merge": True}},
)
_BACKLOG: Final = 1_200
_SAYS_MUCH: Final = 0.1
"""The share of the towns for which so much may wait at once."""
_NO_BUDGET: Final = {"budget": {"per_bead": None, "per_day": None, "per_convoy": None}}


class People:
    """The people of one town."""

    def __init__(self, ground: Ground, post: Post, runtime: SimulatedRuntime, town_id: str) -> None:
        self._ground = ground
        self._post = post
        self._runtime = runtime
        self._random = Random(f"{ground.random.random()} people")
        self._town = town_id
        self._wanted: list[str] = []
        self._convoys: list[str] = []
        self._misnamed: list[str] = []
        self.most_beads = 8
        self.paused = False
        self.imported = False
        self._has_flooded = False
        self._seen: bytes | None = None
        self._has_budget = False
        self._says_much = self._random.random() < _SAYS_MUCH
        self.calm = False

    def begin(self) -> None:
        """Ask for a first bead and for a convoy; more will follow."""
        self.want_bead()
        if self._random.random() < 0.6:
            self.want_convoy()
        if self.paused:
            self._ground.scheduler.after(self._random.randrange(MINUTE, 6 * MINUTE), self._start_town)
        self._again()

    def _start_town(self) -> None:
        self._send("town_started", {"by": "user"})
        if self.imported:
            self._ground.scheduler.after(self._random.randrange(MINUTE, 3 * MINUTE), self._reset_dead_refinery)

    def _reset_dead_refinery(self) -> None:
        self._post.send(self._town, "agent_reset", {"by": "user"}, agent=DEAD_REFINERY)

    def calm_down(self) -> None:
        """No more wishes; what was staged is started, and there is money enough."""
        self.calm = True
        if self.paused:
            self._start_town()
        self._configure_as(_NO_BUDGET)
        for convoy in self._convoys:
            self._post.send(self._town, "convoy_started", {"convoy_id": convoy})
        for review in self._misnamed:
            self._send("bead_cancelled", {}, bead=review)

    def look_again(self) -> None:
        """Say again what has not come about: what came in by a clock that is behind is applied before what it should change."""
        ledger = self._ground.checks.ledgers[self._town]
        for review in self._misnamed:
            _, status = ledger.statuses.get(review, ("", "closed"))
            if status not in ("closed", "failed"):
                self._send("bead_cancelled", {}, bead=review)
        if ledger.image is not self._seen:
            self._seen = ledger.image
            with database.opened(ledger.image) as sql:
                budget = TownKeys(sql).config.get("budget") or {}
            self._has_budget = any(most is not None for most in budget.values())
        if self._has_budget:
            self._configure_as(_NO_BUDGET)

    def _again(self) -> None:
        self._ground.scheduler.after(self._random.randrange(10 * SECOND, 4 * MINUTE), self._act)

    def _act(self) -> None:
        if self.calm:
            return
        wishes = (
            (5, self.want_bead),
            (1, self.want_convoy),
            (1, self._cancel),
            (0.5, self._cancel_something),
            (1, self._change_convoy),
            (1, self._write_to_the_mayor),
            (1, self._reopen),
            (1, self._evict),
            (2, self._configure),
            (1, self._reset),
            (1, self._update),
            (1, self._start_convoy),
            (0.6, self._close_convoy),
            (0.5, self._escalate),
            (0.5, self._adopt),
            (1, self._babysit),
            (0.3, self._close_a_pull_request),
            (0.3, self._give_up_a_convoy),
            (0.3, self._flood),
        )
        weights = [weight for weight, _ in wishes]
        self._random.choices([wish for _, wish in wishes], weights)[0]()
        if self._ground.plan.happens("poison_event"):
            self._post.poison(self._town)
        if self._says_much and self._wanted and self._ground.plan.happens("backlog"):
            self._says_much = False
            self._post.say_much(self._town, self._random.choice(self._wanted), _BACKLOG)
        self._again()

    def want_bead(self) -> None:
        if len(self._wanted) >= self.most_beads:
            return
        bead_id = f"{self._town}-bead-{len(self._wanted) + 1}"
        bead = {
            "bead_id": bead_id,
            "type": "issue",
            "title": f"canary of {self._town}: {bead_id}",
            "rig_id": RIG,
            "priority": self._random.choice(_PRIORITIES),
            "depends_on": [self._random.choice(self._wanted)] if self._wanted and self._random.random() < 0.4 else [],
        }
        if self._random.random() < 0.05:
            bead["labels"] = ["gt:held"]
        if self._random.random() < 0.03:
            del bead["rig_id"]
        if self._random.random() < 0.1:
            bead["depends_on"] = [f"{self._town}-bead-{len(self._wanted) + 2}"]  # it comes later, or never
        self._wanted.append(bead_id)
        self._post.send(self._town, "bead_created", {"bead": bead})

    def want_convoy(self) -> None:
        tasks = self._random.randrange(1, 4)
        if len(self._wanted) + tasks > self.most_beads or len(self._convoys) == 2:
            return
        convoy_id = f"{self._town}-convoy-{len(self._convoys) + 1}"
        payload: dict[str, Any] = {
            "convoy_id": convoy_id,
            "title": convoy_id,
            "rig_id": RIG,
            "staged": self._random.random() < 0.2,
            "tasks": [
                {
                    "title": f"task {number}",
                    "depends_on": [number - 1] if number and self._random.random() < 0.5 else [],
                }
                for number in range(tasks)
            ],
        }
        if self._random.random() < 0.35:
            payload["merge_mode"] = "review-and-merge"
        self._convoys.append(convoy_id)
        self._wanted += [task_id(self._town, convoy_id, number) for number in range(tasks)]
        self._post.send(self._town, "convoy_created", payload)

    def _cancel(self) -> None:
        if self._wanted and self._random.random() < 0.5:
            status = self._random.choice(("closed", "failed"))
            self._send("bead_cancelled", {"cancel_status": status}, bead=self._random.choice(self._wanted))

    def _cancel_something(self) -> None:
        """A review, a landing or a whole convoy."""
        statuses = self._ground.checks.ledgers[self._town].statuses
        live = [
            bead
            for bead, (kind, status) in sorted(statuses.items())
            if kind in ("merge_request", "convoy") and status not in ("closed", "failed")
        ]
        if live:
            self._send("bead_cancelled", {}, bead=self._random.choice(live))

    def _change_convoy(self) -> None:
        if self._convoys and self._wanted:
            verb = self._random.choice(("add", "remove"))
            named = [self._random.choice(self._wanted)]
            self._send("convoy_changed", {"convoy_id": self._random.choice(self._convoys), verb: named})

    def _write_to_the_mayor(self) -> None:
        mail = {"bead_id": self._post.new_id("mail"), "type": "message", "title": "what about it?"}
        self._send("bead_created", {"bead": mail})

    def _reopen(self) -> None:
        statuses = self._ground.checks.ledgers[self._town].statuses
        failed = sorted(
            bead for bead, (kind, status) in statuses.items() if status == "failed" and kind in ("issue", "convoy")
        )
        if failed:
            self._send("bead_reopened", {"by": "user"}, bead=self._random.choice(failed))

    def _evict(self) -> None:
        event_id = self._send("container_eviction", {})
        self._runtime.evict(self._town)
        if self._random.random() < 0.5:
            ready = partial(self._send, "container_ready", {"nonce": drain_nonce(self._town, event_id)})
            self._ground.scheduler.after(self._random.randrange(5 * SECOND, 3 * MINUTE), lambda: _ignore(ready()))

    def _configure(self) -> None:
        self._configure_as(self._random.choice(_SETTINGS))

    def _configure_as(self, config: dict[str, Any]) -> None:
        self._send("town_configured", {"config": config})

    def _adopt(self) -> None:
        """Somebody takes over what a stranger has opened."""
        statuses = self._ground.checks.ledgers[self._town].statuses
        live = [
            bead
            for bead, (kind, status) in sorted(statuses.items())
            if kind == "merge_request" and status not in ("closed", "failed")
        ]
        if live:
            self._send("pr_adopted", {"by": "user"}, bead=self._random.choice(live))

    def _babysit(self) -> None:
        """Somebody wants the town to look after a pull request of his own."""
        url, branch = self._runtime.forge.opened_by_people(self._git_url)
        wish = {"bead_id": self._post.new_id("own"), "type": "merge_request", "title": "mine", "rig_id": RIG}
        if self._random.random() < 0.4:
            branch = "people/none"  # he looked at the wrong one, and cancels it in the end
            self._misnamed.append(wish["bead_id"])
        bead = {**wish, "metadata": {"babysit": True}, "branch": branch, "pr_url": url}
        self._send("bead_created", {"bead": bead})

    def _close_a_pull_request(self) -> None:
        self._runtime.forge.close_one(self._git_url)

    def _give_up_a_convoy(self) -> None:
        """All its tasks are cancelled."""
        if self._convoys:
            prefix = self._random.choice(self._convoys)
            tracked = self._ground.checks.ledgers[self._town].tracks.get(prefix, ())
            for task in tracked:
                self._send("bead_cancelled", {"cancel_status": "failed"}, bead=task)

    @property
    def _git_url(self) -> str:
        return f"https://github.com/acme/{self._town}.git"

    def _flood(self) -> None:
        """A program of the operator says more at once than a tick takes."""
        if self._wanted and not self._has_flooded:
            self._has_flooded = True
            for number in range(limits.EVENTS_PER_TICK * 3 // 2 if limits.EVENTS_PER_TICK < _OF_PRODUCTION else 20):
                self._send(
                    "bead_updated", {"body": f"in other words, {number}"}, bead=self._random.choice(self._wanted)
                )

    def _reset(self) -> None:
        agents = sorted(agent for town, agent in self._runtime.lives if town == self._town)
        if agents:
            self._post.send(self._town, "agent_reset", {"by": "user"}, agent=self._random.choice(agents))

    def _update(self) -> None:
        if self._wanted:
            self._send("bead_updated", {"body": "in other words"}, bead=self._random.choice(self._wanted))

    def _start_convoy(self) -> None:
        if self._convoys:
            self._send("convoy_started", {"convoy_id": self._random.choice(self._convoys)})

    def _close_convoy(self) -> None:
        if self._convoys:
            self._send("convoy_closed", {"convoy_id": self._random.choice(self._convoys), "by": "user"})

    def _escalate(self) -> None:
        self._send("escalation_raised", {"title": "look at this", "severity": self._random.choice(_PRIORITIES)})

    def _send(self, event_type: str, payload: dict[str, Any], *, bead: str | None = None) -> str:
        return self._post.send(self._town, event_type, payload, bead=bead)


def _ignore(_: str) -> None:
    """The event id is of no use."""
