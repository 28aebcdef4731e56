"""The stories of the golden recordings: each lives in a world of tests/worlds.py and is told the same way each time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from shared.domain import limits
from shared.domain.times import to_text
from shared.events.containers import drain_nonce
from shared.ports.forge import Feedback, ForgeError
from shared.ports.runtime import StartRejected
from shared.ports.steps import drive
from shared.runner.founding import found_town
from tests import histories
from tests.benchmarks.towns import an_aged_town
from tests.fakes import FakeClock, FakeProcess
from tests.towns import TOWN, T, event
from tests.worlds import World

Story = Callable[[World], None]

_RIG: Final = {"rig_id": "rig-1", "name": "app", "git_url": "https://github.com/acme/app.git"}
_PULL: Final = "https://github.com/acme/app/pull/"
_AT_WORK: Final = (
    "SELECT a.bead_id, a.role, a.generation, a.current_hook_bead_id FROM agent_metadata a "
    "WHERE a.status IN ('working', 'stalled') AND a.role <> 'mayor' ORDER BY a.bead_id"
)
_STEP: Final = timedelta(seconds=10)


def told(story: Story) -> World:
    """A world in which a story has happened."""
    world = World(clock=FakeClock(T))
    story(world)
    return world


def _founded(world: World, *beads: str, **config: Any) -> None:
    """A town with a rig and issues."""
    settings = {"merge_strategy": "pr", "staged_convoys_default": False, **config}
    drive(found_town(TOWN, world.around, worker_id="founder", config=settings))
    world.post(event("rig_registered", _RIG, event_id="rig-registered"))
    world.run()
    world.clock.at += _STEP
    for bead in beads:
        _create(world, bead)


def _create(world: World, bead_id: str, **fields: Any) -> None:
    bead = {"bead_id": bead_id, "type": "issue", "title": f"Do {bead_id}", "rig_id": "rig-1", **fields}
    world.post(event("bead_created", {"bead": bead}, event_id=f"create-{bead_id}", at=world.clock.now()))


def _say(world: World, event_type: str, payload: dict[str, Any] | None = None, **about: Any) -> None:
    """Somebody says something now; the id is made of the time."""
    now = world.clock.now()
    name = f"{event_type}-{to_text(now)}-{about.get('agent') or about.get('bead') or 'town'}"
    world.post(event(event_type, payload or {}, event_id=name[:128], at=now, **about))


def _at_work(world: World, role: str = "") -> list[tuple[str, str, int, str]]:
    return [row for row in world.town().rows(_AT_WORK) if role in ("", row[1])]


def _beat(world: World, progress: bool = True) -> None:
    """Everybody whose process runs shows a sign of life."""
    running, now = world.runtime.running(), world.clock.now()
    for agent, _, generation, _ in _at_work(world):
        if agent in running:
            seen = {"last_event_at": to_text(now), "last_event_type": "tool"} if progress else {}
            _say(world, "agent_heartbeat", {"generation": generation, **seen}, agent=agent)


def _done(world: World, role: str = "polecat", **said: Any) -> None:
    """Everybody of a role is done."""
    for agent, _, generation, hook in _at_work(world, role):
        branch, _ = histories.branches_of(world.town(), hook)
        given = {"generation": generation, "branch": branch, "summary": "as asked", **said}
        _say(world, "agent_done", given, agent=agent)


def _live(world: World, minutes: float, *, beating: bool = True, progress: bool = True) -> None:
    """Let time pass; the town is looked at every ten seconds."""
    end = world.clock.now() + timedelta(minutes=minutes)
    while world.clock.now() < end:
        world.clock.at += _STEP
        if beating and (world.clock.now() - T).seconds % 60 == 0:
            _beat(world, progress)
        world.look()


def _until(at: datetime, world: World) -> None:
    """Let time pass without anybody looking."""
    world.clock.at = max(world.clock.at, at)
    world.look()


def _opened(world: World, number: int, hook: str, **forge: Any) -> dict[str, str]:
    """The refinery's report that it has opened a pull request from the branch of its review into the target."""
    branch, target = histories.branches_of(world.town(), hook)
    world.forge.opens(f"{_PULL}{number}", head=branch, base=target, **forge)
    return {"branch": branch, "pr_url": f"{_PULL}{number}"}


