"""Users and operators: they create, cancel, reopen, evict and change their minds, at any time."""

from functools import partial
from random import Random
from typing import Any, Final

from shared.events.containers import drain_nonce
from shared.events.convoys import task_id
from tests.simulation.agents import SimulatedRuntime
from tests.simulation.ground import Ground, Post
from tests.simulation.scheduler import MINUTE, SECOND

RIG: Final = "rig-1"
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
)


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
        self.most_beads = 8
        self.calm = False

    def begin(self) -> None:
        """Ask for a first bead and for a convoy; more will follow."""
        self.want_bead()
        if self._random.random() < 0.6:
            self.want_convoy()
        self._again()

    def calm_down(self) -> None:
        """No more wishes; what was staged is started."""
        self.calm = True
        for convoy in self._convoys:
            self._post.send(self._town, "convoy_started", {"convoy_id": convoy})

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
            (0.3, self._close_convoy),
            (0.5, self._escalate),
        )
        weights = [weight for weight, _ in wishes]
        self._random.choices([wish for _, wish in wishes], weights)[0]()
        if self._ground.plan.happens("poison_event"):
            self._post.poison(self._town)
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
            "staged": self._random.random() < 0.3,
            "tasks": [
                {
                    "title": f"task {number}",
                    "depends_on": [number - 1] if number and self._random.random() < 0.5 else [],
                }
                for number in range(tasks)
            ],
        }
        if self._random.random() < 0.5:
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
        self._send("town_configured", {"config": self._random.choice(_SETTINGS)})

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
