"""Agents, and the runtime that starts them: they work, report, ask for changes, and do everything else that they do.

A `Life` is one process of one agent and generation. What becomes of it is drawn when it starts: most do their work and
say so; others crash, vanish, hang, fall silent and come back as zombies. Once the world is calm, all do their work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Literal, get_args

from shared.domain import limits
from shared.domain.orders import ModelOrder, OrderedBead, StartOrder, TokenOrder
from shared.domain.processes import ProcessState, ProcessStatus, SignOfLife
from shared.domain.senders import Sender
from shared.domain.states import Role, Scope
from shared.domain.times import from_text, to_text
from shared.ports.runtime import Done, NotDone, Started, StartRejected, StartUnknown
from tests.simulation.forge import SimulatedForge
from tests.simulation.ground import Ground, Post
from tests.simulation.scheduler import BEGINNING, HOUR, MINUTE, SECOND

_Trouble = Literal["agent_crashes", "agent_vanishes", "agent_hangs", "agent_mute", "agent_cut_off"]
_FATES: tuple[_Trouble, ...] = get_args(_Trouble)
Fate = Literal["works"] | _Trouble
_HEARTBEAT = 30 * SECOND
_UNHEARD = limits.UNHEARD_AFTER // limits.MILLISECOND
_OLD_SERVERS = 0.3
"""The share of the worlds whose control servers only beat, as those of older releases do."""
_WRONG_CLOCKS = 0.3
_TELLS_USAGE = 0.25
_DEFY = 0.4
"""The share of the agents that hang which no stop ends, until the world is calm."""
_TRIAGE_ANSWERS = ("RESTART", "RESTART_WITH_BACKOFF", "CLOSE_BEAD", "ESCALATE", "NUDGE", "whatever")


@dataclass(eq=False)
class Life:
    """One process. `order` is the start context; the mayor has none and generation 0."""

    town_id: str
    agent_id: str
    generation: int
    order: StartOrder | None
    process_id: str
    fate: Fate = "works"
    alive: bool = True
    status: ProcessState = "running"
    reason: str | None = None
    progress_at: int = 0
    asked_for_changes: bool = False
    tokens: int = 0
    defiant: bool = False
    """Whether it hangs so hard that nothing ends it."""
    taken_at: int | None = None
    """When its server gave the newest sign of life of which it knows that the town has it."""

    @property
    def mayor(self) -> bool:
        return self.generation == 0

    @property
    def scope(self) -> Scope:
        """The scope of its token: the mayor and triage coordinate."""
        return "coordinator" if self.mayor or self.work.prompt_kind == "triage" else "agent"

    @property
    def work(self) -> StartOrder:
        assert self.order is not None
        return self.order

    @property
    def bead(self) -> OrderedBead:
        assert self.work.bead is not None
        return self.work.bead


@dataclass
class SimulatedRuntime:
    """The AgentRuntime port over lives in simulated time."""

    ground: Ground
    post: Post
    forge: SimulatedForge
    lives: dict[tuple[str, str], list[Life]] = field(default_factory=dict)
    answers: dict[str, Started | StartRejected | StartUnknown] = field(default_factory=dict)
    messages: set[str] = field(default_factory=set)
    instances: dict[str, int] = field(default_factory=dict)
    reviewed: set[str] = field(default_factory=set)
    calm: bool = False
    started: int = 0

    def __post_init__(self) -> None:
        self._random = Random(f"{self.ground.random.random()} agents")
        self.old = self._random.random() < _OLD_SERVERS
        self._skew = self._random.choice((-26 * HOUR, 5 * MINUTE)) if self._random.random() < _WRONG_CLOCKS else 0

    # the port

    def start(self, order: StartOrder, *, effect_id: str) -> Started | StartRejected | StartUnknown:
        self.ground.checks.key_used(order.town_id, effect_id)
        known = self.answers.get(effect_id)
        if known is None:
            known = self.answers[effect_id] = self._start(order, effect_id)
        return known

    def _start(self, order: StartOrder, effect_id: str) -> Started | StartRejected | StartUnknown:
        if order.role is Role.MAYOR:
            return self._start_session(order.town_id, order.agent_id)
        happens = self.ground.plan.happens
        if happens("no_program"):
            return StartRejected("no program for agents is configured", "no_agent_program")
        if happens("start_rejected"):
            return StartRejected("no capacity")
        if happens("start_unseen"):
            return StartUnknown("connection lost")
        self.ground.checks.process_started(order.town_id, order.agent_id, order.generation, effect_id)
        life = self._begin(order.town_id, order.agent_id, order.generation, order)
        return StartUnknown("connection lost") if happens("start_unknown") else Started(life.process_id)

    def _start_session(self, town_id: str, agent_id: str) -> Started:
        """A mayor that is told something while none runs. It is no dispatch, and has no generation."""
        for life in self.lives.get((town_id, agent_id), ()):
            self._end(life, "exited", "superseded")
        return Started(self._begin(town_id, agent_id, 0, None).process_id)

    def stop(self, town_id: str, agent_id: str, *, generation: int, effect_id: str) -> Done | NotDone:
        self.ground.checks.key_used(town_id, effect_id)
        if self.ground.plan.happens("stop_fails"):
            return NotDone("no answer", passing=self._random.random() < 0.8)
        for life in self.lives.get((town_id, agent_id), ()):
            if life.generation == generation and life.alive and (life.fate == "agent_cut_off" or life.defiant):
                return NotDone("no answer", passing=True)
            if life.generation == generation:
                self._end(life, "exited", "stopped")
        return Done()

    def status(self, town_id: str, agent_id: str) -> ProcessStatus:
        if self.ground.plan.happens("status_lies"):
            return ProcessStatus(self._random.choice(("not_found", "unknown", "running", "starting", "stopping")))
        lives = self.lives.get((town_id, agent_id))
        if not lives:
            return ProcessStatus("not_found")
        life = lives[-1]
        if life.alive and life.fate == "agent_cut_off":
            return ProcessStatus("unknown")
        return ProcessStatus(life.status, life.reason, life.generation or None, self._sign_of(life))

    def _sign_of(self, life: Life) -> SignOfLife | None:
        """What its control server says of a process that runs, on the server's own clock. A mute one is cut off from it."""
        if self.old or not life.alive or life.fate in ("agent_mute", "agent_cut_off"):
            return None
        self._progress(life)
        at = to_text(self.ground.scheduler.time(skew=self._skew))
        return SignOfLife(at, **self._said(life, skew=self._skew))

    def heard(self, town_id: str, seen: Sequence[tuple[str, ProcessStatus]]) -> None:
        for agent_id, status in seen:
            assert status.sign is not None
            life = self.lives[town_id, agent_id][-1]
            if (life.generation or None) == status.generation:
                life.taken_at = (from_text(status.sign.at) - BEGINNING) // limits.MILLISECOND - self._skew

    def message(self, town_id: str, agent_id: str, *, message_id: str, text: str, mode: str) -> Done | NotDone:
        if self.ground.plan.happens("message_fails"):
            return NotDone("no answer", passing=self._random.random() < 0.8)
        if message_id in self.messages:
            return Done()
        lives = [life for life in self.lives.get((town_id, agent_id), ()) if life.alive]
        if any(life.fate == "agent_cut_off" for life in lives):
            return NotDone("no answer", passing=True)
        if not lives and mode != "queue":
            return NotDone("it is not running", passing=False)
        self.messages.add(message_id)
        for life in lives:
            self._nudged(life)
        if not lives:
            self._begin(town_id, agent_id, 0, None)
        return Done()

    def update_model(self, order: ModelOrder, *, effect_id: str) -> Done | NotDone:
        self.ground.checks.key_used(order.town_id, effect_id)
        return Done()

    def refresh_token(self, order: TokenOrder, *, effect_id: str) -> Done | NotDone:
        self.ground.checks.key_used(order.town_id, effect_id)
        return NotDone("no answer", passing=True) if self.ground.plan.happens("message_fails") else Done()

    def stop_container(self, town_id: str, *, effect_id: str) -> Done | NotDone:
        self.ground.checks.key_used(town_id, effect_id)
        return Done()

    def container_state(self, town_id: str) -> str:
        alive = any(life.alive for (town, _), lives in self.lives.items() if town == town_id for life in lives)
        return "running" if alive else "stopped"

    # lives

    def _begin(self, town_id: str, agent_id: str, generation: int, order: StartOrder | None) -> Life:
        self.started += 1
        fate: Fate = "works"
        for drawn in _FATES:
            if fate == "works" and generation and self.ground.plan.happens(drawn):
                fate = drawn
        life = Life(
            town_id, agent_id, generation, order, f"p{self.started}", fate, progress_at=self.ground.scheduler.now
        )
        self.lives.setdefault((town_id, agent_id), []).append(life)
        self._after(1, 5, partial(self._beat, life))
        if life.mayor:
            self._after(60, 100, partial(self._mayor_waits, life))
        elif fate in ("agent_crashes", "agent_vanishes"):
            status: ProcessState = "exited" if fate == "agent_crashes" else "not_found"
            self._after(1, 120, partial(self._end, life, status, "crashed"))
        elif fate == "agent_hangs":
            life.defiant = self._random.random() < _DEFY
        elif fate == "agent_mute":
            self._after(100, 900, partial(self._comes_back, life))
        elif fate == "agent_cut_off":
            self._after(2400, 2700, partial(self._is_back, life))
        elif fate == "works":
            self._after(10, 100, partial(self._finish, life))
        return life

    def calm_down(self) -> None:
        """From now on everybody does his work; who hangs or is silent comes to an end within some minutes."""
        self.calm = True
        for lives in self.lives.values():
            for life in lives:
                life.defiant = False
                if life.alive and life.fate not in ("works", "agent_cut_off"):
                    do = self._comes_back if life is lives[-1] else partial(self._end, status="exited", reason="old")
                    self._after(1, 90, partial(do, life))

    def _end(self, life: Life, status: ProcessState, reason: str) -> None:
        if life.alive:
            life.alive, life.status, life.reason = False, status, reason

    def evict(self, town_id: str) -> None:
        """The container goes: its processes end, the next ones run in another one."""
        self.instances[town_id] = self.instances.get(town_id, 0) + 1
        for (town, _), lives in self.lives.items():
            for life in lives if town == town_id else ():
                if life.alive and self._random.random() < 0.8:
                    self._after(5, 60, partial(self._end, life, "exited", "container eviction"))

    def _nudged(self, life: Life) -> None:
        life.progress_at = self.ground.scheduler.now
        if life.fate == "agent_hangs" and not life.defiant and self._random.random() < 0.5:
            life.fate = "works"
            self._after(5, 60, partial(self._finish, life))

    def _comes_back(self, life: Life) -> None:
        if life.alive:
            life.fate = "works"
            self._beat(life)
            self._after(1, 60, partial(self._finish, life))

    def _is_back(self, life: Life) -> None:
        """It works on as if nothing had happened. If its bead was given away, only a stop ends it, whatever it reports."""
        if not life.alive:
            return
        if (life.agent_id, life.generation) not in self.ground.checks.ledgers[life.town_id].over:
            self._comes_back(life)
            return
        life.fate = "works"
        self._beat(life)
        payload = {"branch": life.work.branch or "late", "generation": life.generation}
        self._after(1, 60, lambda: _ignore(self._report(life, "agent_done", payload)))

    # reports

    def _after(self, least: int, most: int, do: Callable[[], None]) -> None:
        self.ground.scheduler.after(self._random.randrange(least * SECOND, most * SECOND + 1), do)

    def _beat(self, life: Life) -> None:
        if not life.alive:
            return
        quiet = 0 if life.taken_at is None else max(0, life.taken_at + _UNHEARD - self.ground.scheduler.now)
        self.ground.scheduler.after(min(quiet, _HEARTBEAT) or _HEARTBEAT, partial(self._beat, life))
        if life.fate in ("agent_mute", "agent_cut_off"):
            return
        self._progress(life)
        payload = {**self._said(life), **({"generation": life.generation} if life.generation else {})}
        if not quiet:
            self._report(life, "agent_heartbeat", payload, repetitions=1)
        if life.generation and self._random.random() < _TELLS_USAGE:
            self._tell_usage(life)
        if self.ground.plan.happens("agent_reports_old") and life.generation > 1:
            old = {**payload, "generation": life.generation - 1}
            self._report(life, "agent_heartbeat", old, repetitions=0)
            self._report(life, "agent_completed", {"status": "failed", "generation": life.generation - 1})

    def _progress(self, life: Life) -> None:
        if life.fate != "agent_hangs":
            life.progress_at = self.ground.scheduler.now

    def _said(self, life: Life, *, skew: int = 0) -> dict[str, Any]:
        """What is said of its life, on a clock that is so far ahead."""
        said: dict[str, Any] = {"container_instance_id": f"i{self.instances.get(life.town_id, 0)}"}
        if life.generation:
            scheduler = self.ground.scheduler
            said["last_event_at"] = to_text(scheduler.time(skew=life.progress_at - scheduler.now + skew))
            said["last_event_type"] = "text"
        return said

    def _tell_usage(self, life: Life) -> None:
        """What its model has taken so far, as totals of its generation."""
        life.tokens += self._random.randrange(1000, 40_000)
        cost = 25 * life.tokens if self._random.random() < 0.8 else None  # there are models whose price nobody knows
        payload = {
            "input_tokens": life.tokens,
            "output_tokens": life.tokens // 10,
            "cached_tokens": life.tokens // 2,
            "model": "a model",
            "cost_micros": cost,
            "generation": life.generation,
        }
        self._report(life, "agent_usage", payload, repetitions=1)

    def _report(self, life: Life, event_type: str, payload: dict[str, Any], **more: Any) -> str:
        generation = payload.get("generation", life.generation)  # an old report is one of that generation's process
        sender = Sender(life.scope, life.agent_id, generation or None, key="honest-key")
        if "container_instance_id" in payload:  # a sign of life comes from its container
            sender = Sender("container", key="honest-key")
        return self.post.send(life.town_id, event_type, payload, agent=life.agent_id, sender=sender, **more)

    def _mayor_waits(self, life: Life) -> None:
        if life.alive:
            fired_at = to_text(self.ground.scheduler.time())
            self._report(life, "mayor_waiting", {"fired_at": fired_at})
            self._report(life, "mayor_said", {"text": "as agreed"})
            self._after(30, 600, partial(self._end, life, "exited", "idle"))

    def _finish(self, life: Life) -> None:
        if not life.alive:
            return
        kind = life.work.prompt_kind
        if kind == "triage":
            named: Any = life.bead.metadata.get("request_ids", ())
            for request in named:
                action = self._random.choice(_TRIAGE_ANSWERS)
                self._report(life, "triage_resolved", {"action": action, "by": life.agent_id}, bead=request)
        if kind in ("review", "landing") and self._wants_changes(life):
            self._report(life, "changes_requested", {"feedback": "smaller, please", "generation": life.generation})
            self._after(5, 20, partial(self._say_done, life, passes=False))
            return
        if kind not in ("review", "landing") and self.ground.plan.happens("agent_other_branch"):
            other = {"branch": f"gt/{life.agent_id[:8]}/other", "generation": life.generation}
            self._report(life, "agent_done", other)
            self._after(20, 90, partial(self._say_done, life))  # the town has told it the right one
            return
        self._say_done(life)

    def _wants_changes(self, life: Life) -> bool:
        bead_id = life.bead.id
        if bead_id in self.reviewed or self.calm:
            return False
        self.reviewed.add(bead_id)
        return self._random.random() < 0.25

    def _say_done(self, life: Life, *, passes: bool = True) -> None:
        """Report the work as done. It opens a pull request or merges as its order says; a refinery only what it `passes`."""
        if not life.alive:
            return
        happens = self.ground.plan.happens
        payload = {"branch": life.work.branch or f"gt/{life.agent_id[:8]}", "generation": life.generation}
        order = life.work
        forgets = order.opens_pr_into is not None and not order.pr_url and happens("agent_opens_nothing")
        of_review = order.pr_url and order.prompt_kind in ("review", "landing")
        if (order.opens_pr_into is not None and not forgets) or of_review:
            wrong = not order.pr_url and happens("agent_names_a_stranger")
            payload["pr_url"] = self.forge.strangers(order) if wrong else self.forge.opened(order)
        elif order.merges_into is not None and passes and not happens("agent_claims_falsely"):
            self.forge.merged_directly(order)
        if life.work.prompt_kind in ("pr_feedback", "pr_conflict", "rework"):
            self.forge.improved(life.work.pr_url)
        event_id = self._report(life, "agent_done", payload, then=lambda _: self._leave(life))
        if happens("agent_done_twice"):
            again = partial(self._report, life, "agent_done", payload)
            self._after(0, 60, lambda: _ignore(again(event_id=event_id)))
            self._after(0, 300, lambda: _ignore(again()))

    def _leave(self, life: Life) -> None:
        if self._random.random() < 0.3:
            self._report(life, "agent_completed", {"status": "completed", "generation": life.generation})
        self.ground.scheduler.after(
            self._random.randrange(SECOND, 2 * MINUTE), partial(self._end, life, "exited", "idle")
        )


def _ignore(_: str) -> None:
    """The event id is of no use."""