def _reviewed(world: World, first: int, **forge: Any) -> int:
    """Every refinery opens a pull request or, if its review has one, passes it; returns the number of the last one."""
    number = first
    for agent, _, generation, hook in _at_work(world, "refinery"):
        said: dict[str, Any] = {"generation": generation, "branch": histories.branches_of(world.town(), hook)[0]}
        pr_url = world.town().one("review_metadata", hook, "pr_url")
        if pr_url is None:
            number += 1
            said |= _opened(world, number, hook, **forge)
        seen = world.forge.pull_requests[pr_url or said["pr_url"]]
        said["head"] = seen.head_sha
        _say(world, "agent_done", said, agent=agent)
    return number


# the stories -------------------------------------------------------------------------------------------


def busy_day(world: World) -> None:
    """Every event that a producer may send, every kind of effect; agents die, are refused and come back."""
    for _ in histories.told(world, dry_runs=False):
        pass


def crash_loop(world: World) -> None:
    """Every agent dies right after its start, until nobody tries again."""
    _founded(world, "crashing", "crashing-too")
    for _ in range(90):
        world.clock.at += timedelta(seconds=30)
        world.look()
        for agent in world.runtime.running():
            world.runtime.exits(agent, reason="exit code 137")


def breaker(world: World) -> None:
    """Nothing can be started: the breaker opens, the mayor hears of it, and closes when half an hour is over."""
    _founded(world, *(f"refused-{number:02}" for number in range(22)))
    world.runtime.fails("start", StartRejected("no capacity"), times=22)
    _live(world, 6)
    _live(world, 20, beating=False)
    _live(world, 12)


def drain(world: World) -> None:
    """The container is evicted; the town waits for the one that takes its place, and a guessed nonce does not help."""
    _founded(world, "before", "after")
    _live(world, 2)
    _say(world, "container_eviction")
    eviction = f"container_eviction-{to_text(world.clock.now())}-town"
    _live(world, 1)
    _say(world, "container_ready", {"nonce": "guessed"})
    _create(world, "meanwhile")
    _live(world, 1)
    _say(world, "container_ready", {"nonce": drain_nonce(TOWN, eviction)})
    _live(world, 3)
    _say(world, "container_eviction")
    _live(world, 16)


def poison(world: World) -> None:
    """Events that nobody can read, come between others that can be."""
    _founded(world, "healthy")
    world.put_raw(b"no JSON at all", name="torn")
    _live(world, 1)
    world.put_raw(b'{"event_id":"nonsense-1","event_type":"no_such_event","payload":{"x":1}}')
    world.put_raw(b'{"received_at":"soon","source":"ingest","events":[]}', name="late")
    _create(world, "also-healthy")
    _live(world, 2)
    _say(world, "bead_updated", {"priority": "high"}, bead="nobody-knows-it")
    _say(world, "agent_status", {"message": "who am I?"}, agent="nobody-either")
    _done(world)
    _live(world, 3)


def outage(world: World) -> None:
    """Nobody looks at the town for three hours while agents work; some of them have died meanwhile."""
    _founded(world, "long-work", "short-work", "waiting", max_polecats_per_rig=2)
    _live(world, 3)
    for agent in list(world.runtime.running())[:1]:
        world.runtime.exits(agent, reason="exit code 1")
    _until(world.clock.now() + timedelta(hours=3), world)
    _live(world, 8)
    _until(world.clock.now() + timedelta(minutes=5), world)
    _live(world, 3)


def landing_convoy(world: World) -> None:
    """A convoy of three: two wait for the first, all are reviewed, and it lands with a pull request of its own."""
    _founded(world)
    tasks = [{"title": "First"}, {"title": "Second", "depends_on": [0]}, {"title": "Third", "depends_on": [0]}]
    convoy = {"convoy_id": "convoy-1", "title": "Ship it", "rig_id": "rig-1", "tasks": tasks}
    world.post(event("convoy_created", convoy, event_id="the-convoy"))
    number = 10
    for _ in range(12):
        _live(world, 1)
        _done(world, "polecat")
        number = _reviewed(world, number)
        _live(world, 0.5)
    for _ in range(10):
        _live(world, 2)
        number = _reviewed(world, number)


