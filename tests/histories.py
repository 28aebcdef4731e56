"""One long and busy history of a town, told the same way each time: for digests and equalities.

    python -m tests.histories memory
    python -m tests.histories DIRECTORY     # a new one; the town lives there
    python -m tests.histories DIRECTORY --no-dry-runs

Prints one line for each tick: number, outcome, image digest; and at last the logical digest. Every event type that a
producer may send is in it, and every kind of effect; agents die, hang, are refused and come back.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from shared.events.containers import drain_nonce
from shared.images import dump
from shared.ports.forge import Feedback, ForgeError
from shared.ports.runtime import NotDone, StartRejected, StartUnknown
from shared.ports.steps import drive
from shared.runner.founding import found_town
from tests.fakes import FakeClock, RuntimeVerb
from tests.towns import T, TownBuilder, event
from tests.worlds import World

STEPS = 120
PACE = timedelta(seconds=7)
PR = "https://github.com/acme/app/pull/"
ADOPTED = f"{PR}1005"


def told(world: World, *, dry_runs: bool) -> Iterator[str]:
    """Live through the history; one line for each run of the worker."""
    config = {"max_polecats_per_rig": 4, "merge_strategy": "pr", "staged_convoys_default": False}
    drive(found_town("t1", world.around, worker_id="founder", config=config))
    for step in range(STEPS):
        world.clock.at = T + PACE * step + (timedelta(minutes=20) if step > 90 else timedelta())
        _trouble(world, step)
        events = list(_events(world, step))
        if events:
            world.post(*events)
        if dry_runs:
            world.dry_run()
        run = world.run()
        yield f"{run.image.facts.tick_no} {run.outcome} {run.image.image_digest}"
    town = world.town()
    yield dump.logical_digest(town.sql)


def _trouble(world: World, step: int) -> None:
    """What goes wrong outside."""
    runtime, forge = world.runtime, world.forge
    if step in _FAILING_CALLS:
        verb, answer, times = _FAILING_CALLS[step]
        runtime.fails(verb, answer, times=times)
    if step == 40:
        forge.fails("pull_request", ForgeError("transient", "503", http_status=503), times=2)
    if step == 60:
        forge.fails("merge", ForgeError("rate_limited", "slow down", retry_at=world.clock.now()))
    if step == 70:
        world.put_raw(b'{"event_id":"nonsense-70","event_type":"no_such_event","payload":{"x":1}}')
        world.put_raw(b"no JSON at all", name="torn")
    if step == 75:
        for town_id, agent_id in sorted(runtime.processes)[:2]:
            runtime.exits(agent_id, reason="killed", town_id=town_id)
    feedback = Feedback(has_unresolved_comments=25 < step < 45, awaiting_approval=50 < step < 55)
    if step == 0:
        forge.opens(ADOPTED, head="fix")
    for pr_url, known in list(forge.pull_requests.items()):
        if known.state == "open":
            state = "dirty" if step == 28 else "clean"
            forge.pull_requests[pr_url] = replace(known, feedback=feedback, mergeable_state=state)


_FAILING_CALLS: dict[int, tuple[RuntimeVerb, Any, int]] = {
    4: ("start", StartRejected("no capacity"), 1),
    6: ("start", StartUnknown("time-out"), 1),
    20: ("message", NotDone("no answer", passing=True), 2),
    30: ("status", TimeoutError("late"), 2),
}


def branches_of(town: TownBuilder, bead_id: str) -> tuple[str, str]:
    """The branch that the order of a bead names, and the branch into which its work goes."""
    review = town.rows("SELECT branch, target_branch FROM review_metadata WHERE bead_id = ?", bead_id)
    if review:
        return review[0][0], review[0][1]
    return str(town.metadata(bead_id).get("branch", "none")), "main"


def _events(world: World, step: int) -> Iterator[Envelope]:
    """What producers say at this step; ids are made of step and subject."""
    town = world.town()
    yield from _plan(step)
    now = T + PACE * step
    working = town.rows(
        "SELECT a.bead_id, a.role, a.generation, a.current_hook_bead_id FROM agent_metadata a "
        "WHERE a.status IN ('working', 'stalled') AND a.role <> 'mayor' ORDER BY a.bead_id"
    )
    if working and step == 24:
        mail = {"bead_id": "mail-2", "type": "message", "title": "For you", "assignee_agent_id": working[0][0]}
        yield event("bead_created", {"bead": mail}, event_id="mail-to-a-worker")
    if working and step in (44, 88):
        yield event("bead_cancelled", bead=working[0][3], event_id=f"cancelled-at-work-{step}")
    for number, (agent, role, generation, hook) in enumerate(working):
        own = {"generation": generation}
        if step % 5 == 0:
            beat = {**own, "last_event_at": to_text(now), "active_tools": ["bash"]}
            yield event("agent_heartbeat", beat, agent=agent, event_id=f"beat-{step}-{number}")
        if (step + number) % 9 == 8 and role == "polecat":
            branch = (
                f"gt/{number}/{step}" if step == 8 else branches_of(town, hook)[0]
            )  # the first report names another
            done = {**own, "branch": branch, "summary": "done"}
            yield event("agent_done", done, agent=agent, event_id=f"done-{step}-{number}")
        if (step + number) % 9 == 8 and role == "refinery":
            yield _verdict(world, agent, generation, hook, step)
        if step % 31 == 30:
            status = {**own, "status": "failed" if number % 2 else "completed", "reason": "it ended"}
            yield event("agent_completed", status, agent=agent, event_id=f"ended-{step}-{number}")
        if step % 17 == 16:
            yield event("agent_status", {"message": f"at {hook}"}, agent=agent, event_id=f"status-{step}-{number}")


def _verdict(world: World, agent: str, generation: int, hook: str, step: int) -> Envelope:
    """Every other review asks for changes; the others open a pull request."""
    if step % 2 == 0:
        asked = {"generation": generation, "feedback": "more tests", "files": ["a.py"]}
        return event("changes_requested", asked, agent=agent, event_id=f"changes-{step}")
    town = world.town()
    branch, target = branches_of(town, hook)
    payload: dict[str, Any] = {"generation": generation, "branch": branch}
    if town.one("review_metadata", hook, "pr_url") is None:
        world.forge.opens(f"{PR}{step}", head=branch, base=target)
        payload |= {"pr_url": f"{PR}{step}", "head": "head-1"}
    return event("agent_done", payload, agent=agent, event_id=f"reviewed-{step}")


def _plan(step: int) -> Iterator[Envelope]:
    """What people ask for, at fixed steps."""
    for number, (event_type, payload, bead) in enumerate(_PLAN.get(step, ())):
        yield event(event_type, payload, bead=bead, event_id=f"{event_type}-{step}-{number}")


def _an_issue(bead_id: str, **fields: Any) -> dict[str, Any]:
    return {"bead": {"bead_id": bead_id, "type": "issue", "title": bead_id, "rig_id": "rig-1", **fields}}


_CONVOY = {"title": "Ünïcode work", "rig_id": "rig-1"}
_TASKS = [{"title": "One"}, {"title": "Two", "depends_on": [0]}, {"title": "Three", "depends_on": [0]}]
_PULL = {"type": "merge_request", "branch": "fix", "pr_url": ADOPTED, "metadata": {"babysit": True}}

_PLAN: dict[int, list[tuple[str, dict[str, Any], str | None]]] = {
    1: [("rig_registered", {"rig_id": "rig-1", "name": "app", "git_url": "https://github.com/acme/app.git"}, None)],
    2: [("convoy_created", {**_CONVOY, "convoy_id": "convoy-1", "tasks": _TASKS}, None)],
    3: [("bead_created", _an_issue("issue-3"), None)],
    5: [
        (
            "convoy_created",
            {**_CONVOY, "convoy_id": "convoy-2", "merge_mode": "review-and-merge", "staged": True, "tasks": _TASKS[:1]},
            None,
        )
    ],
    9: [("bead_created", _an_issue("issue-9", depends_on=["issue-3"], priority="high"), None)],
    12: [("convoy_started", {"convoy_id": "convoy-2"}, None)],
    14: [("bead_updated", {"labels": ["gt:held"], "metadata": {"x": 1}}, "issue-9")],
    15: [("bead_created", _an_issue("issue-15", depends_on=["issue-9"]), None)],
    18: [("escalation_raised", {"title": "Help", "severity": "high", "category": "other"}, None)],
    22: [("bead_created", {"bead": {"bead_id": "mail-1", "type": "message", "title": "Hello", "body": "you"}}, None)],
    26: [("bead_created", _an_issue("mr-1", **_PULL), None)],
    33: [("bead_cancelled", {}, "issue-3")],
    36: [("bead_reopened", {"by": "user"}, "issue-3")],
    48: [("town_configured", {"config": {"refinery": {"auto_merge_delay_minutes": 0}}}, None)],
    57: [("container_eviction", {}, None)],
    64: [("container_ready", {"nonce": "guessed"}, None)],
    80: [
        ("container_eviction", {}, None),
        ("container_ready", {"nonce": drain_nonce("t1", "container_eviction-80-0")}, None),
    ],
    100: [("convoy_closed", {"convoy_id": "convoy-2"}, None)],
}


def main(place: str, *, dry_runs: bool = True) -> None:
    """Tell the history of a town in memory, or in a new directory."""
    world = World(clock=FakeClock(T))
    if place != "memory":
        world.objects = DirectoryObjects(Path(place))
    for line in told(world, dry_runs=dry_runs):
        print(line)


if __name__ == "__main__":
    main(sys.argv[1], dry_runs="--no-dry-runs" not in sys.argv)