def cancelled(world: World) -> None:
    """Work is cancelled while it waits, while it is done and while it is reviewed, and some of it is taken up again."""
    _founded(world, "waits", "in-work", "in-review", max_polecats_per_rig=2)
    _create(world, "follows", depends_on=["in-work"])
    _live(world, 1)
    _say(world, "bead_cancelled", bead="waits")
    _done(world)
    _live(world, 1)
    _say(world, "bead_cancelled", bead="in-work")
    _say(world, "bead_cancelled", bead="in-review")
    _live(world, 2)
    _say(world, "bead_reopened", {"by": "user"}, bead="in-work")
    _say(world, "bead_updated", {"priority": "critical", "labels": ["gt:held"]}, bead="follows")
    _live(world, 2)
    _say(world, "bead_updated", {"labels": []}, bead="follows")
    _live(world, 2)
    _say(world, "bead_cancelled", bead="follows")
    _live(world, 2)


def merge_conflicts(world: World) -> None:
    """A pull request cannot be merged until somebody resolves its conflicts; another one never gets there."""
    _founded(world, "clashes", "clashes-more", refinery={"auto_merge_delay_minutes": 0})
    _live(world, 1)
    _done(world)
    _live(world, 1)
    number = 20
    for _ in range(3):
        number = _reviewed(world, number, mergeable_state="dirty")
        _live(world, 2)
    _done(world)
    first = world.forge.pull_requests[f"{_PULL}21"]
    world.forge.pull_requests[f"{_PULL}21"] = replace(first, head_sha="head-2", mergeable_state="clean")
    _live(world, 4)
    _reviewed(world, number)
    world.forge.fails("pull_request", ForgeError("transient", "503", http_status=503), times=3)
    _live(world, 6)


def approval_waiting(world: World) -> None:
    """Everything is green but the approval; a person takes an hour to give it."""
    _founded(world, "needs-a-look", refinery={"auto_merge_delay_minutes": 5})
    _live(world, 1)
    _done(world)
    _live(world, 1)
    waiting = Feedback(awaiting_approval=True, review_decision="REVIEW_REQUIRED")
    _reviewed(world, 30, mergeable_state="blocked", feedback=waiting)
    _live(world, 12)
    approved = world.forge.pull_requests[f"{_PULL}31"]
    world.forge.pull_requests[f"{_PULL}31"] = replace(approved, mergeable_state="clean", feedback=Feedback())
    _live(world, 10)


def thousand_beads(world: World) -> None:
    """A town of a thousand beads, thirty of them in work, has an ordinary quarter of an hour."""
    world.put_in(an_aged_town(1000, live=30))
    for agent in range(30):
        world.runtime.processes[TOWN, f"agent-{agent:04d}"] = FakeProcess(f"process-{agent}", 1)
    for step in range(24):
        world.clock.at += timedelta(seconds=30)
        for agent in range(step % 3, 30, 3):
            now = {"generation": 1, "last_event_at": to_text(world.clock.now())}
            _say(world, "agent_heartbeat", now, agent=f"agent-{agent:04d}")
        if step % 4 == 3:
            given = {"generation": 1, "branch": f"work/{step}", "summary": "as asked"}  # its order named no branch
            _say(world, "agent_done", given, agent=f"agent-{step:04d}")
        if step % 6 == 5:
            _create(world, f"new-{step}")
        world.run()


def stalled(world: World) -> None:
    """Agents show signs of life and make no progress: they are warned, the mayor is told, they are stopped."""
    _founded(world, "stuck", "stuck-too")
    _live(world, 2)
    for _ in range(26):
        for _ in range(4):
            world.clock.at += limits.SETTLE_GAP - timedelta(seconds=1)
            _beat(world, progress=False)
            world.look()


STORIES: Final[dict[str, Story]] = {
    story.__name__.replace("_", "-"): story
    for story in (
        busy_day,
        crash_loop,
        breaker,
        drain,
        poison,
        outage,
        landing_convoy,
        cancelled,
        merge_conflicts,
        approval_waiting,
        thousand_beads,
        stalled,
    )
}
